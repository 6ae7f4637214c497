//! What stands in our tables between attachments: chains with fixed rules, and sets and maps.
//!
//! ```text
//! table inet ferrule_firewall {
//!   set hosts4       { ipv4_addr }             10.1.0.2: let its packets pass, and the answers to them
//!   set zoned4       { ipv4_addr }             10.1.0.2: we made it a source of a zone of firewalld
//!   map same_bridge4 { ipv4_addr : ifname }    10.1.0.2 : "cni0": wants this policy for its bridge
//!   map isolated4    { ipv4_addr : ifname }    the same
//!   set bridges      { ifname }                "cni0": has a policy
//!   map bridge_pairs { ifname . ifname : verdict }   "cni0" . "cni0" : return (same-bridge) or drop (isolated)
//!   chain admin      the administrator's: made once, never touched again
//!   chain forward    hook forward, just before filter: mark who may pass, ask admin, drop by policy
//!   chain unmark     hook forward, after all others: take the mark away
//! }
//! table bridge ferrule_firewall {              made with the first "isolated"
//!   set ports { ifname }                       "veth1a2b3c4d": no frame goes from it to another port, nor to it
//!   chain forward
//! }
//! ```
//! and the same for IPv6. The mark is how other chains know whom to let pass: an accept in a table of ours does not keep
//! another from dropping. `forward.rs` puts one rule for it into iptables' chain FORWARD.

use std::net::IpAddr;

use linuxnet::NetlinkError;
use linuxnet::nft::{
    BaseChain, ChainKind, DataType, Family, Hook, Load, Nfnetlink, Policy, Rule, Set, Table, Transaction, Verdict,
    priority,
};

use DataType::{IfName, Ipv4Addr, Ipv6Addr};

/// Our table.
pub(crate) const TABLE: Table<'static> = Table::inet("ferrule_firewall");
/// Our table for frames between the ports of a bridge.
pub(super) const BRIDGE_TABLE: Table<'static> = Table::new(Family::Bridge, "ferrule_firewall");

/// The bit of the packet mark that says, within the hook forward, that a packet may pass.
pub(crate) const MARK: u32 = linuxnet::tag::FORWARD_MARK;

const ADMIN: &str = "admin";
const FORWARD: &str = "forward";
const UNMARK: &str = "unmark";

pub(super) const BRIDGES: Set<'static> = Set::of("bridges", &[IfName]).with_timeouts();
pub(super) const BRIDGE_PAIRS: Set<'static> = Set::verdict_map("bridge_pairs", &[IfName, IfName]).with_timeouts();
pub(super) const PORTS: Set<'static> = Set::of("ports", &[IfName]).with_timeouts();

/// How often a change is tried again that other plugins overtook.
pub(crate) const ATTEMPTS: u32 = 50;

/// What differs between the IP versions.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) key: DataType,
    saddr: Load,
    daddr: Load,
    pub(super) hosts: Set<'static>,
    pub(super) zoned: Set<'static>,
    pub(super) same_bridge: Set<'static>,
    pub(super) isolated: Set<'static>,
}

const V4: Version = Version {
    key: Ipv4Addr,
    saddr: Load::IpSaddr,
    daddr: Load::IpDaddr,
    hosts: Set::of("hosts4", &[Ipv4Addr]).with_timeouts(),
    zoned: Set::of("zoned4", &[Ipv4Addr]).with_timeouts(),
    same_bridge: Set::map("same_bridge4", &[Ipv4Addr], &[IfName]).with_timeouts(),
    isolated: Set::map("isolated4", &[Ipv4Addr], &[IfName]).with_timeouts(),
};

const V6: Version = Version {
    key: Ipv6Addr,
    saddr: Load::Ip6Saddr,
    daddr: Load::Ip6Daddr,
    hosts: Set::of("hosts6", &[Ipv6Addr]).with_timeouts(),
    zoned: Set::of("zoned6", &[Ipv6Addr]).with_timeouts(),
    same_bridge: Set::map("same_bridge6", &[Ipv6Addr], &[IfName]).with_timeouts(),
    isolated: Set::map("isolated6", &[Ipv6Addr], &[IfName]).with_timeouts(),
};

impl Version {
    pub(super) const ALL: [&'static Self; 2] = [&V4, &V6];

    pub(super) fn of(ip: IpAddr) -> &'static Self {
        if ip.is_ipv4() { &V4 } else { &V6 }
    }
}

