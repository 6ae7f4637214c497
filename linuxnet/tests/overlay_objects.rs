//! What an overlay puts into the kernel besides links: forwarding entries, neighbours, marked routes, next hop objects, as
//! iproute2 sees them.

#![expect(clippy::unwrap_used, reason = "a failure of what the tests share is a failed test")]

mod support;

use std::net::IpAddr;

use libcni::types::MacAddr;
use linuxnet::fdb;
use linuxnet::link::{Dev, Link};
use linuxnet::neigh;
use linuxnet::netlink::Netlink;
use linuxnet::nexthop::{self, Encap, Nexthop};
use linuxnet::route::{self, MarkedRoute, PROTOCOL_OVERLAY, Way};
use support::{Bed, json, output};

/// In the host: an underlay `e0` with addresses of both families, and a VXLAN link `vx` made with these words of
/// iproute2, up.
fn vxlan(bed: &Bed, words: &str) -> (Netlink, Link) {
    let container = bed.container.path().display();
    for command in [
        &format!("ip link add e0 type veth peer name e1 netns {container}"),
        "ip link set lo up",
        "ip link set e0 up",
        "ip address add 192.0.2.1/24 dev e0",
        "ip address add fd00::1/64 dev e0 nodad",
        &format!("ip link add vx type vxlan {words}"),
        "ip link set vx up",
    ] {
        output(&bed.host, command);
    }
    output(&bed.container, "ip link set e1 up");
    let mut netlink = bed.host_netlink();
    let link = netlink.find_link("vx").unwrap().unwrap();
    (netlink, link)
}

const CLASSIC: &str = "id 1 local 192.0.2.1 dev e0 dstport 8472 nolearning";
const EXTERNAL: &str = "external vnifilter dstport 8472 nolearning";

fn mac(last: u8) -> MacAddr {
    MacAddr([0x0a, 0x58, 0x0a, 1, 0, last])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn forwarding_entries_come_change_and_go() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, vx) = vxlan(&bed, CLASSIC);
    let dev = Dev::from(&vx);
    let show = || output(&bed.host, "bridge fdb show dev vx");
    let set = [fdb::set(dev, mac(1), ip("192.0.2.7")), fdb::set(dev, mac(2), ip("192.0.2.8"))];
    assert_eq!(netlink.send_each(&set).unwrap().len(), 0);
    assert!(show().contains("0a:58:0a:01:00:01 dst 192.0.2.7 self permanent"), "{}", show());
    // The node of an address changes: no second entry.
    netlink.run(fdb::set(dev, mac(1), ip("192.0.2.9"))).unwrap();
    assert!(!show().contains("192.0.2.7") && show().contains("0a:58:0a:01:00:01 dst 192.0.2.9"), "{}", show());
    // Strangers: one that may age, and two places for all other addresses.
    output(&bed.host, "bridge fdb add 0a:58:0a:01:00:03 dev vx dst 192.0.2.67 dynamic");
    output(&bed.host, "bridge fdb append 00:00:00:00:00:00 dev vx dst 192.0.2.68 permanent");
    output(&bed.host, "bridge fdb append 00:00:00:00:00:00 dev vx dst 192.0.2.66 port 4789 vni 7 via e0 permanent");
    let entries = netlink.fdb(dev).unwrap();
    let to = |dst: &str| *entries.iter().find(|entry| entry.dst == Some(ip(dst))).unwrap();
    assert_eq!((to("192.0.2.9").mac, to("192.0.2.9").is_permanent), (mac(1), true));
    assert!(!to("192.0.2.67").is_permanent);
    let e0 = netlink.find_link("e0").unwrap().unwrap().index;
    let second = to("192.0.2.66");
    assert_eq!((second.mac, second.port, second.vni, second.via), (MacAddr([0; 6]), Some(4789), Some(7), Some(e0)));
    assert_eq!(entries.len(), 5, "{entries:?}");
    // The second place goes, and the first stays.
    netlink.run(fdb::remove(dev, &second)).unwrap();
    assert!(show().contains("dst 192.0.2.68") && !show().contains("192.0.2.66"), "{}", show());
    assert!(netlink.run(fdb::remove(dev, &to("192.0.2.9"))).is_ok());
    assert!(netlink.run(fdb::remove(dev, &to("192.0.2.9"))).unwrap_err().is_not_found());
    for entry in netlink.fdb(dev).unwrap() {
        netlink.run(fdb::remove(dev, &entry)).unwrap();
    }
    assert_eq!(show().trim(), "");
}

