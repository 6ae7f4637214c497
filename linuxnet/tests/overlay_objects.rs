//! What an overlay puts into the kernel: forwarding entries, neighbours, marked routes, next hop objects, as iproute2 sees
//! them.

#![expect(clippy::unwrap_used, reason = "a failure of what the tests share is a failed test")]

mod support;

use std::net::IpAddr;

use libcni::types::MacAddr;
use linuxnet::fdb;
use linuxnet::link::{self, Dev, Link, Vnis, Vxlan};
use linuxnet::neigh;
use linuxnet::netlink::Netlink;
use linuxnet::nexthop::{self, Encap, Nexthop};
use linuxnet::route::{self, MarkedRoute, PROTOCOL_OVERLAY, Way};
use support::{Bed, json, output, skip};

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
    // Another way to the same place takes the place of the first; so does one of somebody else's.
    let moved = route("10.5.1.0/24", by(e0, Some("192.0.2.8"), false));
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

/// An underlay `e0` in the host, with addresses of both families and one in the container for each; its index.
fn underlay(bed: &Bed) -> (Netlink, u32) {
    let (mut netlink, _) = vxlan(bed, "id 99 dstport 9999");
    output(&bed.host, "ip link delete vx");
    for command in ["ip link set lo up", "ip address add 192.0.2.2/24 dev e1", "ip address add fd00::2/64 dev e1 nodad"]
    {
        output(&bed.container, command);
    }
    let e0 = netlink.find_link("e0").unwrap().unwrap();
    (netlink, e0.index)
}

#[test]
fn a_vxlan_link_is_read_back_as_it_was_made() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, e0) = underlay(&bed);
    let classic = Vxlan { gbp: true, ..Vxlan::new(Vnis::One(1), ip("192.0.2.1"), e0, 8472) };
    let over_v6 = Vxlan::new(Vnis::One(1), ip("fd00::1"), e0, 8472);
    netlink.create_vxlan("flannel.1", Some(mac(1)), Some(1450), &classic).unwrap();
    netlink.create_vxlan("flannel-v6.1", Some(mac(2)), Some(1430), &over_v6).unwrap();
    let mut find = |name: &str| netlink.find_link(name).unwrap().unwrap();
    let link = find("flannel.1");
    assert_eq!((link.vxlan, link.mac, link.mtu, link.is_up), (Some(classic), Some(mac(1)), 1450, false));
    assert_eq!(find("flannel-v6.1").vxlan, Some(over_v6));
    assert_eq!(find("e0").vxlan, None);
    let shown = json(&bed.host, "ip -j -d link show flannel.1");
    let info = &shown[0]["linkinfo"]["info_data"];
    assert_eq!((&info["id"], &info["port"]), (&1.into(), &8472.into()), "{shown}");
    assert_eq!((&info["local"], &info["link"]), (&"192.0.2.1".into(), &"e0".into()), "{shown}");
    assert_eq!((&info["learning"], &info["udp_csum"]), (&false.into(), &false.into()), "{shown}");
    // A second one of this VNI on this port cannot be; the kernel says which.
    let refusal = netlink.create_vxlan("other", None, None, &classic).unwrap_err();
    assert!(matches!(refusal, link::LinkError::Netlink(e) if e.is_exists()));
    assert!(netlink.find_link("other").unwrap().is_none());
    // Made by others.
    for (words, expected) in [
        ("id 7 remote 192.0.2.7 dstport 4789", true),
        ("id 8 dstport 4790 proxy", true),
        ("external dstport 4791 gpe", true),
        ("id 10 dstport 4792 ttl 3", true),
        ("id 11 dstport 4793 ageing 7", false),
    ] {
        output(&bed.host, &format!("ip link add vz type vxlan {words}"));
        let found = netlink.find_link("vz").unwrap().unwrap().vxlan.unwrap();
        assert_eq!(found.has_other_options, expected, "{words}: {found:?}");
        output(&bed.host, "ip link delete vz");
    }
}

