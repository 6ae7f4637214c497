//! Firewalls: who has rules here, and who drops what this host forwards.

use std::collections::BTreeSet;
use std::path::PathBuf;

use libcni::runtime::NetworkList;
use linuxnet::NetlinkError;
use linuxnet::iptables::{Family as IptFamily, Iptables, Variant, has_legacy};
use linuxnet::nft::{BaseChainEntry, Family as NftFamily, Hook, Nfnetlink, Policy, RuleEntry, Table, Verdict};
use linuxnet::tag::FORWARD_MARK;

use super::configured::{Family, Plugin};
use super::report::Group;
use crate::finding::Finding;
use crate::node::{Inventory, config};

/// iptables' chain for what is forwarded, and the one in which the plugin `firewall` lets containers pass.
const FORWARD: &str = "FORWARD";
const CNI_FORWARD: &str = "CNI-FORWARD";
const FILTER: &str = "filter";
/// The table of firewalld, which the plugin `firewall` tells about containers.
const FIREWALLD: &str = "firewalld";
/// How all our tables begin.
const OURS: &str = "ferrule_";

/// A chain that drops forwarded packets unless a rule accepts them.
#[derive(Clone, Debug)]
struct Dropper {
    /// `chain FORWARD of table ip filter`.
    name: String,
    /// The families that pass it.
    families: Vec<Family>,
    /// Containers of networks with the plugin `firewall` pass.
    passes_firewalled: bool,
    /// What its rules name as interfaces.
    interfaces: BTreeSet<String>,
    /// The command that lets marked packets pass, or those of an interface.
    accept: Accept,
}

