//! Rules of policy routing (`ip rule`): which packets are routed by which table.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;

use crate::addr::ip;
use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{attributes, ne32};
use crate::packet::{AddressFamily, RouteProtocol, RuleAction, RuleAttribute, RuleHeader, RuleMessage};

/// `FRA_…` of linux/fib_rules.h, which libc has not on every target.
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PAD: u16 = 18;
const FRA_PROTOCOL: u16 = 21;
/// `FR_ACT_TO_TBL`: look into a table.
const FR_ACT_TO_TBL: u8 = 1;
/// `FIB_RULE_INVERT`: packets that do not match are meant.
const FIB_RULE_INVERT: u32 = 2;

/// A rule that chooses packets by their source. [`Rule::from_address`] makes one; the fields are public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The source addresses; `0.0.0.0/0` and `::/0` are all of the family.
    pub from: IpNet,
    /// The routing table to look into; 0 if the rule does something else (`goto`, `blackhole`, `l3mdev`).
    pub table: u32,
    /// Rules are asked in ascending order. `None`, to add one: before all but rule 0; to remove one: any.
    pub priority: Option<u32>,
    /// Who made it (`RTPROT_…` of linux/rtnetlink.h, or any other number). 0, to remove one: anybody.
    pub protocol: u8,
    /// It chooses by nothing but the source. Never false for rules to add.
    pub is_by_source_alone: bool,
}

impl Rule {
    /// Packets from `address` are routed by `table`.
    #[must_use]
    pub fn from_address(address: IpAddr, table: u32) -> Self {
        Self { from: IpNet::from(address), table, priority: None, protocol: 0, is_by_source_alone: true }
    }
}

impl fmt::Display for Rule {
    /// As `ip rule` takes it: `from 10.1.0.5 lookup 100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, table, .. } = self;
        match from.prefix_len() {
            bits if bits == from.max_prefix_len() => write!(f, "from {} lookup {table}", from.addr()),
            _ => write!(f, "from {from} lookup {table}"),
        }
    }
}

/// Adds a rule (`ip rule add from NET lookup TABLE [priority N] [protocol P]`). The very same rule of the same
/// priority is refused ([`NetlinkError::is_exists`]); without a priority it is there twice then.
#[must_use]
pub fn add(rule: &Rule) -> Request {
    Request::new(format!("add rule \"{rule}\""), libc::RTM_NEWRULE, Mode::Create, &message(rule))
}

/// Removes a rule (`ip rule del …`): the first that matches what is said. One that is not there is refused
/// ([`NetlinkError::is_not_found`]).
#[must_use]
pub fn remove(rule: &Rule) -> Request {
    Request::new(format!("remove rule \"{rule}\""), libc::RTM_DELRULE, Mode::Change, &message(rule))
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: if rule.from.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        src_len: rule.from.prefix_len(),
        // The header's field has one byte; larger numbers stand in the attribute alone.
        table: u8::try_from(rule.table).unwrap_or_default(),
        action: RuleAction::ToTable,
        ..RuleHeader::default()
    };
    let attributes = [
        (rule.from.prefix_len() > 0).then(|| RuleAttribute::Source(rule.from.network())),
        rule.priority.map(RuleAttribute::Priority),
        (rule.table > 255).then_some(RuleAttribute::Table(rule.table)),
        (rule.protocol != 0).then(|| RuleAttribute::Protocol(RouteProtocol::from(rule.protocol))),
    ];
    message.attributes.extend(attributes.into_iter().flatten());
    message
}

