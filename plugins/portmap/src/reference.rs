//! What the Go plugin's nftables backend leaves: rules in the tables `ip cni_hostport` and `ip6 cni_hostport`, with the
//! container ID, and nothing else, as comment. (What its iptables backend leaves has the layout of ours.)

use std::net::{IpAddr, SocketAddr};

use linuxnet::NetlinkError;
use linuxnet::nft::{Family, Nfnetlink, RuleEntry, Table, Transaction};

use crate::conf::Conf;
use crate::container::Container;
use crate::holder::{Holder, Owner, Place};
use crate::mapping::{Binding, HostPort, Protocol, unspecified_like};

const TABLES: [Table<'static>; 2] =
    [Table::new(Family::Ipv4, "cni_hostport"), Table::new(Family::Ipv6, "cni_hostport")];
/// The chains with mappings; the second is empty since v1.7.
const PORT_CHAINS: [&str; 2] = ["hostports", "hostip_hostports"];
const MASQUERADING: &str = "masquerading";
/// Each of [`PORT_CHAINS`] is jumped to by one rule.
const JUMPS: u32 = 1;

fn table_of(ip: IpAddr) -> Table<'static> {
    let [v4, v6] = TABLES;
    if ip.is_ipv4() { v4 } else { v6 }
}

/// Whoever has mappings in the tables that `bindings` would be in. One look where there are none.
pub(crate) fn holders(nft: &mut Nfnetlink, bindings: &[Binding]) -> Result<Vec<Holder>, NetlinkError> {
    let mut holders = Vec::new();
    for table in TABLES {
        if !bindings.iter().any(|binding| table_of(binding.target.ip()) == table) {
            continue;
        }
        for chain in PORT_CHAINS {
            holders.extend(rules(nft, table, chain)?.iter().filter_map(|rule| holder(table, chain, rule)));
        }
    }
    Ok(holders)
}

fn holder(table: Table<'static>, chain: &'static str, rule: &RuleEntry) -> Option<Holder> {
    let binding = read_binding(rule)?;
    Some(Holder {
        host: binding.host,
        target: Some(binding.target.ip()),
        owner: Owner::Untagged { network: None, container_id: rule.comment.clone()? },
        place: Place::Rule { table, chain, handle: rule.handle },
    })
}

/// The rules of a chain, without listing it if it has none.
fn rules(nft: &mut Nfnetlink, table: Table<'static>, chain: &str) -> Result<Vec<RuleEntry>, NetlinkError> {
    let jumps = if chain == MASQUERADING { 0 } else { JUMPS };
    match nft.find_chain(table, chain)? {
        Some(found) if found.uses > jumps => nft.rules(table, chain),
        Some(_) | None => Ok(Vec::new()),
    }
}

/// Whether the Go plugin attached this container, as far as its rules tell.
pub(crate) fn has_any(nft: &mut Nfnetlink, container: &Container) -> Result<bool, NetlinkError> {
    Ok(!of_container(nft, container)?.is_empty())
}

/// Removes what the Go plugin left of this attachment, and returns the mappings among it. Its rules do not name the
/// network: where the container's addresses are known, only rules that lead to one of them are of this attachment.
pub(crate) fn remove(nft: &mut Nfnetlink, container: &Container) -> Result<Vec<Binding>, NetlinkError> {
    let mut t = Transaction::new(TABLES[0]);
    let mut bindings = Vec::new();
    for (table, chain, rule) in of_container(nft, container)? {
        t.at(table).remove_rule(chain, rule.handle);
        bindings.extend(read_binding(&rule));
    }
    nft.commit(&t)?;
    Ok(bindings)
}

/// Where a rule stands, and the rule.
type Found = (Table<'static>, &'static str, RuleEntry);

