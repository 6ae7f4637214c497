//! Rules of policy routing with all their conditions, as lines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;

use super::{Entry, Kind, Object, route};
use crate::addr::ip;
use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{attributes, ne32, text};
use crate::packet::{AddressFamily, RuleMessage};

/// `FRA_*` of linux/fib_rules.h.
const DST: u16 = 1;
const SRC: u16 = 2;
const IIFNAME: u16 = 3;
const GOTO: u16 = 4;
const PRIORITY: u16 = 6;
const FWMARK: u16 = 10;
const SUPPRESS_PREFIXLEN: u16 = 14;
const TABLE: u16 = 15;
const FWMASK: u16 = 16;
const OIFNAME: u16 = 17;
const L3MDEV: u16 = 19;
const PROTOCOL: u16 = 21;
const IP_PROTO: u16 = 22;
/// What tells nothing: `FRA_FLOW`, `FRA_PAD`.
const SILENT: [u16; 2] = [11, 18];
/// `FIB_RULE_INVERT`.
const INVERT: u32 = 2;

/// A rule of policy routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPolicy {
    /// Whether it is about IPv6.
    pub is_ipv6: bool,
    /// Rules are asked in ascending order.
    pub priority: u32,
    /// The source addresses that it is for; `None`: all.
    pub from: Option<IpNet>,
    /// The destination addresses that it is for; `None`: all.
    pub to: Option<IpNet>,
    /// The table that it looks into, if that is what it does.
    pub table: Option<u32>,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
    /// The whole rule as `ip rule` writes it, but for the family.
    text: String,
}

impl Netlink {
    /// The rules of both families with all their conditions, in the order in which they are asked.
    ///
    /// # Errors
    /// If the kernel cannot be asked, or has no policy routing ([`Errno::EOPNOTSUPP`]).
    pub fn listed_policies(&mut self) -> Result<Vec<ListedPolicy>, NetlinkError> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            match self.dump(&Request::new("list rules", libc::RTM_GETRULE, Mode::Change, &message), parse) {
                Ok(more) => all.extend(more),
                // A kernel without IPv6.
                Err(e)
                    if family == AddressFamily::Inet6
                        && matches!(e.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }
}

/// Reads an `RTM_NEWRULE`. `None`: it is of another family, or cut off.
fn parse(message: &[u8]) -> Option<ListedPolicy> {
    // struct fib_rule_hdr: family, dst_len, src_len, tos, table, 2 reserved bytes, action, flags (u32).
    let &[family, to_length, from_length, tos, short_table, _, _, action] = message.first_chunk()?;
    let flags = message.get(8..12).and_then(ne32)?;
    let (is_ipv6, unspecified) = match i32::from(family) {
        libc::AF_INET => (false, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        libc::AF_INET6 => (true, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => return None,
    };
    let (mut from, mut to) = (unspecified, unspecified);
    let (mut priority, mut protocol, mut table, mut target) = (0, 0, u32::from(short_table), None);
    let (mut mark, mut mask, mut l3mdev) = (None, u32::MAX, false);
    let (mut conditions, mut suppressed) = (Vec::new(), None);
    for (kind, value) in attributes(message.get(12..)?) {
        match kind {
            SRC => from = ip(value)?,
            DST => to = ip(value)?,
            PRIORITY => priority = ne32(value)?,
            TABLE => table = ne32(value)?,
            PROTOCOL => protocol = *value.first()?,
            GOTO => target = ne32(value),
            FWMARK => mark = ne32(value),
            FWMASK => mask = ne32(value)?,
            L3MDEV => l3mdev = value.first() == Some(&1),
            SUPPRESS_PREFIXLEN => suppressed = ne32(value).filter(|length| *length != u32::MAX),
            IIFNAME => conditions.push(format!("iif {}", text(value))),
            OIFNAME => conditions.push(format!("oif {}", text(value))),
            IP_PROTO => conditions.push(format!("ipproto {}", value.first()?)),
            _ if SILENT.contains(&kind) => {}
            _ => conditions.push(format!("[attribute {kind}: {value:02x?}]")),
        }
    }
    let net = |address, length| (length > 0).then(|| IpNet::new(address, length).ok()).flatten();
    let (from, to) = (net(from, from_length), net(to, to_length));
    let mut words = Vec::new();
    if flags & INVERT != 0 {
        words.push("not".to_owned());
    }
    words.push(format!("from {}", from.map_or_else(|| "all".to_owned(), plain)));
    words.extend(to.map(|to| format!("to {}", plain(to))));
    if tos != 0 {
        words.push(format!("tos {tos:#x}"));
    }
    if let Some(mark) = mark {
        let mask = if mask == u32::MAX { String::new() } else { format!("/{mask:#x}") };
        words.push(format!("fwmark {mark:#x}{mask}"));
    }
    words.extend(conditions);
    // FR_ACT_*.
    let looks_up = action == 1 && !l3mdev;
    words.push(match action {
        1 if l3mdev => "lookup [l3mdev-table]".to_owned(),
        1 => format!("lookup {}", route::table(table)),
        2 => format!("goto {}", target.unwrap_or_default()),
        3 => "nop".to_owned(),
        6 => "blackhole".to_owned(),
        7 => "unreachable".to_owned(),
        8 => "prohibit".to_owned(),
        other => format!("action {other}"),
    });
    words.extend(suppressed.map(|length| format!("suppress_prefixlength {length}")));
    // That of the kernel is not worth a word.
    if !matches!(protocol, 0 | 2) {
        words.push(format!("proto {}", route::protocol(protocol)));
    }
    let text = format!("{priority}: {}", words.join(" "));
    Some(ListedPolicy { is_ipv6, priority, from, to, table: looks_up.then_some(table), protocol, text })
}

/// A prefix as `ip rule` writes it.
fn plain(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// `32766: from all lookup main`; of IPv6 with `-6` before it.
pub(super) fn entry(rule: ListedPolicy) -> Entry {
    let text = if rule.is_ipv6 { format!("-6 {}", rule.text) } else { rule.text.clone() };
    // A rule has no name: it is what it does.
    Entry { kind: Kind::Rule, dev: None, is_automatic: false, key: text.clone(), text, object: Object::Rule(rule) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_ip_writes_them() {
        // ip rule add from 10.1.0.5 lookup 1000 priority 7 protocol 99
        let rule: &[u8] = &[
            2, 0, 32, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8, 0, 2, 0, 10, 1, 0, 5, 8, 0, 6, 0, 7, 0, 0, 0, 8, 0, 15, 0, 0xe8, 3,
            0, 0, 5, 0, 21, 0, 99, 0, 0, 0,
        ];
        let read = parse(rule).unwrap();
        assert_eq!((read.priority, read.table, read.protocol), (7, Some(1000), 99));
        assert_eq!(entry(read).text, "7: from 10.1.0.5 lookup 1000 proto 99");
        // ip -6 rule add not to fd00::/8 fwmark 1/0xff unreachable
        let mut rule = vec![10, 8, 0, 0, 0, 0, 0, 7, 2, 0, 0, 0, 20, 0, 1, 0, 0xfd];
        rule.extend_from_slice(&[0; 15]);
        rule.extend_from_slice(&[8, 0, 10, 0, 1, 0, 0, 0, 8, 0, 16, 0, 255, 0, 0, 0]);
        assert_eq!(entry(parse(&rule).unwrap()).text, "-6 0: not from all to fd00::/8 fwmark 0x1/0xff unreachable");
        assert_eq!(parse(&rule[..11]), None);
    }
}
