//! Chains that drop what is forwarded, and what their rules make exceptions for.

use std::collections::BTreeSet;

use ipnet::IpNet;
use linuxnet::NetlinkError;
use linuxnet::iptables::{Family as IptFamily, Iptables, Table as IptTable, Variant, has_legacy};
use linuxnet::nft::{BaseChainEntry, Family as NftFamily, Hook, Nfnetlink, Policy, RuleEntry, Verdict};
use linuxnet::tag::FORWARD_MARK;

use super::configured::Family;
use super::report::Group;
use crate::finding::Finding;

/// iptables' chain for what is forwarded, and the one in which the plugin `firewall` lets containers pass.
pub(super) const FORWARD: &str = "FORWARD";
const CNI_FORWARD: &str = "CNI-FORWARD";
const FILTER: &str = "filter";
/// The table of firewalld, which the plugin `firewall` tells about containers.
const FIREWALLD: &str = "firewalld";
/// How all our tables begin.
const OURS: &str = "ferrule_";

/// A chain that drops forwarded packets unless a rule accepts them.
#[derive(Clone, Debug)]
pub(super) struct Dropper {
    /// `chain FORWARD of table ip filter of nftables`.
    pub(super) name: String,
    /// The families that pass it.
    pub(super) families: Vec<Family>,
    /// Containers of networks with the plugin `firewall` pass.
    pub(super) passes_firewalled: bool,
    /// Whose it is.
    pub(super) place: Place,
    /// What its rules compare with, but for those that drop: bytes of nftables, words of iptables.
    exceptions: BTreeSet<Vec<u8>>,
}

/// Where a chain is, for commands.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Table and chain of nftables.
    Nft { table: String, chain: String },
    /// The program of iptables-legacy.
    Legacy { program: &'static str },
}

impl Dropper {
    /// Whether a rule makes an exception for this interface: names in nftables may have zeros behind them.
    pub(super) fn knows_interface(&self, name: &str) -> bool {
        let is_name = |bytes: &Vec<u8>| {
            bytes.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
        };
        self.exceptions.iter().any(is_name)
    }

    /// Whether a rule makes an exception for this subnet: nftables compares with no more bytes than count.
    pub(super) fn knows_subnet(&self, subnet: IpNet) -> bool {
        let octets = match subnet.network() {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        };
        let counting = octets.get(..usize::from(subnet.prefix_len()).div_ceil(8)).unwrap_or(&octets).to_vec();
        let forms = [octets, counting, subnet.to_string().into_bytes()];
        forms.iter().any(|form| self.exceptions.contains(form))
    }

    /// Whether it is the chain that the plugin `firewall` passes by a rule of its own making.
    pub(super) fn is_of_iptables(&self) -> bool {
        match &self.place {
            Place::Nft { table, chain } => chain == FORWARD && matches!(table.as_str(), "ip filter" | "ip6 filter"),
            Place::Legacy { .. } => true,
        }
    }
}

/// Says whose tables there are, and gives the chains that drop.
pub(super) fn find(group: &mut Group) -> Result<Vec<Dropper>, NetlinkError> {
    let mut droppers = by_nftables(group)?;
    droppers.extend(by_legacy(group));
    Ok(droppers)
}

fn by_nftables(group: &mut Group) -> Result<Vec<Dropper>, NetlinkError> {
    let Some(mut nft) = Nfnetlink::open_if_supported()? else {
        group.ok("the kernel has no nftables");
        return Ok(Vec::new());
    };
    let (mut tables, mut droppers) = (BTreeSet::new(), Vec::new());
    for family in [NftFamily::Inet, NftFamily::Ipv4, NftFamily::Ipv6, NftFamily::Bridge] {
        for chain in nft.base_chains(family)? {
            tables.insert(chain.table().to_string());
            if family != NftFamily::Bridge && chain.is_at(Hook::Forward) && !chain.table.starts_with(OURS) {
                droppers.extend(dropper(&mut nft, &chain)?);
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

fn dropper(nft: &mut Nfnetlink, chain: &BaseChainEntry) -> Result<Option<Dropper>, NetlinkError> {
    let rules = nft.rules(chain.table(), &chain.name)?;
    let drops = chain.policy == Some(Policy::Drop) || rules.last().is_some_and(RuleEntry::drops_all);
    if !drops || rules.iter().any(accepts_all) {
        return Ok(None);
    }
    let to_firewall = |rule: &RuleEntry| rule.verdict() == Some(Verdict::Jump(CNI_FORWARD.to_owned()));
    let passes_firewalled = chain.table == FIREWALLD
        || rules.iter().any(|rule| to_firewall(rule) || rule.compares_with(&FORWARD_MARK.to_ne_bytes()));
    let families = match chain.family {
        NftFamily::Ipv4 => vec![Family::V4],
        NftFamily::Ipv6 => vec![Family::V6],
        NftFamily::Inet => vec![Family::V4, Family::V6],
        // Nothing that is forwarded passes them.
        NftFamily::Bridge | NftFamily::Arp | NftFamily::Netdev => Vec::new(),
    };
    let passing = rules.iter().filter(|rule| rule.verdict() != Some(Verdict::Drop));
    let compared = passing.flat_map(|rule| &rule.expressions).filter(|e| e.name == "cmp");
    let table = chain.table().to_string();
    Ok(Some(Dropper {
        name: format!("chain {} of table {table} of nftables", chain.name),
        families,
        passes_firewalled,
        place: Place::Nft { table, chain: chain.name.clone() },
        exceptions: compared.filter_map(|e| e.constant().map(<[u8]>::to_vec)).collect(),
    }))
}

fn accepts_all(rule: &RuleEntry) -> bool {
    rule.verdict() == Some(Verdict::Accept)
        && rule.expressions.iter().all(|e| e.name == "counter" || e.verdict().is_some())
}

/// The same of iptables-legacy, whose tables only its own programs can read.
fn by_legacy(group: &mut Group) -> Vec<Dropper> {
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
        match iptables.list(Variant::Legacy, family, FILTER) {
            Ok(table) => droppers.extend(of_legacy(group, &table, ours, program)),
            Err(fault) => group.unknown(libcni::error::causes(Some(&fault))),
        }
    }
    droppers
}

fn of_legacy(group: &mut Group, table: &IptTable, family: Family, program: &'static str) -> Option<Dropper> {
    let drops = table.drops_by_policy(FORWARD);
    if drops || table.rules().next().is_some() {
        group.found(
            Finding::warning("mixed-iptables", format!("{program} has rules, beside those of nftables"))
                .because(
                    "a packet must pass both, and each shows only its own: what is added to one seems without effect",
                )
                .cure(format!("{program}-save; bring its rules to nftables; {program} -F")),
        );
    }
    let passing = || table.rules_of(FORWARD).filter(|rule| rule.target() != Some("DROP"));
    let words = passing().flat_map(|rule| ["-i", "-o", "-s", "-d"].map(|option| rule.option(option)));
    drops.then(|| Dropper {
        name: format!("chain {FORWARD} of {program}"),
        families: vec![family],
        passes_firewalled: passing().any(|rule| rule.target() == Some(CNI_FORWARD)),
        place: Place::Legacy { program },
        exceptions: words.flatten().map(|word| word.as_bytes().to_vec()).collect(),
    })
}
