//! What stands in our table between attachments: chains with fixed rules, and sets and maps.
//!
//! ```text
//! table inet ferrule_portmap {
//!   map hostports4        { inet_proto . inet_service : ipv4_addr . inet_service }            tcp . 8080 : 10.1.0.2 . 80
//!   map hostip_hostports4 { ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//!   set hairpin4          { ipv4_addr . ifname . ifname }      10.1.0.2 . "cni0" . "cni0": leaves by the link it came by
//!   set itself4           { ipv4_addr . ipv4_addr }            10.1.0.2 . 10.1.0.2: the container calls its own port
//!   set localhost4        { ipv4_addr }                        10.1.0.2: connections from 127.0.0.0/8
//!   set masq_all4         { ipv4_addr }                        10.1.0.2: masqAll
//!   chain prerouting, output   fib daddr type local jump hostports
//!   chain hostports            jump conditional, then by the maps: one address before every address
//!   chain conditional          a jump for each condition: see conditional.rs
//!   chain postrouting          masquerade by the sets
//! }
//! ```
//! and the same for IPv6, without `localhost`: the kernel has no `route_localnet` for `::1`.

use std::net::IpAddr;

use linuxnet::NetlinkError;
use linuxnet::nft::{
    AddrType, BaseChain, ChainKind, DataType, Family, Field, Hook, Load, Nfnetlink, Policy, Rule, Set, Table,
    Transaction, priority,
};
use linuxnet::tag;

use DataType::{IfName, InetProto, InetService, Ipv4Addr, Ipv6Addr};

/// Our table.
pub(super) const TABLE: Table<'static> = Table::inet("ferrule_portmap");

/// Where mappings with conditions are jumped to from.
pub(super) const CONDITIONAL: &str = "conditional";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
const HOSTPORTS: &str = "hostports";
const POSTROUTING: &str = "postrouting";

/// How often a change is tried again that other plugins overtook.
pub(super) const ATTEMPTS: u32 = 5;

/// What differs between the IP versions.
#[derive(Debug)]
pub(super) struct Version {
    digit: char,
    pub(super) nfproto: &'static str,
    family: Family,
    any_key: &'static [DataType],
    specific_key: &'static [DataType],
    target: &'static [DataType],
    saddr: Load,
    daddr: Load,
    pub(super) hairpin: Set<'static>,
    pub(super) itself: Set<'static>,
    pub(super) masq_all: Set<'static>,
    pub(super) localhost: Option<Set<'static>>,
}

const V4: Version = Version {
    digit: '4',
    nfproto: "ipv4",
    family: Family::Ipv4,
    any_key: &[InetProto, InetService],
    specific_key: &[Ipv4Addr, InetProto, InetService],
    target: &[Ipv4Addr, InetService],
    saddr: Load::IpSaddr,
    daddr: Load::IpDaddr,
    hairpin: Set::of("hairpin4", &[Ipv4Addr, IfName, IfName]).with_timeouts(),
    itself: Set::of("itself4", &[Ipv4Addr, Ipv4Addr]).with_timeouts(),
    masq_all: Set::of("masq_all4", &[Ipv4Addr]).with_timeouts(),
    localhost: Some(Set::of("localhost4", &[Ipv4Addr]).with_timeouts()),
};

const V6: Version = Version {
    digit: '6',
    nfproto: "ipv6",
    family: Family::Ipv6,
    any_key: &[InetProto, InetService],
    specific_key: &[Ipv6Addr, InetProto, InetService],
    target: &[Ipv6Addr, InetService],
    saddr: Load::Ip6Saddr,
    daddr: Load::Ip6Daddr,
    hairpin: Set::of("hairpin6", &[Ipv6Addr, IfName, IfName]).with_timeouts(),
    itself: Set::of("itself6", &[Ipv6Addr, Ipv6Addr]).with_timeouts(),
    masq_all: Set::of("masq_all6", &[Ipv6Addr]).with_timeouts(),
    localhost: None,
};

