//! Settings of the kernel on which containers' packets depend.

use std::collections::BTreeSet;

use libcni::json;
use linuxnet::netlink::Netlink;
use linuxnet::nft::{Family as NftFamily, Nfnetlink, Table};
use linuxnet::sysctl;

use super::configured::{Family, Plugin};
use super::report::Group;
use crate::finding::Finding;
use crate::node::{Attached, Inventory, Life, config};
use crate::report::counted;

/// kube-proxy's chain, in iptables' table nat.
const KUBE_SERVICES: &str = "KUBE-SERVICES";
const BRIDGE_NF: &str = "net/bridge/bridge-nf-call-iptables";
/// The tables that every namespace's own rules lead to: local, main, default.
const TABLES_OF_KERNEL: [u32; 3] = [255, 254, 253];
const STRICT: &str = "1";

pub(super) fn examine(inventory: &Inventory) -> Group {
    let mut group = Group::new("Sysctls");
    for family in [Family::V4, Family::V6] {
        forwarding(&mut group, inventory, family);
    }
    bridges(&mut group, inventory);
    bridge_netfilter(&mut group, inventory);
    route_localnet(&mut group, inventory);
    reverse_path(&mut group, inventory);
    group
}

/// The settings that `doctor --fix` sets to 1: those that ADD set, and somebody took back.
pub(super) fn off(inventory: &Inventory) -> Vec<String> {
    let is_off = |key: &str| sysctl::read(key).is_ok_and(|value| value == "0");
    let wanted = |family: &Family| routed(inventory).any(|attached| has_family(attached, *family));
    let families = [Family::V4, Family::V6].into_iter().filter(wanted).map(Family::forwarding_key);
    let mut off: Vec<String> = families.filter(|key| is_off(key)).map(str::to_owned).collect();
    off.extend(bridges_off(inventory));
    off.extend(published_by(inventory).iter().map(|link| localnet_key(link)).filter(|key| is_off(key)));
    off
}

/// The living attachments whose packets this host routes.
pub(super) fn routed(inventory: &Inventory) -> impl Iterator<Item = &Attached> {
    let is_routed = |attached: &&Attached| {
        let list = attached.list.as_ref();
        matches!(attached.life, Life::Alive(_))
            && list.is_some_and(|list| Plugin::of(list).iter().any(Plugin::is_routed))
    };
    inventory.attachments.iter().filter(is_routed)
}

fn has_family(attached: &Attached, family: Family) -> bool {
    attached.result.ips.iter().any(|ip| ip.address.addr().is_ipv4() == (family == Family::V4))
}

fn forwarding(group: &mut Group, inventory: &Inventory, family: Family) {
    let key = family.forwarding_key();
    let dotted = key.replace('/', ".");
    let containers = routed(inventory).filter(|attached| has_family(attached, family)).count();
    match sysctl::read(key) {
        Ok(value) if value != "0" => group.ok(format!("{dotted} is {value}: the host forwards {}", family.as_str())),
        Ok(value) if containers == 0 => {
            group.ok(format!("{dotted} is {value}, and no container needs it; the first ADD that does sets it"));
        }
        Ok(value) => group.found(
            Finding::error(
                "forwarding-off",
                format!("{dotted} is {value}, and this host routes for {}", counted(containers, "container")),
            )
            .because(format!("their {} packets go no further than this host", family.as_str()))
            .cure(format!("sysctl -w {dotted}=1")),
        ),
        // A kernel without IPv6.
        Err(fault) if fault.is_not_found() => {}
        Err(fault) => group.unknown(libcni::error::causes(Some(&fault))),
    }
}

/// Bridges that do not forward, though the host does.
fn bridges(group: &mut Group, inventory: &Inventory) {
    for key in bridges_off(inventory) {
        group.found(
            Finding::error("forwarding-off", format!("{key} is 0, and containers are reached by this link"))
                .because("their IPv4 packets go no further than this host")
                .cure(format!("sysctl -w {key}=1")),
        );
    }
}

fn bridges_off(inventory: &Inventory) -> Vec<String> {
    if sysctl::read(Family::V4.forwarding_key()).is_ok_and(|value| value == "0") {
        return Vec::new();
    }
    let v4 = routed(inventory).filter(|attached| has_family(attached, Family::V4));
    let serving: BTreeSet<&str> = v4.filter_map(|attached| way_in(inventory, attached)).collect();
    let keys = serving.into_iter().map(|link| format!("net/ipv4/conf/{link}/forwarding"));
    keys.filter(|key| sysctl::read(key).is_ok_and(|value| value == "0")).collect()
}

