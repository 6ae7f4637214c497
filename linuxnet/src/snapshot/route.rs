//! Routes of every type and table, as lines.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::{Entry, Kind, Names, Object, link};
use crate::route::{Hop, LOCAL, ListedRoute, MAIN};

/// `RTPROT_KERNEL`, `RTPROT_BOOT`.
const PROTOCOL_KERNEL: u8 = 2;
const PROTOCOL_BOOT: u8 = 3;

/// `default via 10.88.0.1 dev eth0`.
pub(super) fn entry(route: ListedRoute, names: &Names) -> Entry {
    let dev = match route.hops.as_slice() {
        [Hop { link: Some(link), .. }] => Some(names.of(*link)),
        _ => None,
    };
    let dst = destination(route.dst);
    // The destination's family is in its text but where that is `default`.
    let family = if route.dst.addr().is_ipv4() { 4 } else { 6 };
    let key = format!(
        "{family} {dst} {} {} {} {} {}",
        route.table,
        route.route_type,
        route.tos,
        route.priority.unwrap_or_default(),
        dev.as_deref().unwrap_or_default()
    );
    Entry {
        kind: Kind::Route,
        is_automatic: is_automatic(&route, dev.as_deref()),
        text: text(&route, names),
        key,
        dev,
        object: Object::Route(route),
    }
}

fn is_automatic(route: &ListedRoute, dev: Option<&str>) -> bool {
    let of_kernel = match route.dst.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast() || dev == Some("lo"),
    };
    route.table == LOCAL || (route.protocol == PROTOCOL_KERNEL && of_kernel)
}

fn text(route: &ListedRoute, names: &Names) -> String {
    let mut text = route_type(route.route_type).map(|name| format!("{name} ")).unwrap_or_default();
    text += &destination(route.dst);
    let mut say = |part: String| text += &format!(" {part}");
    if route.dst.prefix_len() == 0 && route.dst.addr().is_ipv6() {
        say("(IPv6)".to_owned());
    }
    if route.tos != 0 {
        say(format!("tos {:#x}", route.tos));
    }
    if let Some(id) = route.nexthop {
        say(format!("nhid {id}"));
    }
    if let [hop] = route.hops.as_slice() {
        hop_words(*hop, names).into_iter().for_each(&mut say);
    }
    if route.table != MAIN {
        say(format!("table {}", table(route.table)));
    }
    if route.protocol != PROTOCOL_BOOT {
        say(format!("proto {}", protocol(route.protocol)));
    }
    if route.scope != libc::RT_SCOPE_UNIVERSE {
        say(format!("scope {}", link::scope(route.scope)));
    }
    let words = [
        route.src.map(|src| format!("src {src}")),
        route.priority.map(|metric| format!("metric {metric}")),
        route.mtu.map(|mtu| format!("mtu {mtu}")),
        route.advmss.map(|advmss| format!("advmss {advmss}")),
    ];
    words.into_iter().flatten().for_each(&mut say);
    if let [_, _, ..] = route.hops.as_slice() {
        for hop in &route.hops {
            say(format!("nexthop {}", hop_words(*hop, names).join(" ")));
        }
    }
    text
}

fn hop_words(hop: Hop, names: &Names) -> Vec<String> {
    let words = [
        hop.gw.map(|gw| format!("via {gw}")),
        hop.link.map(|link| format!("dev {}", names.of(link))),
        hop.is_onlink.then(|| "onlink".to_owned()),
    ];
    words.into_iter().flatten().collect()
}

/// A prefix as `ip route` writes it: `default`, an address alone, or a subnet.
fn destination(dst: IpNet) -> String {
    match dst.prefix_len() {
        0 => "default".to_owned(),
        length if length == dst.max_prefix_len() => dst.addr().to_string(),
        _ => dst.to_string(),
    }
}

/// The name of a type but unicast.
fn route_type(number: u8) -> Option<String> {
    let name = match number {
        1 => return None,
        2 => "local",
        3 => "broadcast",
        4 => "anycast",
        5 => "multicast",
        6 => "blackhole",
        7 => "unreachable",
        8 => "prohibit",
        9 => "throw",
        other => return Some(format!("type-{other}")),
    };
    Some(name.to_owned())
}

/// The name of a table, where it has one in every system.
pub(super) fn table(table: u32) -> String {
    match table {
        253 => "default".to_owned(),
        MAIN => "main".to_owned(),
        LOCAL => "local".to_owned(),
        other => other.to_string(),
    }
}

/// The name of who made a route, where the kernel defines it.
pub(super) fn protocol(protocol: u8) -> String {
    match protocol {
        PROTOCOL_KERNEL => "kernel".to_owned(),
        PROTOCOL_BOOT => "boot".to_owned(),
        4 => "static".to_owned(),
        9 => "ra".to_owned(),
        16 => "dhcp".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::route::listed_of_table as parse;

    fn line(message: &[u8]) -> (String, bool) {
        let names = Names(HashMap::from([(2, "eth0".to_owned()), (3, "eth1".to_owned())]));
        let entry = entry(parse(message).unwrap(), &names);
        (entry.text, entry.is_automatic)
    }

    #[test]
    fn routes_read_as_ip_writes_them() {
        // ip route add default via 10.1.0.1 dev eth0
        let default = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 8, 0, 5, 0, 10, 1, 0, 1, 8, 0, 4, 0, 2, 0, 0, 0];
        assert_eq!(line(&default), ("default via 10.1.0.1 dev eth0".to_owned(), false));
        // The route to the subnet of 10.1.0.5/16.
        let subnet = [
            2, 16, 0, 0, 254, 2, 253, 1, 0, 0, 0, 0, 8, 0, 1, 0, 10, 1, 0, 0, 8, 0, 7, 0, 10, 1, 0, 5, 8, 0, 4, 0, 2,
            0, 0, 0,
        ];
        assert_eq!(line(&subnet).0, "10.1.0.0/16 dev eth0 proto kernel scope link src 10.1.0.5");
        // Its own address, in the table local.
        let local = [2, 32, 0, 0, 255, 2, 254, 2, 0, 0, 0, 0, 8, 0, 1, 0, 10, 1, 0, 5, 8, 0, 4, 0, 2, 0, 0, 0];
        assert_eq!(line(&local), ("local 10.1.0.5 dev eth0 table local proto kernel scope host".to_owned(), true));
        // ip route add blackhole 10.9.0.0/16 proto static metric 5
        let blackhole = [2, 16, 0, 0, 254, 4, 0, 6, 0, 0, 0, 0, 8, 0, 1, 0, 10, 9, 0, 0, 8, 0, 6, 0, 5, 0, 0, 0];
        assert_eq!(line(&blackhole).0, "blackhole 10.9.0.0/16 proto static metric 5");
    }

    #[test]
    fn several_next_hops_are_one_route() {
        let message = [
            2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 36, 0, 9, 0, //
            16, 0, 0, 0, 2, 0, 0, 0, 8, 0, 5, 0, 10, 1, 0, 1, //
            16, 0, 4, 0, 3, 0, 0, 0, 8, 0, 5, 0, 10, 1, 0, 2,
        ];
        let expected = "default nexthop via 10.1.0.1 dev eth0 nexthop via 10.1.0.2 dev eth1 onlink";
        assert_eq!(line(&message).0, expected);
        for cut in [0, 7, 11] {
            assert_eq!(parse(message.get(..cut).unwrap()), None);
        }
    }
}