impl Version {
    pub(super) const ALL: [&'static Self; 2] = [&V4, &V6];

    pub(super) fn of(ip: IpAddr) -> &'static Self {
        if ip.is_ipv4() { &V4 } else { &V6 }
    }
}

/// The two maps that mappings of one IP version and one condition stand in.
#[derive(Clone, Debug)]
pub(super) struct PortMaps {
    version: &'static Version,
    /// For every address of the host.
    pub(super) any: String,
    /// For one address of the host.
    pub(super) specific: String,
    /// The chain that looks into them, where there is a condition.
    pub(super) chain: Option<String>,
}

const ANY: &str = "hostports";
const SPECIFIC: &str = "hostip_hostports";

impl PortMaps {
    /// Those of mappings under these conditions; none: for all packets. Equal words share their maps.
    pub(super) fn new(version: &'static Version, conditions: &[String]) -> Self {
        let digit = version.digit;
        if conditions.is_empty() {
            return Self { version, any: format!("{ANY}{digit}"), specific: format!("{SPECIFIC}{digit}"), chain: None };
        }
        let hash = tag::short_hash(&conditions.join(" "));
        Self {
            version,
            any: format!("{ANY}{digit}_{hash}"),
            specific: format!("{SPECIFIC}{digit}_{hash}"),
            chain: Some(format!("{CONDITIONAL}{digit}_{hash}")),
        }
    }

    /// The types of the keys and of the data of the map called `name`, whatever its condition; `None` if it is another
    /// set.
    pub(super) fn types_of(name: &str) -> Option<(&'static [DataType], &'static [DataType])> {
        let (is_specific, rest) = match name.strip_prefix(SPECIFIC) {
            Some(rest) => (true, rest),
            None => (false, name.strip_prefix(ANY)?),
        };
        let version = Version::ALL.into_iter().find(|version| rest.starts_with(version.digit))?;
        Some((if is_specific { version.specific_key } else { version.any_key }, version.target))
    }

    pub(super) fn any_set(&self) -> Set<'_> {
        Set::map(&self.any, self.version.any_key, self.version.target).with_timeouts()
    }

    pub(super) fn specific_set(&self) -> Set<'_> {
        Set::map(&self.specific, self.version.specific_key, self.version.target).with_timeouts()
    }

    /// The rules that look into the maps: a mapping of one address goes before one of every address.
    pub(super) fn rules(&self) -> [Rule; 2] {
        let Version { family, daddr, .. } = *self.version;
        [
            Rule::new().dnat_by_map(family, &[daddr, Load::L4Proto, Load::ThDport], &*self.specific),
            Rule::new().dnat_by_map(family, &[Load::L4Proto, Load::ThDport], &*self.any),
        ]
    }
}

fn unconditional() -> [PortMaps; 2] {
    Version::ALL.map(|version| PortMaps::new(version, &[]))
}

fn hostports_rules() -> Vec<Rule> {
    let by_maps = unconditional().into_iter().flat_map(|maps| maps.rules());
    std::iter::once(Rule::new().jump(CONDITIONAL)).chain(by_maps).collect()
}

fn postrouting_rules() -> Vec<Rule> {
    let rules_of = |version: &Version| {
        let Version { saddr, daddr, .. } = *version;
        let localhost = version.localhost.map(|set| {
            let loopback = ipnet::IpNet::V4(ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8));
            Rule::new().source_in(loopback).in_set(&[daddr], set.name).masquerade()
        });
        [
            // With bridge netfilter a packet from a bridge's port has no iifname here; its answer is seen all the same.
            Rule::new().was_dnat().in_set(&[daddr, Load::Iifname, Load::Oifname], version.hairpin.name).masquerade(),
            Rule::new().in_set(&[saddr, daddr], version.itself.name).masquerade(),
            Rule::new().was_dnat().in_set(&[daddr], version.masq_all.name).masquerade(),
        ]
        .into_iter()
        .chain(localhost)
        .collect::<Vec<_>>()
    };
    Version::ALL.into_iter().flat_map(rules_of).collect()
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