#[test]
fn a_list_is_of_one_link_alone() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, vx) = vxlan(&bed, CLASSIC);
    output(&bed.host, "ip link add vx2 type vxlan id 2 dstport 8473");
    output(&bed.host, "bridge fdb add 0a:58:0a:01:00:05 dev vx2 dst 192.0.2.67 permanent");
    output(&bed.host, "ip neigh add 192.0.2.99 lladdr 0a:58:0a:01:00:05 dev e0");
    assert_eq!(netlink.fdb(Dev::from(&vx)).unwrap(), []);
    let neighbours = netlink.neighbours(Dev::from(&vx)).unwrap();
    // Those for multicast are the kernel's own.
    assert!(neighbours.iter().all(|neighbour| neighbour.is_automatic), "{neighbours:?}");
    assert!(netlink.fdb(Dev { index: 4711, name: "none" }).unwrap().is_empty());
}

#[test]
fn neighbours_of_both_families_are_told_from_the_kernels_own() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, vx) = vxlan(&bed, CLASSIC);
    let dev = Dev::from(&vx);
    netlink.run(neigh::set(dev, ip("10.5.1.0"), mac(1))).unwrap();
    netlink.run(neigh::set(dev, ip("fd07::"), mac(2))).unwrap();
    output(&bed.host, "ip neigh add 10.5.2.0 lladdr 0a:58:0a:01:00:03 dev vx nud reachable");
    let listed = netlink.neighbours(dev).unwrap();
    let find = |address: &str| listed.iter().find(|neighbour| neighbour.ip == ip(address)).unwrap();
    for (address, last) in [("10.5.1.0", 1), ("fd07::", 2)] {
        assert_eq!(
            (find(address).mac, find(address).is_permanent, find(address).is_automatic),
            (Some(mac(last)), true, false)
        );
    }
    assert!(!find("10.5.2.0").is_permanent && !find("10.5.2.0").is_automatic);
    let seen = json(&bed.host, "ip -j neigh show 10.5.1.0 dev vx");
    assert_eq!((&seen[0]["lladdr"], &seen[0]["state"][0]), (&"0a:58:0a:01:00:01".into(), &"PERMANENT".into()));
}

#[test]
fn each_of_many_has_its_own_answer() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, vx) = vxlan(&bed, CLASSIC);
    let dev = Dev::from(&vx);
    let sent = netlink.sent();
    // More than two sends; every fifth cannot be done, the last of each send and of all among them.
    let requests: Vec<_> = (0..250u8)
        .map(|n| {
            if n % 5 == 4 {
                neigh::remove(dev, ip("10.9.9.9"))
            } else {
                neigh::set(dev, IpAddr::from([10, 5, n, 0]), mac(n))
            }
        })
        .collect();
    let failures = netlink.send_each(&requests).unwrap();
    assert_eq!(failures.iter().map(|f| f.at).collect::<Vec<_>>(), (4..250).step_by(5).collect::<Vec<_>>());
    assert!(failures.iter().all(|f| f.error.is_not_found() && f.error.doing() == "remove neighbour 10.9.9.9 from vx"));
    assert_eq!(netlink.sent() - sent, 250);
    assert_eq!(netlink.neighbours(dev).unwrap().iter().filter(|n| n.is_permanent).count(), 200);
    assert_eq!(netlink.send_each(&[]).unwrap().len(), 0);
}