/// The link of the host by which the packets of a container come in: its bridge, or the host's end.
fn way_in<'i>(inventory: &'i Inventory, attached: &Attached) -> Option<&'i str> {
    let host = inventory.host()?;
    let end = inventory.link(attached.host_link?)?;
    let master = end.master.and_then(|master| host.link(master));
    Some(&master.unwrap_or(end).name)
}

/// Whether what passes a bridge passes iptables too: service proxies count on it.
fn bridge_netfilter(group: &mut Group, inventory: &Inventory) {
    let has_services = || {
        let mut nft = Nfnetlink::open_if_supported().ok()??;
        nft.find_chain(Table::new(NftFamily::Ipv4, "nat"), KUBE_SERVICES).ok()?
    };
    let value = sysctl::read(BRIDGE_NF).ok();
    let shown = value.as_deref().unwrap_or("missing (br_netfilter is not loaded)");
    if value.as_deref() != Some("1") && !config::bridges(inventory).is_empty() && has_services().is_some() {
        group.found(
            Finding::warning(
                "bridge-netfilter-off",
                format!("{} is {shown}, and kube-proxy has rules here", BRIDGE_NF.replace('/', ".")),
            )
            .because("the answers of a service on the same bridge go past kube-proxy's rules, and are not understood")
            .cure("modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1"),
        );
    } else {
        group.ok(format!("{} is {shown}", BRIDGE_NF.replace('/', ".")));
    }
}

/// Whether published ports can be reached by 127.0.0.1, where they ought to.
fn route_localnet(group: &mut Group, inventory: &Inventory) {
    let links = published_by(inventory);
    let is_off = |link: &&str| sysctl::read(&localnet_key(link)).is_ok_and(|value| value == "0");
    let (off, on): (Vec<&str>, Vec<&str>) = links.into_iter().partition(is_off);
    for key in off.into_iter().map(localnet_key) {
        group.found(
            Finding::warning("route-localnet-off", format!("{key} is 0, and published ports lead there"))
                .because("this host itself does not reach them by 127.0.0.1")
                .cure(format!("sysctl -w {key}=1")),
        );
    }
    if !on.is_empty() {
        group.ok(format!("route_localnet is set where published ports lead: {}", on.join(", ")));
    }
}

fn localnet_key(link: &str) -> String {
    format!("net/ipv4/conf/{link}/route_localnet")
}

/// The links by which containers are reached whose ports are published, also for this host itself (`snat`).
fn published_by(inventory: &Inventory) -> BTreeSet<&str> {
    let wants = |attached: &&Attached| {
        let plugins = attached.list.as_ref().map(Plugin::of).unwrap_or_default();
        let by_portmap = plugins.iter().any(|plugin| {
            plugin.is(&["portmap"]) && json::member(&plugin.object, "snat") != Some(&serde_json::Value::Bool(false))
        });
        matches!(attached.life, Life::Alive(_))
            && by_portmap
            && !attached.asked_ports().is_empty()
            && has_family(attached, Family::V4)
    };
    inventory.attachments.iter().filter(wants).filter_map(|attached| way_in(inventory, attached)).collect()
}

/// Strict reverse path filtering, where routes depend on more than the destination.
fn reverse_path(group: &mut Group, inventory: &Inventory) {
    let rules = match Netlink::open().and_then(|mut netlink| netlink.rules()) {
        Ok(rules) => rules.iter().filter(|rule| !TABLES_OF_KERNEL.contains(&rule.table)).count(),
        Err(fault) => return group.unknown(libcni::error::causes(Some(&fault))),
    };
    // The kernel takes the greater of both; 2 is loose.
    let all = sysctl::read("net/ipv4/conf/all/rp_filter").unwrap_or_default();
    let host = inventory.host().into_iter().flat_map(|host| &host.links);
    let is_strict = |name: &str| {
        let own = sysctl::read(&format!("net/ipv4/conf/{name}/rp_filter")).unwrap_or_default();
        std::cmp::max(all.as_str(), own.as_str()) == STRICT
    };
    let strict: Vec<String> = host.filter(|link| is_strict(&link.name)).map(|link| link.name.clone()).collect();
    if rules > 0 && !strict.is_empty() {
        group.found(
            Finding::note(
                "reverse-path-strict",
                format!("rp_filter is strict on {} links, and there are routing rules", strict.len()),
            )
            .because("a packet that comes in by another link than the answer would leave by is dropped without a word")
            .cure("sysctl -w net.ipv4.conf.all.rp_filter=2")
            .about(strict),
        );
    } else {
        group.ok("rp_filter is in nobody's way");
    }
}