/// How its owner can let containers pass.
#[derive(Clone, Debug)]
enum Accept {
    Nft { table: String, chain: String },
    Iptables { program: &'static str },
}

/// A network whose packets this host forwards.
struct Routed {
    path: PathBuf,
    name: String,
    families: BTreeSet<Family>,
    has_firewall: bool,
    bridges: Vec<String>,
}

pub(super) fn examine(inventory: &Inventory) -> Group {
    let mut group = Group::new("Firewall");
    let bridges = config::bridges(inventory);
    match by_nftables(&mut group, &bridges) {
        Ok(mut droppers) => {
            droppers.extend(by_legacy(&mut group, &bridges));
            judge(&mut group, &droppers, &routed(inventory));
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
        let families: BTreeSet<Family> = routers.iter().flat_map(|plugin| plugin.families()).collect();
        let has_firewall = plugins.iter().any(|plugin| plugin.is(&["firewall"]));
        let bridges = routers.iter().filter_map(|plugin| config::bridge(&plugin.object)).collect();
        (!routers.is_empty()).then(|| Routed {
            path: path.clone(),
            name: list.name.to_string(),
            families,
            has_firewall,
            bridges,
        })
    };
    inventory.networks.iter().filter_map(routed).collect()
}

/// Says whose tables there are, and gives those that drop.
fn by_nftables(group: &mut Group, bridges: &BTreeSet<String>) -> Result<Vec<Dropper>, NetlinkError> {
    let Some(mut nft) = Nfnetlink::open_if_supported()? else {
        group.ok("the kernel has no nftables");
        return Ok(Vec::new());
    };
    let (mut tables, mut droppers) = (BTreeSet::new(), Vec::new());
    for family in [NftFamily::Inet, NftFamily::Ipv4, NftFamily::Ipv6, NftFamily::Bridge] {
        for chain in nft.base_chains(family)? {
            tables.insert(chain.table().to_string());
            if family != NftFamily::Bridge && chain.is_at(Hook::Forward) && !chain.table.starts_with(OURS) {
                droppers.extend(dropper(&mut nft, &chain, bridges)?);
            }
        }
    }
    if tables.is_empty() {
        group.ok("nftables has no rules");
    } else {
        group.ok(format!("nftables has rules in {}", tables.into_iter().collect::<Vec<_>>().join(", ")));
    }
    Ok(droppers)
}

fn dropper(
    nft: &mut Nfnetlink,
    chain: &BaseChainEntry,
    bridges: &BTreeSet<String>,
) -> Result<Option<Dropper>, NetlinkError> {
    let rules = nft.rules(chain.table(), &chain.name)?;
    let drops = chain.policy == Some(Policy::Drop) || rules.last().is_some_and(RuleEntry::drops_all);
    let accepts_all = rules.iter().any(|rule| {
        rule.verdict() == Some(Verdict::Accept)
            && rule.expressions.iter().all(|e| e.name == "counter" || e.verdict().is_some())
    });
    if !drops || accepts_all {
        return Ok(None);
    }
    let to_firewall = |rule: &RuleEntry| rule.verdict() == Some(Verdict::Jump(CNI_FORWARD.to_owned()));
    let passes_firewalled = chain.table == FIREWALLD
        || rules.iter().any(|rule| to_firewall(rule) || rule.compares_with(&FORWARD_MARK.to_ne_bytes()));
    let names = |name: &&String| {
        let bytes = name.as_bytes();
        let compared =
            |rule: &RuleEntry| rule.expressions.iter().any(|e| e.name == "cmp" && is_name(e.constant(), bytes));
        rules.iter().any(|rule| rule.verdict() != Some(Verdict::Drop) && compared(rule))
    };
    let families = match chain.family {
        NftFamily::Ipv4 => vec![Family::V4],
        NftFamily::Ipv6 => vec![Family::V6],
        // `forward` is a hook of these; the others see no packet that is forwarded.
        NftFamily::Inet | NftFamily::Bridge => vec![Family::V4, Family::V6],
        NftFamily::Arp | NftFamily::Netdev => Vec::new(),
    };
    let table: Table<'_> = chain.table();
    Ok(Some(Dropper {
        name: format!("chain {} of table {table} of nftables", chain.name),
        families,
        passes_firewalled,
        interfaces: bridges.iter().filter(names).cloned().collect(),
        accept: Accept::Nft { table: table.to_string(), chain: chain.name.clone() },
    }))
}

/// Whether a constant is this interface name, with or without the zeros behind it.
fn is_name(constant: Option<&[u8]>, name: &[u8]) -> bool {
    constant.and_then(|bytes| bytes.strip_prefix(name)).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
}

/// The same of iptables-legacy, whose tables only its own programs can read.
fn by_legacy(group: &mut Group, bridges: &BTreeSet<String>) -> Vec<Dropper> {
    let iptables = Iptables::of_host();
    let mut droppers = Vec::new();
    for (family, ours, program) in
        [(IptFamily::V4, Family::V4, "iptables-legacy"), (IptFamily::V6, Family::V6, "ip6tables-legacy")]
    {
        if !has_legacy(family, FILTER) {
            continue;
        }
        if !iptables.is_installed(Variant::Legacy, family) {
            group.unknown(format!("{program} is not installed, and its table filter is in use: nobody can read it"));
            continue;
        }
        let table = match iptables.list(Variant::Legacy, family, FILTER) {
            Ok(table) => table,
            Err(fault) => {
                group.unknown(libcni::error::causes(Some(&fault)));
                continue;
            }
        };
        let drops = table.drops_by_policy(FORWARD);
        if !drops && table.rules().next().is_none() {
            continue;
        }
        group.found(mixed(program));
        let targets: Vec<_> = table.rules_of(FORWARD).collect();
        if drops {
            let names = |name: &&String| {
                targets.iter().any(|rule| [rule.option("-i"), rule.option("-o")].contains(&Some(name.as_str())))
            };
            droppers.push(Dropper {
                name: format!("chain {FORWARD} of {program}"),
                families: vec![ours],
                passes_firewalled: targets.iter().any(|rule| rule.target() == Some(CNI_FORWARD)),
                interfaces: bridges.iter().filter(names).cloned().collect(),
                accept: Accept::Iptables { program },
            });
        }
    }
    droppers
}

fn mixed(program: &str) -> Finding {
    Finding::warning("mixed-iptables", format!("{program} has rules, beside those of nftables"))
        .because(
            "a packet must pass both, and each shows only its own: a rule that is added to one seems without effect",
        )
        .cure(format!("{program}-save; then bring its rules to nftables, and {program} -F"))
}

/// Says which networks are dropped by whom.
fn judge(group: &mut Group, droppers: &[Dropper], networks: &[Routed]) {
    let mut passes = Vec::new();
    for dropper in droppers {
        let mut well = true;
        for network in networks.iter().filter(|network| dropper.families.iter().any(|f| network.families.contains(f))) {
            let is_named = network.bridges.iter().any(|bridge| dropper.interfaces.contains(bridge));
            if is_named || (network.has_firewall && dropper.passes_firewalled) {
                continue;
            }
            well = false;
            group.found(dropped(dropper, network));
        }
        if well {
            passes.push(dropper.name.as_str());
        }
    }
    if passes.is_empty() && droppers.is_empty() {
        group.ok("no chain drops what is forwarded");
    }
    for name in passes {
        group.ok(format!("{name} drops what is forwarded, but not what networks of this node send"));
    }
}

fn dropped(dropper: &Dropper, network: &Routed) -> Finding {
    let Dropper { name, accept, .. } = dropper;
    let seen = format!("{name} drops what is forwarded for network \"{}\"", network.name);
    let families: Vec<&str> =
        dropper.families.iter().filter(|f| network.families.contains(f)).map(|f| f.as_str()).collect();
    let why =
        format!("its containers reach nobody outside this host by {}, and nobody reaches them", families.join(" and "));
    let cure = match (accept, network.bridges.first()) {
        (Accept::Nft { table, chain }, _) if network.has_firewall => {
            format!("nft insert rule {table} {chain} meta mark and {FORWARD_MARK:#x} == {FORWARD_MARK:#x} accept")
        }
        (Accept::Nft { table, chain }, Some(bridge)) if !is_of_iptables(table, chain) => {
            format!(
                "nft insert rule {table} {chain} iifname {bridge} accept; nft insert rule {table} {chain} oifname {bridge} accept"
            )
        }
        (Accept::Iptables { program }, Some(bridge)) if network.has_firewall => {
            format!("{program} -I {FORWARD} -i {bridge} -j ACCEPT; {program} -I {FORWARD} -o {bridge} -j ACCEPT")
        }
        _ => format!(
            "add {{\"type\": \"firewall\"}} to \"plugins\" in {}, and attach its containers anew",
            network.path.display()
        ),
    };
    Finding::error("forward-dropped", seen).because(why).cure(cure)
}

/// Whether it is the chain that the plugin `firewall` passes by a rule of its own.
fn is_of_iptables(table: &str, chain: &str) -> bool {
    chain == FORWARD && matches!(table, "ip filter" | "ip6 filter")
}
