//! The rules that send an address's packets to a table: `from 10.1.0.5 lookup 100`.

use std::net::IpAddr;

use linuxnet::NetlinkError;
use linuxnet::link::Dev;
use linuxnet::netlink::Netlink;
use linuxnet::route::LOCAL;
use linuxnet::rule::Rule;
use nix::errno::Errno;

/// Who made a rule: the number by which ours are known (`ip rule … protocol 115`, the s of `sbr`). The Go plugin's
/// have 0.
const PROTOCOL: u8 = 115;
/// The tables `default`, `main` and `local`: rules that lead there are not for us to remove.
const KERNELS: std::ops::RangeInclusive<u32> = 253..=LOCAL;

/// Our rule for an address.
pub(crate) fn of(address: IpAddr, table: u32) -> Rule {
    Rule { protocol: PROTOCOL, ..Rule::from_address(address, table) }
}

/// Whether the rule sends packets from this address to a table, and does nothing else.
pub(crate) fn is_for(rule: &Rule, address: IpAddr) -> bool {
    is_for_one(rule) && rule.from.addr() == address
}

fn is_for_one(rule: &Rule) -> bool {
    rule.is_by_source_alone && rule.from.prefix_len() == rule.from.max_prefix_len()
}

/// The rules of the namespace. A kernel without policy routing has none.
pub(crate) fn list(netlink: &mut Netlink) -> Result<Vec<Rule>, NetlinkError> {
    match netlink.rules() {
        Err(e) if is_unsupported(&e) => Ok(Vec::new()),
        done => done,
    }
}

/// Whether the kernel knows no rules at all.
pub(crate) fn is_unsupported(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT))
}

/// The rules of the attachment: those for its addresses, whoever made them, and ours for addresses that no interface
/// has any more. `table`: only those that lead there.
pub(crate) fn of_attachment(
    netlink: &mut Netlink,
    addresses: &[IpAddr],
    table: Option<u32>,
) -> Result<Vec<Rule>, NetlinkError> {
    let mut rules = list(netlink)?;
    rules.retain(|rule| is_for_one(rule) && !KERNELS.contains(&rule.table) && table.is_none_or(|t| t == rule.table));
    let is_known = |rule: &Rule| addresses.contains(&rule.from.addr());
    if rules.iter().any(|rule| !is_known(rule) && rule.protocol == PROTOCOL) {
        let present = addresses_in(netlink)?;
        rules.retain(|rule| is_known(rule) || (rule.protocol == PROTOCOL && !present.contains(&rule.from.addr())));
    } else {
        rules.retain(is_known);
    }
    Ok(rules)
}

/// The addresses of all interfaces.
fn addresses_in(netlink: &mut Netlink) -> Result<Vec<IpAddr>, NetlinkError> {
    let mut addresses = Vec::new();
    for link in netlink.links()? {
        addresses.extend(netlink.addresses(Dev::from(&link))?.into_iter().map(|address| address.net.addr()));
    }
    Ok(addresses)
}