/// Whether the chains have their rules, and the base chains jump to them: a chain counts both.
pub(super) fn is_complete(nft: &mut Nfnetlink) -> Result<bool, NetlinkError> {
    let jumps_to_hostports = 2;
    let mut uses = |chain| nft.find_chain(TABLE, chain).map(|found| found.map_or(0, |chain| chain.uses as usize));
    Ok(uses(HOSTPORTS)? >= hostports_rules().len() + jumps_to_hostports
        && uses(POSTROUTING)? >= postrouting_rules().len())
}

/// The whole table. Chains that somebody damaged are made anew; elements and conditions stay.
fn creation(nft: &mut Nfnetlink) -> Result<Transaction<'static>, NetlinkError> {
    let mut t = Transaction::new(TABLE);
    t.ensure_table();
    let present: Vec<String> = nft.chains(TABLE)?.into_iter().map(|chain| chain.name).collect();
    let damaged =
        || [PREROUTING, OUTPUT, POSTROUTING, HOSTPORTS].into_iter().filter(|c| present.iter().any(|p| p == c));
    for chain in damaged() {
        t.flush_chain(chain);
    }
    for chain in damaged() {
        t.remove_chain(chain);
    }
    for maps in unconditional() {
        t.ensure_set(&maps.any_set()).ensure_set(&maps.specific_set());
    }
    for version in Version::ALL {
        t.ensure_set(&version.hairpin).ensure_set(&version.itself).ensure_set(&version.masq_all);
        if let Some(set) = &version.localhost {
            t.ensure_set(set);
        }
    }
    if !present.iter().any(|chain| chain == CONDITIONAL) {
        t.create_chain(CONDITIONAL);
    }
    t.create_chain(HOSTPORTS);
    for rule in hostports_rules() {
        t.add_rule(HOSTPORTS, &rule);
    }
    let jump = Rule::new().equals(Load::FibDaddrType, Field::AddrType(AddrType::Local)).jump(HOSTPORTS);
    for (name, hook) in [(PREROUTING, Hook::Prerouting), (OUTPUT, Hook::Output)] {
        t.create_base_chain(&base_chain(name, hook, priority::DSTNAT)).add_rule(name, &jump);
    }
    t.create_base_chain(&base_chain(POSTROUTING, Hook::Postrouting, priority::SRCNAT));
    for rule in postrouting_rules() {
        t.add_rule(POSTROUTING, &rule);
    }
    Ok(t)
}

fn base_chain(name: &'static str, hook: Hook, priority: i32) -> BaseChain<'static> {
    BaseChain { name, kind: ChainKind::Nat, hook, priority, policy: Policy::Accept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_maps_of_their_own() {
        let plain = PortMaps::new(&V4, &[]);
        assert_eq!((plain.any.as_str(), plain.specific.as_str()), ("hostports4", "hostip_hostports4"));
        let under = |words: &[&str]| PortMaps::new(&V4, &words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(under(&["ip saddr", "10.0.0.1"]).any, under(&["ip saddr 10.0.0.1"]).any);
        assert_ne!(under(&["ip saddr 10.0.0.1"]).any, under(&["ip saddr 10.0.0.2"]).any);
    }

    #[test]
    fn maps_of_mappings_are_known_by_their_names() {
        for version in Version::ALL {
            for conditions in [Vec::new(), vec!["udp sport 1".to_owned()]] {
                let maps = PortMaps::new(version, &conditions);
                assert_eq!(PortMaps::types_of(&maps.any), Some((version.any_key, version.target)));
                assert_eq!(PortMaps::types_of(&maps.specific), Some((version.specific_key, version.target)));
            }
            assert_eq!(PortMaps::types_of(version.hairpin.name), None);
        }
    }
}
