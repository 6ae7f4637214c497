//! The links of an overlay, as iproute2 sees them, and packets by them from one node to another.

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

fn mac(last: u8) -> MacAddr {
    MacAddr([0x0a, 0x58, 0x0a, 1, 0, last])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An underlay `e0` in the host, with addresses of both families and one in the container for each; its index.
fn underlay(bed: &Bed) -> (Netlink, u32) {
    let container = bed.container.path().display();
    for command in [
        "ip link set lo up",
        &format!("ip link add e0 type veth peer name e1 netns {container}"),
        "ip link set e0 up",
        "ip address add 192.0.2.1/24 dev e0",
        "ip address add fd00::1/64 dev e0 nodad",
    ] {
        output(&bed.host, command);
    }
    for command in [
        "ip link set e1 up",
        "ip link set lo up",
        "ip address add 192.0.2.2/24 dev e1",
        "ip address add fd00::2/64 dev e1 nodad",
    ] {
        output(&bed.container, command);
    }
    let mut netlink = bed.host_netlink();
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

    /// Whether there is an answer to one of three requests: on a busy machine packets are lost.
    fn pings(&self, from: &str, to: &str) -> bool {
        let mut ping = std::process::Command::new("ping");
        ping.args(["-c", "1", "-W", "5", "-I", from, to]);
        (0..3).any(|_| self.netns.within(|| ping.output()).unwrap().unwrap().status.success())
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
