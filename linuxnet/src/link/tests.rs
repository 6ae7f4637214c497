//! Messages against what iproute2 6.1 sends for the same (captured with strace).

use std::os::fd::{AsFd, AsRawFd};

use libcni::netns::Netns;

use super::bridge::Bridge;
use super::*;
use crate::packet::{InfoData, InfoKind};

const HOST: Dev<'static> = Dev { index: 4, name: "h0" };

/// The attribute at the end of a path of types.
fn at<'a>(body: &'a [u8], path: &[u16]) -> &'a [u8] {
    path.iter().fold(body.get(16..).unwrap(), |list, kind| find(list, *kind).unwrap())
}

/// A link with this index and name, and an MTU of 1500 bytes.
pub(crate) fn link(index: u32, name: &str) -> Link {
    let mut message = of(Dev { index, name });
    message.attributes.extend([LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(1500)]);
    parse(&crate::packet::bytes(&message)).unwrap()
}

#[test]
fn a_veth_is_one_message() {
    // ip link add vethtest up mtu 1400 master br0 numtxqueues 1 numrxqueues 1
    //    type veth peer name eth0 address 0a:58:0a:01:02:03 mtu 1400 (and here: netns)
    let netns = Netns::current().unwrap();
    let veth = Veth {
        mac: MacAddr::from_bytes(&[0x0a, 0x58, 0x0a, 1, 2, 3]),
        bridge: Some(Dev { index: 2, name: "br0" }),
        mtu: Some(1400),
        queues: Some(1),
        ..Veth::new("eth0", &netns)
    };
    let request = veth.request("vethtest");
    assert_eq!(request.doing(), "create veth eth0 with its host end vethtest on bridge br0");
    let body = request.body();
    // ifinfomsg: IFF_UP in flags and mask.
    assert_eq!(body.get(..16).unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(at(body, &[libc::IFLA_IFNAME]), b"vethtest\0");
    assert_eq!(at(body, &[libc::IFLA_MTU]), [0x78, 5, 0, 0]);
    assert_eq!(at(body, &[libc::IFLA_MASTER]), [2, 0, 0, 0]);
    assert_eq!(at(body, &[libc::IFLA_NUM_TX_QUEUES]), [1, 0, 0, 0]);
    assert_eq!(at(body, &[libc::IFLA_NUM_RX_QUEUES]), [1, 0, 0, 0]);
    // iproute2 leaves the NUL out; the kernel takes both.
    assert_eq!(at(body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_KIND]), b"veth\0");
    let peer = at(body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_DATA, 1]);
    assert_eq!(peer.get(..16).unwrap(), [0; 16]);
    assert_eq!(at(peer, &[libc::IFLA_IFNAME]), b"eth0\0");
    assert_eq!(at(peer, &[libc::IFLA_ADDRESS]), [0x0a, 0x58, 0x0a, 1, 2, 3]);
    assert_eq!(at(peer, &[libc::IFLA_MTU]), [0x78, 5, 0, 0]);
    assert_eq!(at(peer, &[libc::IFLA_NET_NS_FD]), netns.as_fd().as_raw_fd().to_ne_bytes());
}

#[test]
fn a_bridge_says_vlan_filtering_only_where_it_is_wished() {
    let with = super::bridge::create(&Bridge { vlan_filtering: true, ..Bridge::new("br0") });
    assert_eq!(at(with.body(), &[libc::IFLA_LINKINFO, libc::IFLA_INFO_KIND]), b"bridge\0");
    assert_eq!(at(with.body(), &[libc::IFLA_LINKINFO, libc::IFLA_INFO_DATA]), [5, 0, 7, 0, 1, 0, 0, 0]);
    let without = super::bridge::create(&Bridge::new("br0"));
    assert!(at(without.body(), &[libc::IFLA_LINKINFO, libc::IFLA_INFO_DATA]).is_empty());
    // ip link set br0 type bridge vlan_filtering 1
    let later = set_vlan_filtering(Dev { index: 2, name: "br0" }, true);
    assert_eq!(at(later.body(), &[libc::IFLA_LINKINFO, libc::IFLA_INFO_DATA]), [5, 0, 7, 0, 1, 0, 0, 0]);
}

#[test]
fn an_ifb_is_made_by_one_message() {
    // ip link add name ifb9 address 0a:58:0a:01:02:03 mtu 1400 type ifb
    let mac = MacAddr([0x0a, 0x58, 0x0a, 1, 2, 3]);
    let request = Ifb { name: "ifb9", alias: "net c1 eth0", mac, mtu: 1400 }.request();
    assert_eq!(request.body().get(..16).unwrap(), [0; 16]);
    assert_eq!(at(request.body(), &[libc::IFLA_IFNAME]), b"ifb9\0");
    assert_eq!(at(request.body(), &[libc::IFLA_ADDRESS]), mac.0);
    assert_eq!(at(request.body(), &[libc::IFLA_MTU]), [0x78, 5, 0, 0]);
    assert_eq!(at(request.body(), &[libc::IFLA_LINKINFO, libc::IFLA_INFO_KIND]), b"ifb\0");
}