#[test]
fn marked_routes_are_found_replaced_and_removed_alone() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, vx) = vxlan(&bed, CLASSIC);
    let e0 = netlink.find_link("e0").unwrap().unwrap().index;
    let route = |dst: &str, way| MarkedRoute::overlay(dst.parse().unwrap(), way);
    let by = |link, gw: Option<&str>, onlink| Way::Link { link, gw: gw.map(ip), onlink };
    let wanted = [
        MarkedRoute { table: 1000, metric: 7, ..route("10.5.4.0/24", by(vx.index, Some("10.5.4.0"), true)) },
        route("10.5.0.0/16", Way::Blackhole),
        route("10.5.1.0/24", by(vx.index, Some("10.5.1.0"), true)),
        route("10.5.2.0/24", by(e0, Some("192.0.2.7"), false)),
        route("10.5.3.0/24", by(vx.index, None, false)),
        route("fd07:0:0:1::/64", by(vx.index, Some("fd07:0:0:1::"), true)),
        route("fd07::/48", Way::Blackhole),
    ];
    let sets: Vec<_> = wanted.iter().map(route::set_marked).collect();
    assert_eq!(netlink.send_each(&sets).unwrap().len(), 0);
    // In the order in which the kernel keeps them.
    assert_eq!(netlink.routes_of_protocol(PROTOCOL_OVERLAY).unwrap(), wanted);
    let show = || output(&bed.host, "ip route show table all proto 79");
    for line in ["10.5.1.0/24 via 10.5.1.0 dev vx onlink", "10.5.2.0/24 via 192.0.2.7 dev e0", "blackhole 10.5.0.0/16"]
    {
        assert!(show().contains(line), "{line}: {}", show());
    }
    // Strangers beside them: to the same places, in other ways.
    output(&bed.host, "ip route add 10.5.1.0/24 via 192.0.2.9 metric 5");
    output(&bed.host, "ip route add 10.77.0.0/16 via 10.77.0.1 dev vx onlink src 192.0.2.1");
    output(&bed.host, "ip route add 10.78.0.0/16 proto 79 nexthop via 192.0.2.7 dev e0 nexthop via 192.0.2.8 dev e0");
    let on_link = netlink.routes_of_link(Dev::from(&vx)).unwrap();
    let stranger = on_link.iter().find(|route| route.dst == "10.77.0.0/16".parse().unwrap()).unwrap();
    assert_eq!((stranger.way, stranger.protocol), (Way::Other, 3));
    assert!(on_link.contains(&wanted[0]) && on_link.contains(&wanted[2]) && !on_link.contains(&wanted[3]));
    // Another way to the same place is refused, or takes the place of the first; so does one of somebody else's.
    let moved = route("10.5.1.0/24", by(e0, Some("192.0.2.8"), false));
    assert!(netlink.run(route::create_marked(&moved)).unwrap_err().is_exists());
    netlink.run(route::set_marked(&moved)).unwrap();
    netlink.run(route::set_marked(&route("10.78.0.0/16", Way::Blackhole))).unwrap();
    assert!(
        show().contains("10.5.1.0/24 via 192.0.2.8 dev e0") && show().contains("blackhole 10.78.0.0/16"),
        "{}",
        show()
    );
    assert!(!show().contains("10.5.1.0/24 via 10.5.1.0"), "{}", show());
    // What is not exactly the route is not removed.
    assert!(netlink.run(route::remove_marked(&wanted[2])).unwrap_err().is_not_found());
    netlink.run(route::remove_marked(stranger)).unwrap();
    for route in netlink.routes_of_protocol(PROTOCOL_OVERLAY).unwrap() {
        netlink.run(route::remove_marked(&route)).unwrap();
    }
    assert_eq!(show().trim(), "");
    assert!(output(&bed.host, "ip route show").contains("10.5.1.0/24 via 192.0.2.9 dev e0 metric 5"));
    assert!(!output(&bed.host, "ip -6 route show").contains("proto 79"));
}

