//! "Nothing left": everything on a host that an attachment may leave behind, as comparable lines.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::{Container, Firewall, Place};

/// The state of a host: one line for each link, address, route, rule, set element and file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    pub(crate) fn of(host: &Place, data_dir: &Path, firewall: Firewall) -> Self {
        let mut lines = BTreeSet::new();
        lines.extend(links(host));
        lines.extend(routes(host));
        lines.extend(nftables(&host.json("nft -j list ruleset")));
        if firewall == Firewall::IptablesLegacy {
            lines.extend(iptables(host, "iptables-legacy-save"));
            lines.extend(iptables(host, "ip6tables-legacy-save"));
        }
        lines.extend(files(data_dir));
        Self(lines)
    }

    /// What is in `self` and not in `earlier`.
    #[must_use]
    pub fn since<'a>(&'a self, earlier: &'a Self) -> Vec<&'a str> {
        self.0.difference(&earlier.0).map(String::as_str).collect()
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    /// What appeared since `before` and belongs to an attachment: all but the infrastructure that the plugins keep by
    /// design (the bridge with its address and routes, tables, chains and sets without elements, fixed rules, the
    /// allocator's lock and its last address). `gone` are containers whose ID may not occur at all.
    #[must_use]
    pub fn left_since<'a>(&'a self, before: &'a Self, gone: &[&Container]) -> Vec<&'a str> {
        let bridges: Vec<&str> = self.0.iter().filter_map(|l| l.strip_prefix("link bridge ")).collect();
        let mut left = self.since(before);
        left.retain(|line| !is_infrastructure(line, &bridges) || gone.iter().any(|c| line.contains(&c.id)));
        left
    }
}

/// Whether the plugins keep this between attachments, by design and as the reference does.
fn is_infrastructure(line: &str, bridges: &[&str]) -> bool {
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some("link"), Some("bridge")) => true,
        (Some("address" | "route"), Some(device)) => bridges.contains(&device),
        (Some("nft"), Some("table" | "set" | "map" | "flowtable")) => true,
        (Some("nft"), Some("chain")) => !line.contains("CNI-") || CHAINS_FOR_ALL.iter().any(|c| line.contains(c)),
        (Some("nft"), Some("rule")) => is_for_all(line) && (!line.contains("comment:") || is_fixed_rule(line)),
        (Some("iptables"), _) => {
            CHAINS_FOR_ALL.iter().any(|c| line.contains(c)) && is_fixed_rule(line) && is_for_all(line)
        }
        (Some("file"), Some(name)) => {
            let name = name.rsplit('/').next().unwrap_or(name);
            name.parse::<std::net::IpAddr>().is_err() && !is_backup(name)
        }
        _ => false,
    }
}

/// Whether `tuning` keeps an attachment's earlier settings in it.
fn is_backup(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "json")
}

/// Chains of iptables that stay between attachments.
const CHAINS_FOR_ALL: [&str; 5] =
    ["CNI-HOSTPORT-", "CNI-FORWARD", "CNI-ADMIN", "CNI-ISOLATION-STAGE-", "CNI-FERRULE-TAGS"];

/// Whether a rule of `firewall` is for no address and no bridge: there are some without a comment.
fn is_for_all(line: &str) -> bool {
    let of_firewall =
        line.contains("CNI-FORWARD") || line.contains("CNI-ISOLATION-STAGE-") || line.contains("CNI-FERRULE-TAGS");
    let names = ["\"saddr\"", "\"daddr\"", "iifname", "oifname", " -s ", " -d ", " -i ", " -o "];
    !of_firewall || !names.iter().any(|name| line.contains(name))
}

/// A rule that serves all attachments: its text names no container. (The plugins tag the others by a comment.)
fn is_fixed_rule(line: &str) -> bool {
    !["id: ", "c0ffee", "cnitool-", "CNI-DN-", "CNI-SN-"].iter().any(|tag| line.contains(tag))
}

fn objects(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or("")
}

/// `link <kind> <name>` and `address <device> <address>`.
fn links(host: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    for link in objects(&host.json("ip -j -d address show")) {
        let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or("-");
        lines.push(format!("link {kind} {}", text(link, "ifname")));
        for address in objects(&link["addr_info"]) {
            lines.push(format!("address {} {}/{}", text(link, "ifname"), text(address, "local"), address["prefixlen"]));
        }
    }
    lines
}

/// `route <device> <destination> …`, of all tables, and `rule …`.
fn routes(host: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        for mut route in objects(&host.json(&format!("ip -j {family} route show table all"))).cloned() {
            // They come and go with IPv6 forwarding.
            if route["type"] == "anycast" {
                continue;
            }
            // What changes by itself.
            for key in ["expires", "flags", "metrics", "pref"] {
                route.as_object_mut().expect("a route").remove(key);
            }
            lines.push(format!("route {} {route}", text(&route, "dev")));
        }
        for rule in objects(&host.json(&format!("ip -j {family} rule show"))) {
            lines.push(format!("rule {rule}"));
        }
    }
    lines
}

/// `nft table|chain|set|map|rule|element …`, without handles and counters.
fn nftables(ruleset: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for object in objects(&ruleset["nftables"]) {
        let Some((kind, body)) = object.as_object().and_then(|o| o.iter().next()) else { continue };
        if kind == "metainfo" {
            continue;
        }
        let mut body = body.clone();
        let elements = body.as_object_mut().and_then(|b| b.remove("elem"));
        let place = format!("{} {} {}", text(&body, "family"), text(&body, "table"), text(&body, "name"));
        for element in objects(&elements.unwrap_or_default()) {
            lines.push(format!("nft element {place}: {element}"));
        }
        match kind.as_str() {
            "rule" => {
                let comment = match text(&body, "comment") {
                    "" => String::new(),
                    comment => format!(" comment: {comment}"),
                };
                let expression = without_counters(&body["expr"]);
                lines.push(format!("nft rule {place}{}{comment} {expression}", text(&body, "chain")));
            }
            _ => lines.push(format!("nft {kind} {place}")),
        }
    }
    lines
}

fn without_counters(expression: &Value) -> Value {
    objects(expression).filter(|e| e["counter"].is_null()).cloned().collect()
}

/// `iptables <program> :<chain>` and `iptables <program> -A …`.
fn iptables(host: &Place, program: &str) -> Vec<String> {
    let saved = host.sh(program);
    // `:CHAIN policy [packets:bytes]`; the kernel's own chains have a policy, those of programs have `-`.
    let kept = saved.lines().filter(|l| (l.starts_with(':') && l.contains(" - ")) || l.starts_with('-'));
    kept.map(|l| format!("iptables {program} {}", l.split(" [").next().unwrap_or(l))).collect()
}

/// `file <network>/<name>`, below the data directory of host-local.
fn files(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for network in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(network.path()).into_iter().flatten().flatten() {
            let (network, file) = (network.file_name(), file.file_name());
            lines.push(format!("file {}/{}", network.display(), file.display()));
        }
    }
    lines
}