fn of_container(nft: &mut Nfnetlink, container: &Container) -> Result<Vec<Found>, NetlinkError> {
    let id = container.id.container_id.as_str();
    let mut found = Vec::new();
    for table in TABLES {
        if !nft.table_exists(table)? {
            continue;
        }
        for chain in PORT_CHAINS.into_iter().chain([MASQUERADING]) {
            let is_meant = |rule: &RuleEntry| {
                rule.comment.as_deref() == Some(id)
                    && (container.reaches.is_empty() || leads_to(rule, table).is_none_or(|ip| container.has(ip)))
            };
            found.extend(rules(nft, table, chain)?.into_iter().filter(is_meant).map(|rule| (table, chain, rule)));
        }
    }
    Ok(found)
}

/// What differs from what the Go plugin's ADD made.
pub(crate) fn verify(
    nft: &mut Nfnetlink,
    bindings: &[Binding],
    container: &Container,
    conf: &Conf,
) -> Result<Vec<String>, NetlinkError> {
    let rules = of_container(nft, container)?;
    let present: Vec<Binding> = rules.iter().filter_map(|(_, _, rule)| read_binding(rule)).collect();
    let missing = bindings.iter().filter(|binding| !present.contains(binding));
    let mut differences: Vec<String> = missing
        .map(|b| format!("rule {} to {} is missing in table {}", b.host, b.target, table_of(b.target.ip())))
        .collect();
    for reach in container.reaches.iter().filter(|_| conf.snat) {
        let is_masquerade =
            |(table, chain, rule): &&Found| *chain == MASQUERADING && leads_to(rule, *table) == Some(reach.ip());
        // One for the container itself, and for IPv4 one for 127.0.0.1.
        let wanted = if reach.ip().is_ipv4() { 2 } else { 1 };
        if rules.iter().filter(is_masquerade).count() < wanted && bindings.iter().any(|b| b.target.ip() == reach.ip()) {
            differences.push(format!("masquerade of {} is missing in table {}", reach.ip(), table_of(reach.ip())));
        }
    }
    Ok(differences)
}

/// The constants of a rule, in order: what is compared with, and what is sent to.
fn constants(rule: &RuleEntry) -> (Vec<&[u8]>, Vec<&[u8]>) {
    let of = |name: &str| {
        rule.expressions.iter().filter(|e| e.name == name).filter_map(linuxnet::nft::Expression::constant).collect()
    };
    (of("cmp"), of("immediate"))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|b| IpAddr::from(*b)),
        16 => bytes.first_chunk::<16>().map(|b| IpAddr::from(*b)),
        _ => None,
    }
}

/// The mapping of a rule `[ip daddr A] tcp dport P dnat to B:Q`: the lengths tell the constants apart.
fn read_binding(rule: &RuleEntry) -> Option<Binding> {
    let (compared, sent_to) = constants(rule);
    let target = SocketAddr::new(sent_to.iter().find_map(|b| address(b))?, sent_to.iter().find_map(|b| port(b))?);
    let protocol = compared.iter().find(|b| b.len() == 1).and_then(|b| Protocol::from_number(*b.first()?))?;
    let ip = compared.iter().find_map(|b| address(b)).unwrap_or(unspecified_like(target.ip()));
    Some(Binding { host: HostPort { protocol, ip, port: compared.iter().find_map(|b| port(b))? }, target })
}

fn port(bytes: &[u8]) -> Option<u16> {
    let bytes: [u8; 2] = bytes.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}

/// The container's address in a rule of any of the chains: where a mapping leads to, or the destination that is
/// masqueraded. nft compares source and destination, which are neighbours, in one go: the destination comes last.
fn leads_to(rule: &RuleEntry, table: Table<'_>) -> Option<IpAddr> {
    if let Some(binding) = read_binding(rule) {
        return Some(binding.target.ip());
    }
    let (compared, _) = constants(rule);
    let length = if table.family == Family::Ipv4 { 4 } else { 16 };
    let last = compared.last()?;
    address(last.get(last.len().checked_sub(length)?..)?)
}