/// The rules of the chain `forward`. The mark comes first, so that what the administrator accepts passes elsewhere too;
/// one that the packet brought along says nothing.
fn forward_rules() -> Vec<Rule> {
    let marking = Version::ALL.into_iter().flat_map(|version| {
        let hosts = version.hosts.name;
        [
            Rule::new().in_set(&[version.saddr], hosts).set_mark(MARK, MARK),
            Rule::new().in_set(&[version.daddr], hosts).is_answer().set_mark(MARK, MARK),
        ]
    });
    std::iter::once(Rule::new().set_mark(MARK, 0))
        .chain(marking)
        .chain([
            Rule::new().jump(ADMIN),
            Rule::new().verdict_by_map(&[Load::Iifname, Load::Oifname], BRIDGE_PAIRS.name),
            Rule::new()
                .in_set(&[Load::Iifname], BRIDGES.name)
                .in_set(&[Load::Oifname], BRIDGES.name)
                .verdict(Verdict::Drop),
        ])
        .collect()
}

fn unmark_rules() -> Vec<Rule> {
    vec![Rule::new().has_mark(MARK, MARK).set_mark(MARK, 0)]
}

/// Makes what is missing of the table. Two looks of 10 µs where all is there.
pub(super) fn ensure(nft: &mut Nfnetlink) -> Result<(), NetlinkError> {
    let mut attempt = 1;
    while !is_complete(nft)? {
        let creation = creation(nft)?;
        match nft.commit(&creation) {
            // Another plugin was faster.
            Err(e) if e.is_exists() && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
    Ok(())
}

/// Whether the chains have as many rules as they should: a chain counts them.
fn is_complete(nft: &mut Nfnetlink) -> Result<bool, NetlinkError> {
    let mut uses = |chain| nft.find_chain(TABLE, chain).map(|found| found.map_or(0, |chain| chain.uses as usize));
    Ok(uses(FORWARD)? >= forward_rules().len() && uses(UNMARK)? >= unmark_rules().len())
}

/// The first rule that should be in the table and is not, as words for an error.
pub(super) fn missing_rule(nft: &mut Nfnetlink) -> Result<Option<String>, NetlinkError> {
    for (chain, wanted) in [(FORWARD, forward_rules()), (UNMARK, unmark_rules())] {
        let present = nft.rules(TABLE, chain)?;
        if !wanted.iter().all(|rule| present.iter().any(|entry| entry.is_like(TABLE.family, rule))) {
            return Ok(Some(format!("a rule of chain {chain} in table {TABLE} is missing")));
        }
    }
    Ok(None)
}

/// The whole table. Chains of ours that somebody damaged are made anew; elements and the administrator's chain stay.
fn creation(nft: &mut Nfnetlink) -> Result<Transaction<'static>, NetlinkError> {
    let mut t = Transaction::new(TABLE);
    t.ensure_table().ensure_set(&BRIDGES).ensure_set(&BRIDGE_PAIRS);
    for version in Version::ALL {
        t.ensure_set(&version.hosts).ensure_set(&version.zoned);
        t.ensure_set(&version.same_bridge).ensure_set(&version.isolated);
    }
    if nft.find_chain(TABLE, ADMIN)?.is_none() {
        t.create_chain(ADMIN);
    }
    let chains = [(FORWARD, priority::FILTER - 1, forward_rules()), (UNMARK, priority::LAST, unmark_rules())];
    for (name, priority, rules) in chains {
        if nft.find_chain(TABLE, name)?.is_some() {
            t.flush_chain(name).remove_chain(name);
        }
        t.create_base_chain(&base_chain(name, priority));
        for rule in rules {
            t.add_rule(name, &rule);
        }
    }
    Ok(t)
}

fn base_chain(name: &str, priority: i32) -> BaseChain<'_> {
    BaseChain { name, kind: ChainKind::Filter, hook: Hook::Forward, priority, policy: Policy::Accept }
}

fn frame_rules() -> [Rule; 2] {
    [Load::Iifname, Load::Oifname].map(|load| Rule::new().in_set(&[load], PORTS.name).verdict(Verdict::Drop))
}

/// Makes the table for frames, if it is missing.
///
/// # Errors
/// Where the kernel has no nf_tables for bridges.
pub(super) fn ensure_frames(nft: &mut Nfnetlink) -> Result<(), NetlinkError> {
    let mut attempt = 1;
    while !drops_frames(nft)? {
        let mut t = Transaction::new(BRIDGE_TABLE);
        if nft.find_chain(BRIDGE_TABLE, FORWARD)?.is_some() {
            t.flush_chain(FORWARD).remove_chain(FORWARD);
        }
        t.ensure_table().ensure_set(&PORTS).create_base_chain(&base_chain(FORWARD, priority::BRIDGE_FILTER));
        for rule in frame_rules() {
            t.add_rule(FORWARD, &rule);
        }
        match nft.commit(&t) {
            Err(e) if e.is_exists() && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
    Ok(())
}

/// Whether the table for frames is there, with all its rules.
pub(super) fn drops_frames(nft: &mut Nfnetlink) -> Result<bool, NetlinkError> {
    let chain = nft.find_chain(BRIDGE_TABLE, FORWARD)?;
    Ok(chain.is_some_and(|chain| chain.uses as usize >= frame_rules().len()))
}