impl Netlink {
    /// The rules of both families, each family in the order in which they are asked (`ip rule`, `ip -6 rule`).
    ///
    /// # Errors
    /// If the kernel cannot be asked, or has no policy routing ([`Errno::EOPNOTSUPP`]).
    pub fn rules(&mut self) -> Result<Vec<Rule>, NetlinkError> {
        let mut rules = self.rules_of(AddressFamily::Inet)?;
        match self.rules_of(AddressFamily::Inet6) {
            Ok(v6) => rules.extend(v6),
            // A kernel without IPv6.
            Err(e) if matches!(e.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => {}
            Err(e) => return Err(e),
        }
        Ok(rules)
    }

    fn rules_of(&mut self, family: AddressFamily) -> Result<Vec<Rule>, NetlinkError> {
        let mut message = RuleMessage::default();
        message.header.family = family;
        self.dump(&Request::new("list rules", libc::RTM_GETRULE, Mode::Change, &message), parse)
    }
}

/// Reads an `RTM_NEWRULE`. `None`: it is of another family, or cut off.
fn parse(message: &[u8]) -> Option<Rule> {
    // struct fib_rule_hdr: family, dst_len, src_len, tos, table, 2 reserved bytes, action, flags (u32).
    let &[family, to_length, from_length, tos, table, _, _, action] = message.first_chunk()?;
    let flags = message.get(8..12).and_then(ne32)?;
    let mut source = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut table, mut priority, mut protocol) = (u32::from(table), 0, 0);
    let mut alone = action == FR_ACT_TO_TBL && to_length == 0 && tos == 0 && flags & FIB_RULE_INVERT == 0;
    for (kind, value) in attributes(message.get(12..)?) {
        match kind {
            FRA_SRC => source = ip(value)?,
            FRA_PRIORITY => priority = ne32(value)?,
            FRA_TABLE => table = ne32(value)?,
            FRA_PROTOCOL => protocol = *value.first()?,
            // Always there; -1 is none.
            FRA_SUPPRESS_PREFIXLEN if ne32(value) == Some(u32::MAX) => {}
            FRA_PAD => {}
            _ => alone = false,
        }
    }
    let from = IpNet::new(source, from_length).ok()?;
    Some(Rule { from, table, priority: Some(priority), protocol, is_by_source_alone: alone })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_ip_rule_says() {
        // ip rule add from 10.1.0.5 lookup 1000 priority 7 protocol 99 (the attributes in another order)
        let wanted = Rule { priority: Some(7), protocol: 99, ..Rule::from_address("10.1.0.5".parse().unwrap(), 1000) };
        let request = add(&wanted);
        assert_eq!(request.doing(), "add rule \"from 10.1.0.5 lookup 1000\"");
        let expected: &[u8] = &[
            2, 0, 32, 0, 0, 0, 0, 1, 0, 0, 0, 0, // fib_rule_hdr: table 0 (see attribute), FR_ACT_TO_TBL
            8, 0, 2, 0, 10, 1, 0, 5, // FRA_SRC
            8, 0, 6, 0, 7, 0, 0, 0, // FRA_PRIORITY
            8, 0, 15, 0, 0xe8, 3, 0, 0, // FRA_TABLE
            5, 0, 21, 0, 99, 0, 0, 0, // FRA_PROTOCOL
        ];
        assert_eq!(request.body(), expected);
        assert_eq!(parse(expected), Some(wanted));
        let v6 = Rule::from_address("fd00::5".parse().unwrap(), 100);
        assert_eq!(add(&v6).body().get(..12).unwrap(), [10, 0, 128, 0, 100, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(remove(&v6).doing(), "remove rule \"from fd00::5 lookup 100\"");
    }

    #[test]
    fn a_rule_with_another_condition_is_not_by_source_alone() {
        let plain = add(&Rule::from_address("10.1.0.5".parse().unwrap(), 100)).body().to_vec();
        assert!(parse(&plain).unwrap().is_by_source_alone);
        let changed = |at: usize, value: u8| {
            let mut message = plain.clone();
            *message.get_mut(at).unwrap() = value;
            parse(&message).unwrap()
        };
        // dst_len, tos, action (goto), flags (not).
        for (at, value) in [(1, 8), (3, 16), (7, 2), (8, 2)] {
            assert!(!changed(at, value).is_by_source_alone, "byte {at}");
        }
        let with = |attribute: &[u8]| parse(&[&plain, attribute].concat()).unwrap().is_by_source_alone;
        assert!(with(&[8, 0, 14, 0, 255, 255, 255, 255])); // FRA_SUPPRESS_PREFIXLEN: none
        assert!(!with(&[8, 0, 14, 0, 0, 0, 0, 0])); // suppress_prefixlength 0
        assert!(!with(&[8, 0, 10, 0, 1, 0, 0, 0])); // FRA_FWMARK
        for cut in [0, 7, 11] {
            assert_eq!(parse(plain.get(..cut).unwrap()), None);
        }
    }
}