#[test]
fn an_external_link_has_the_vnis_that_were_added() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, e0) = underlay(&bed);
    let wanted = Vxlan::new(Vnis::External { filter: true }, ip("192.0.2.1"), e0, 8472);
    netlink.create_vxlan("flannel.1", Some(mac(1)), None, &wanted).unwrap();
    let flannel = netlink.find_link("flannel.1").unwrap().unwrap();
    let dev = Dev::from(&flannel);
    assert_eq!(flannel.vxlan, Some(wanted));
    assert_eq!(netlink.vnis(dev).unwrap(), []);
    netlink.run(link::set_up(dev)).unwrap();
    netlink.run(link::add_vni(dev, 1)).unwrap();
    output(&bed.host, "bridge vni add dev flannel.1 vni 5-7");
    let shown = output(&bed.host, "bridge vni show dev flannel.1");
    assert!(shown.contains("5-7"), "{shown}");
    assert_eq!(netlink.vnis(dev).unwrap(), [1..=1, 5..=7]);
    netlink.run(link::remove_vnis(dev, &(5..=7))).unwrap();
    assert_eq!(netlink.vnis(dev).unwrap(), [1..=1]);
}

#[test]
fn a_link_needs_no_link_local_address() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, e0) = underlay(&bed);
    netlink.create_vxlan("vx", None, None, &Vxlan::new(Vnis::One(1), ip("192.0.2.1"), e0, 8472)).unwrap();
    let link = netlink.find_link("vx").unwrap().unwrap();
    let dev = Dev::from(&link);
    assert!(link.ipv6.unwrap().link_local);
    netlink.run(link::set_link_local(dev, false)).unwrap();
    bed.host.within(|| linuxnet::sysctl::ignore_router_advertisements("vx")).unwrap().unwrap();
    netlink.run(link::set_up(dev)).unwrap();
    let ipv6 = netlink.find_link("vx").unwrap().unwrap().ipv6.unwrap();
    assert_eq!((ipv6.link_local, ipv6.accept_ra), (false, 0));
    assert_eq!(output(&bed.host, "ip -6 address show dev vx").trim(), "");
    assert_eq!(json(&bed.host, "ip -j -d link show vx")[0]["inet6_addr_gen_mode"], "none");
}

#[test]
fn a_tunnel_of_ip_in_ip_is_read_back_as_it_was_made() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, _) = underlay(&bed);
    match netlink.create_ipip("flannel.ipip", Some(1480), "192.0.2.1".parse().unwrap()) {
        Err(link::LinkError::NoSuchKind { .. }) => return skip("the kernel has no ipip links"),
        made => made.unwrap(),
    }
    let link = netlink.find_link("flannel.ipip").unwrap().unwrap();
    let wanted = link::Ipip { local: "192.0.2.1".parse().ok(), lower: None, has_other_options: false };
    assert_eq!((link.ipip, link.mtu), (Some(wanted), 1480));
    let info = &json(&bed.host, "ip -j -d link show flannel.ipip")[0]["linkinfo"]["info_data"];
    assert_eq!((&info["remote"], &info["local"]), (&"any".into(), &"192.0.2.1".into()), "{info}");
    output(&bed.host, "ip link add other type ipip local 192.0.2.1 remote 192.0.2.7 ttl 9");
    assert!(netlink.find_link("other").unwrap().unwrap().ipip.unwrap().has_other_options);
}

/// A node of two: its VXLAN link `name`, made as `vxlan` says, with a pod address, and the other node's pod by it.
struct Node<'a> {
    netns: &'a libcni::netns::Netns,
    netlink: Netlink,
    link: Link,
}

impl<'a> Node<'a> {
    fn new(netns: &'a libcni::netns::Netns, name: &str, vxlan: &Vxlan, address: u8, pod: &str) -> Self {
        let mut netlink = Netlink::open_in(netns).unwrap();
        netlink.create_vxlan(name, Some(mac(address)), Some(1430), vxlan).unwrap();
        let link = netlink.find_link(name).unwrap().unwrap();
        netlink.run(link::set_up(Dev::from(&link))).unwrap();
        if matches!(vxlan.vnis, Vnis::External { .. }) {
            netlink.run(link::add_vni(Dev::from(&link), 1)).unwrap();
        }
        let prefix = if pod.contains(':') { "128 nodad" } else { "32" };
        output(netns, &format!("ip address add {pod}/{prefix} dev {name}"));
        Self { netns, netlink, link }
    }