#[test]
fn port_flags_are_slave_data() {
    // ip link set h0 type bridge_slave isolated on
    let isolated = set_isolated(HOST, true);
    assert_eq!(isolated.body().get(..16).unwrap(), [0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(at(isolated.body(), &[libc::IFLA_LINKINFO, libc::IFLA_INFO_SLAVE_DATA]), [5, 0, 33, 0, 1, 0, 0, 0]);
    let hairpin = set_hairpin(HOST, false);
    assert_eq!(at(hairpin.body(), &[libc::IFLA_LINKINFO, libc::IFLA_INFO_SLAVE_DATA]), [5, 0, 4, 0, 0, 0, 0, 0]);
}

#[test]
fn arp_notify_is_an_attribute_of_the_links_inet_part() {
    // IFLA_AF_SPEC / AF_INET / IFLA_INET_CONF / IPV4_DEVCONF_ARP_NOTIFY (22) = 1: inet_set_link_af of the kernel.
    let request = set_arp_notify(HOST);
    assert_eq!(at(request.body(), &[libc::IFLA_AF_SPEC, 2, 1]), [8, 0, 22, 0, 1, 0, 0, 0]);
}

/// What `create` would send, and which `ip link add link low …` it is.
fn upper(netns: &Netns) -> Upper<'_> {
    Upper { name: "eth0", lower: Dev { index: 3, name: "low" }, netns: Some(netns), mtu: Some(1400) }
}

fn message(new: &create::NewLink<'_>, kind: InfoKind, data: InfoData) -> Vec<u8> {
    new.request(String::new(), kind, data).body().to_vec()
}

#[test]
fn a_macvlan_is_one_message() {
    // ip link add link low name eth0 mtu 1400 address 0a:58:0a:01:02:03 type macvlan mode vepa bcqueuelen 50
    let netns = Netns::current().unwrap();
    let mac = MacAddr::from_bytes(&[0x0a, 0x58, 0x0a, 1, 2, 3]);
    let wanted = Macvlan { mode: MacvlanMode::Vepa, mac, broadcast_queue_len: Some(50) };
    let (new, data) = macvlan::new(upper(&netns), wanted);
    let body = message(&new, InfoKind::MacVlan, data);
    assert_eq!(body.get(..16).unwrap(), [0; 16]);
    assert_eq!(at(&body, &[libc::IFLA_IFNAME]), b"eth0\0");
    assert_eq!(at(&body, &[libc::IFLA_MTU]), [0x78, 5, 0, 0]);
    assert_eq!(at(&body, &[libc::IFLA_ADDRESS]), [0x0a, 0x58, 0x0a, 1, 2, 3]);
    assert_eq!(at(&body, &[libc::IFLA_LINK]), [3, 0, 0, 0]);
    assert_eq!(at(&body, &[libc::IFLA_NET_NS_FD]), netns.as_fd().as_raw_fd().to_ne_bytes());
    assert_eq!(at(&body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_KIND]), b"macvlan\0");
    let data = [8, 0, 1, 0, 2, 0, 0, 0, 8, 0, 7, 0, 50, 0, 0, 0];
    assert_eq!(at(&body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_DATA]), data);
    assert_eq!(parse(&body).unwrap().macvlan, Some(MacvlanMode::Vepa));
}

#[test]
fn an_ipvlan_is_one_message() {
    // ip link add link low name eth0 mtu 1400 type ipvlan mode l3s (which says the flags, too, that are 0 by default)
    let netns = Netns::current().unwrap();
    let (new, data) = ipvlan::new(upper(&netns), IpvlanMode::L3s);
    let body = message(&new, InfoKind::IpVlan, data);
    assert_eq!(at(&body, &[libc::IFLA_LINK]), [3, 0, 0, 0]);
    assert_eq!(at(&body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_KIND]), b"ipvlan\0");
    assert_eq!(at(&body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_DATA]), [6, 0, 1, 0, 2, 0, 0, 0]);
    assert_eq!(parse(&body).unwrap().ipvlan, Some(IpvlanMode::L3s));
}

#[test]
fn a_vlan_is_one_message() {
    // ip link add link low name eth0 mtu 1400 type vlan id 100
    let netns = Netns::current().unwrap();
    let (new, data) = vlan::new(upper(&netns), 100);
    let body = message(&new, InfoKind::Vlan, data);
    assert_eq!(at(&body, &[libc::IFLA_LINK]), [3, 0, 0, 0]);
    assert_eq!(at(&body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_KIND]), b"vlan\0");
    assert_eq!(at(&body, &[libc::IFLA_LINKINFO, libc::IFLA_INFO_DATA]), [6, 0, 1, 0, 100, 0, 0, 0]);
    assert_eq!((parse(&body).unwrap().vlan, parse(&body).unwrap().macvlan), (Some(100), None));
}

#[test]
fn what_a_link_takes_and_holds_back() {
    // ip link set h0 allmulticast on: IFF_ALLMULTI in flags and mask.
    let all_multicast = set_all_multicast(HOST, true);
    assert_eq!(all_multicast.body(), [0, 0, 0, 0, 4, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0]);
    assert_eq!(set_all_multicast(HOST, false).body().get(8..).unwrap(), [0, 0, 0, 0, 0, 2, 0, 0]);
    assert!(parse(all_multicast.body()).unwrap().is_all_multicast);
    // ip link set h0 txqueuelen 500
    let queue = set_tx_queue_len(HOST, 500);
    assert_eq!(queue.body().get(16..).unwrap(), [8, 0, 13, 0, 0xf4, 1, 0, 0]);
    assert_eq!(parse(queue.body()).unwrap().tx_queue_len, 500);
}

#[test]
fn cut_off_answers_are_no_links() {
    let request = set_mtu(HOST, 1400);
    let link = parse(request.body()).unwrap();
    assert_eq!((link.index, link.mtu, link.is_up), (4, 1400, false));
    for cut in 0..16 {
        assert_eq!(parse(request.body().get(..cut).unwrap()), None, "{cut} bytes");
    }
    // Attributes that are cut off are not there.
    assert_eq!(parse(request.body().get(..22).unwrap()).unwrap().mtu, 0);
}
