//! CNI06: interfaces and their MTU.

use crate::validate::document::Node;
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::host::{HostLink, HostNetwork};
use crate::validate::near::did_you_mean;
use crate::validate::network::Plugin;
use crate::validate::rules::Survey;
use crate::validate::rules::ranges::sets;

pub(crate) static RULES: [&Rule; 6] = [&ABOVE_UPLINK, &ABOVE_MASTER, &UNUSABLE, &BELOW_IPV6, &NO_LINK, &NO_BRIDGE];

static ABOVE_UPLINK: Rule = Rule {
    code: "CNI0601",
    name: "mtu-above-uplink",
    severity: Severity::Warning,
    summary: "an MTU above that of the interface with the default route",
    why: "large packets to the outside are fragmented or, with the usual \"do not fragment\", dropped: connections hang",
    cure: "write the uplink's MTU or less; on an overlay, less by its header",
};
static ABOVE_MASTER: Rule = Rule {
    code: "CNI0602",
    name: "mtu-above-master",
    severity: Severity::Error,
    summary: "an MTU above that of the master",
    why: "an interface on a master cannot have a larger MTU, so every ADD fails",
    cure: "write the master's MTU or less, or leave it out",
};
static UNUSABLE: Rule = Rule {
    code: "CNI0603",
    name: "mtu-unusable",
    severity: Severity::Error,
    summary: "an MTU below 68, with which IPv4 does not work",
    why: "the kernel or the plugin refuses it, so every ADD fails",
    cure: "write 1500, or leave it out",
};
static BELOW_IPV6: Rule = Rule {
    code: "CNI0604",
    name: "mtu-below-ipv6",
    severity: Severity::Warning,
    summary: "an MTU below 1280 with an IPv6 range",
    why: "the kernel switches IPv6 off on such interfaces, so every ADD fails or the address is lost",
    cure: "write 1280 or more",
};
static NO_LINK: Rule = Rule {
    code: "CNI0605",
    name: "no-link",
    severity: Severity::Warning,
    summary: "a master or device that this host does not have",
    why: "ADD fails until the interface is there",
    cure: "correct the name, or make the interface first",
};
static NO_BRIDGE: Rule = Rule {
    code: "CNI0606",
    name: "no-bridge",
    severity: Severity::Error,
    summary: "a bridge with the name of an interface that is none",
    why: "the plugin does not touch somebody else's interface, so every ADD fails",
    cure: "choose a name that no other interface has; it is not the uplink that is meant here",
};

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for (_, plugin) in survey.plugins() {
        let node = plugin.delegate().unwrap_or(plugin.node);
        let at = |rule, place: &Node, problem: String| Finding::new(rule, plugin.file, &place.opening(), problem);
        if let Some((mtu, place)) = mtu(node) {
            let has_ipv6 = sets(&plugin).iter().flat_map(|set| &set.ranges).any(|range| range.subnet.addr().is_ipv6());
            if mtu < 68 {
                findings.push(at(&UNUSABLE, place, format!("an MTU of {mtu} bytes")));
            } else if mtu < 1280 && has_ipv6 {
                findings.push(at(&BELOW_IPV6, place, format!("an MTU of {mtu} bytes, and a range of IPv6")));
            }
        }
        if let Some(host) = &survey.host.network {
            findings.extend(against_host(host, &plugin, node));
        }
    }
}

/// `mtu`, if it is not the default.
fn mtu(node: &Node) -> Option<(u64, &Node)> {
    let mtu = node.number_of("mtu").filter(|mtu| *mtu > 0)?;
    Some((mtu, node.get("mtu")?))
}

fn against_host(host: &HostNetwork, plugin: &Plugin<'_>, node: &Node) -> Vec<Finding> {
    let mut found = Vec::new();
    let kind = if plugin.delegate().is_some() { node.text_of("type").unwrap_or("bridge") } else { plugin.kind() };
    let at = |rule, place: &Node, problem: String| Finding::new(rule, plugin.file, &place.opening(), problem);
    let names = || host.links.iter().map(|link| link.name.as_str());
    let missing = |key: &str| {
        let place = node.get(key).filter(|_| node.is_set("linkInContainer").is_none())?;
        let name = place.text().filter(|name| !name.is_empty() && host.link(name).is_none())?;
        let problem = format!("this host has no interface `{name}`");
        Some(at(&NO_LINK, place, problem).perhaps(did_you_mean(name, names())))
    };
    match kind {
        "bridge" => {
            let link = node.text_of("bridge").and_then(|name| host.link(name)).filter(|link| link.kind != "bridge");
            if let (Some(link), Some(place)) = (link, node.get("bridge")) {
                found.push(at(&NO_BRIDGE, place, format!("the interface `{}` is no bridge", link.name)));
            }
            if leads_out(node) {
                found.extend(above(host.uplink(), node, &ABOVE_UPLINK, plugin));
            }
        }
        "ptp" => found.extend(above(host.uplink(), node, &ABOVE_UPLINK, plugin)),
        "macvlan" | "ipvlan" | "vlan" if node.is_set("linkInContainer").is_none() => {
            found.extend(missing("master"));
            let master = node.text_of("master").map_or_else(|| host.uplink(), |name| host.link(name));
            found.extend(above(master, node, &ABOVE_MASTER, plugin));
        }
        "host-device" => found.extend(missing("device")),
        _ => {}
    }
    found
}

/// Whether the containers of a bridge reach others than themselves.
fn leads_out(node: &Node) -> bool {
    ["isGateway", "isDefaultGateway", "ipMasq"].iter().any(|key| node.is_set(key).is_some())
}

fn above(
    link: Option<&HostLink>,
    node: &Node,
    rule: &'static crate::validate::finding::Rule,
    plugin: &Plugin<'_>,
) -> Option<Finding> {
    let ((mtu, place), link) = mtu(node).zip(link)?;
    let problem = format!("an MTU of {mtu} bytes, but `{}` has {}", link.name, link.mtu);
    (mtu > u64::from(link.mtu)).then(|| Finding::new(rule, plugin.file, &place.opening(), problem))
}