    /// Reaches `pod` at the node `endpoint` by a forwarding entry, or by a next hop with a tunnel where the link is
    /// external.
    fn reach(&mut self, pod: &str, peer: u8, endpoint: &str) {
        let dev = Dev::from(&self.link);
        let mut requests = vec![neigh::set(dev, ip(pod), mac(peer))];
        let way = if self.link.vxlan.unwrap().vnis == Vnis::One(1) {
            requests.push(fdb::set(dev, mac(peer), ip(endpoint)));
            Way::Link { link: dev.index, gw: Some(ip(pod)), onlink: true }
        } else {
            let id = u32::from(peer);
            let encap = Some(Encap { id: 1, dst: ip(endpoint), src: None });
            let nexthop = Nexthop { id, link: dev.index, gw: ip(pod), onlink: true, encap, protocol: PROTOCOL_OVERLAY };
            requests.push(nexthop::set(&nexthop));
            Way::Nexthop(id)
        };
        let bits = if pod.contains(':') { 128 } else { 32 };
        requests.push(route::set_marked(&MarkedRoute::overlay(format!("{pod}/{bits}").parse().unwrap(), way)));
        let failures = self.netlink.send_each(&requests).unwrap();
        assert!(failures.is_empty(), "{failures:?}");
    }

    fn pings(&self, from: &str, to: &str) -> bool {
        let mut ping = std::process::Command::new("ping");
        ping.args(["-c", "1", "-W", "5", "-I", from, to]);
        self.netns.within(|| ping.output()).unwrap().unwrap().status.success()
    }
}

/// Both ways of programming, over both families, and mixed: what one node sends by a tunnel in its next hop, the other
/// takes from its forwarding entries.
#[test]
fn frames_travel_whichever_way_each_node_is_programmed() {
    for (here, there) in [(CLASSIC_VNI, EXTERNAL_VNI), (EXTERNAL_VNI, EXTERNAL_VNI)] {
        for v6 in [false, true] {
            let Some(bed) = Bed::new() else { return };
            let (_, e0) = underlay(&bed);
            let e1 = bed.container_netlink().find_link("e1").unwrap().unwrap().index;
            let (us, them) = if v6 { ("fd00::1", "fd00::2") } else { ("192.0.2.1", "192.0.2.2") };
            let (our_pod, their_pod) = if v6 { ("fd07::1", "fd07::2") } else { ("10.5.1.0", "10.5.2.0") };
            let mut a = Node::new(&bed.host, "vx", &Vxlan::new(here, ip(us), e0, 8472), 1, our_pod);
            let mut b = Node::new(&bed.container, "vx", &Vxlan::new(there, ip(them), e1, 8472), 2, their_pod);
            a.reach(their_pod, 2, them);
            b.reach(our_pod, 1, us);
            assert!(a.pings(our_pod, their_pod), "{here:?} to {there:?}, v6: {v6}");
            assert!(b.pings(their_pod, our_pod), "{there:?} to {here:?}, v6: {v6}");
        }
    }
}

const CLASSIC_VNI: Vnis = Vnis::One(1);
const EXTERNAL_VNI: Vnis = Vnis::External { filter: true };

/// Why a dual-stack node must not have an external link for each family.
#[test]
fn of_two_external_links_with_one_vni_only_one_receives() {
    let Some(bed) = Bed::new() else { return };
    let (_, e0) = underlay(&bed);
    let e1 = bed.container_netlink().find_link("e1").unwrap().unwrap().index;
    let mut nodes = Vec::new();
    for (netns, lower, us, pods, last) in [
        (&bed.host, e0, ("192.0.2.1", "fd00::1"), ("10.5.1.0", "fd07::1"), 1),
        (&bed.container, e1, ("192.0.2.2", "fd00::2"), ("10.5.2.0", "fd07::2"), 2),
    ] {
        let v4 = Node::new(netns, "vx", &Vxlan::new(EXTERNAL_VNI, ip(us.0), lower, 8472), last, pods.0);
        let v6 = Node::new(netns, "vx6", &Vxlan::new(EXTERNAL_VNI, ip(us.1), lower, 8472), last + 2, pods.1);
        nodes.push((v4, v6));
    }
    let [(a4, a6), (b4, b6)] = nodes.as_mut_slice() else { panic!("two nodes") };
    a4.reach("10.5.2.0", 2, "192.0.2.2");
    b4.reach("10.5.1.0", 1, "192.0.2.1");
    a6.reach("fd07::2", 4, "fd00::2");
    b6.reach("fd07::1", 3, "fd00::1");
    let works = [a4.pings("10.5.1.0", "10.5.2.0"), a6.pings("fd07::1", "fd07::2")];
    assert_eq!(works.iter().filter(|works| **works).count(), 1, "{works:?}");
}
