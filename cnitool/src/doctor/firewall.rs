//! Firewalls: who has rules here, and who drops what this host forwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ipnet::IpNet;
use libcni::runtime::NetworkList;
use linuxnet::tag::FORWARD_MARK;

use super::configured::{Family, Plugin};
use super::directories::listed;
use super::dropper::{self, Dropper, FORWARD, Place};
use super::report::Group;
use crate::finding::Finding;
use crate::node::{Inventory, config};

/// A network whose packets this host forwards.
struct Routed {
    path: PathBuf,
    name: String,
    families: BTreeSet<Family>,
    has_firewall: bool,
    bridges: Vec<String>,
    subnets: Vec<IpNet>,
}

pub(super) fn examine(inventory: &Inventory) -> Group {
    let mut group = Group::new("Firewall");
    match dropper::find(&mut group) {
        Ok(droppers) if droppers.is_empty() => group.ok("no chain drops what is forwarded"),
        Ok(droppers) => {
            let networks = routed(inventory);
            droppers.iter().for_each(|dropper| judge(&mut group, dropper, &networks));
        }
        Err(fault) => group.unknown(libcni::error::causes(Some(&fault))),
    }
    group
}

/// The networks of the configuration directory whose packets this host forwards.
fn routed(inventory: &Inventory) -> Vec<Routed> {
    let routed = |(path, list): &'_ (PathBuf, NetworkList)| {
        let plugins = Plugin::of(list);
        let routers: Vec<&Plugin> = plugins.iter().filter(|plugin| plugin.is_routed()).collect();
        let network = || Routed {
            path: path.clone(),
            name: list.name.to_string(),
            families: routers.iter().flat_map(|plugin| plugin.families()).collect(),
            has_firewall: plugins.iter().any(|plugin| plugin.is(&["firewall"])),
            bridges: routers.iter().filter_map(|plugin| config::bridge(&plugin.object)).collect(),
            subnets: routers.iter().flat_map(|plugin| plugin.subnets()).collect(),
        };
        (!routers.is_empty()).then(network)
    };
    inventory.networks.iter().filter_map(routed).collect()
}

/// Says for which networks `dropper` drops; those with the same cure together.
fn judge(group: &mut Group, dropper: &Dropper, networks: &[Routed]) {
    let passes = |network: &Routed| {
        (network.has_firewall && dropper.passes_firewalled)
            || network.bridges.iter().any(|bridge| dropper.knows_interface(bridge))
            || network.subnets.iter().any(|subnet| dropper.knows_subnet(*subnet))
    };
    let mut dropped: BTreeMap<String, (BTreeSet<String>, BTreeSet<Family>)> = BTreeMap::new();
    for network in networks.iter().filter(|network| !passes(network)) {
        let families: BTreeSet<Family> =
            dropper.families.iter().copied().filter(|family| network.families.contains(family)).collect();
        if !families.is_empty() {
            let (names, all) = dropped.entry(cure(dropper, network)).or_default();
            names.insert(network.name.clone());
            all.extend(families);
        }
    }
    if dropped.is_empty() {
        group.ok(format!("{} drops what is forwarded, but not what networks of this node send", dropper.name));
    }
    for (cure, (names, families)) in dropped {
        let families: Vec<&str> = families.into_iter().map(Family::as_str).collect();
        let why = format!(
            "by {} their containers reach nobody outside this host, and nobody reaches them",
            families.join(" and ")
        );
        let seen = format!("{} drops what is forwarded for {}", dropper.name, listed(&names));
        group.found(Finding::error("forward-dropped", seen).because(why).cure(cure));
    }
}

/// The command that lets the network's packets pass.
fn cure(dropper: &Dropper, network: &Routed) -> String {
    // What its packets have in common: the link, else the subnet.
    let common = match (network.bridges.first(), network.subnets.first()) {
        (Some(bridge), _) => Some((["iifname", "oifname"], ["-i", "-o"], bridge.clone())),
        (None, Some(subnet @ IpNet::V4(_))) => Some((["ip saddr", "ip daddr"], ["-s", "-d"], subnet.to_string())),
        (None, Some(subnet @ IpNet::V6(_))) => Some((["ip6 saddr", "ip6 daddr"], ["-s", "-d"], subnet.to_string())),
        (None, None) => None,
    };
    match (&dropper.place, common) {
        (Place::Nft { table, chain }, _) if network.has_firewall => {
            format!("nft insert rule {table} {chain} meta mark and {FORWARD_MARK:#x} == {FORWARD_MARK:#x} accept")
        }
        // The plugin has a way through iptables' chain, and through no other.
        (_, Some(_)) if dropper.is_of_iptables() && !network.has_firewall => by_plugin(network),
        (_, None) => by_plugin(network),
        (Place::Nft { table, chain }, Some(([from, to], _, what))) => {
            let insert = format!("nft insert rule {table} {chain}");
            format!("{insert} {from} {what} accept; {insert} {to} {what} accept")
        }
        (Place::Legacy { program }, Some((_, [from, to], what))) => {
            let insert = format!("{program} -I {FORWARD}");
            format!("{insert} {from} {what} -j ACCEPT; {insert} {to} {what} -j ACCEPT")
        }
    }
}

fn by_plugin(network: &Routed) -> String {
    format!(
        "add {{\"type\": \"firewall\"}} to \"plugins\" in {}, and attach its containers anew",
        network.path.display()
    )
}