#[test]
fn next_hops_carry_tunnels_and_routes() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, vx) = vxlan(&bed, EXTERNAL);
    let plain =
        Nexthop { id: 8, link: vx.index, gw: ip("10.5.2.0"), onlink: true, encap: None, protocol: PROTOCOL_OVERLAY };
    let encap = Encap { id: 1, dst: ip("192.0.2.7"), src: Some(ip("192.0.2.1")) };
    let over_v4 = Nexthop { id: 7, gw: ip("10.5.1.0"), encap: Some(encap), ..plain };
    let encap = Encap { id: 1, dst: ip("fd00::7"), src: None };
    let over_v6 = Nexthop { id: 9, gw: ip("fd07:0:0:1::"), encap: Some(encap), ..plain };
    let sets = [over_v4, plain, over_v6].map(|nexthop| nexthop::set(&nexthop));
    assert_eq!(netlink.send_each(&sets).unwrap().len(), 0);
    output(&bed.host, "ip nexthop add id 20 via 192.0.2.9 dev e0");
    output(&bed.host, "ip nexthop add id 21 blackhole proto 79");
    let show = output(&bed.host, "ip nexthop show");
    assert!(show.contains("id 7  encap ip id 1 src 192.0.2.1 dst 192.0.2.7 ttl 0 tos 0 via 10.5.1.0 dev vx"), "{show}");
    assert!(show.contains("encap ip6 id 1 src :: dst fd00::7 hoplimit 0 tc 0 csum"), "{show}");
    let by_link: Vec<_> = netlink.nexthops_of_link(Dev::from(&vx)).unwrap().iter().map(|n| n.nexthop).collect();
    assert_eq!(by_link, [Some(over_v4), Some(plain), Some(over_v6)]);
    let ours = netlink.nexthops_of_protocol(PROTOCOL_OVERLAY).unwrap();
    assert_eq!(ours.iter().map(|n| n.id).collect::<Vec<_>>(), [7, 8, 9, 21]);
    assert_eq!(ours[3].nexthop, None);
    let route = |dst: &str, id| MarkedRoute::overlay(dst.parse().unwrap(), Way::Nexthop(id));
    let routes = [route("10.5.1.0/24", 7), route("fd07:0:0:1::/64", 9)];
    assert_eq!(netlink.send_each(&routes.each_ref().map(route::set_marked)).unwrap().len(), 0);
    assert_eq!(netlink.routes_of_protocol(PROTOCOL_OVERLAY).unwrap(), routes);
    assert!(routes.iter().all(|route| netlink.routes_of_link(Dev::from(&vx)).unwrap().contains(route)));
    // The node moves: the route follows its next hop.
    let encap = Encap { id: 1, dst: ip("192.0.2.8"), src: None };
    assert!(netlink.run(nexthop::create(&Nexthop { encap: Some(encap), ..over_v4 })).unwrap_err().is_exists());
    netlink.run(nexthop::set(&Nexthop { encap: Some(encap), ..over_v4 })).unwrap();
    let shown = output(&bed.host, "ip route show 10.5.1.0/24");
    assert!(shown.contains("nhid 7") && shown.contains("dst 192.0.2.8"), "{shown}");
    netlink.run(route::remove_marked(&routes[0])).unwrap();
    netlink.run(nexthop::remove(7)).unwrap();
    assert!(netlink.run(nexthop::remove(7)).unwrap_err().is_not_found());
    // With the link go its next hops, and with them their routes.
    output(&bed.host, "ip link set vx down");
    assert_eq!(netlink.nexthops_of_link(Dev::from(&vx)).unwrap(), []);
    assert_eq!(netlink.routes_of_protocol(PROTOCOL_OVERLAY).unwrap(), []);
}
