//! WireGuard links and their peers, as `wg` sees them, and a ping between two.

#![expect(clippy::unwrap_used, reason = "a failure of what the tests share is a failed test")]

mod support;

use libcni::base64;
use libcni::netns::Netns;
use linuxnet::link::{self, Dev, Link, LinkError};
use linuxnet::netlink::Netlink;
use linuxnet::wireguard::{Device, Peer, PublicKey, SecretKey, WireGuard};
use support::{Bed, output, skip};

struct Node<'a> {
    netns: &'a Netns,
    netlink: Netlink,
    wireguard: WireGuard,
    link: Link,
}

impl<'a> Node<'a> {
    /// `None`: the kernel has no WireGuard.
    fn new(netns: &'a Netns) -> Option<Self> {
        let mut netlink = Netlink::open_in(netns).unwrap();
        match netlink.create_wireguard("flannel-wg", Some(1420)) {
            Err(LinkError::NoSuchKind { .. }) => {
                skip("the kernel has no WireGuard");
                return None;
            }
            made => made.unwrap(),
        }
        let link = netlink.find_link("flannel-wg").unwrap().unwrap();
        let wireguard = netns.within(WireGuard::open).unwrap().unwrap();
        Some(Self { netns, netlink, wireguard, link })
    }

    fn device(&mut self) -> Device {
        self.wireguard.device(Dev::from(&self.link)).unwrap()
    }

    fn set(&mut self, peer: &Peer) {
        let request = self.wireguard.set_peer(Dev::from(&self.link), peer);
        assert!(self.wireguard.send_each(&[request]).unwrap().is_empty());
    }
}

fn peer(key: PublicKey, endpoint: &str, allowed: &[&str]) -> Peer {
    let mut allowed_ips: Vec<_> = allowed.iter().map(|net| net.parse().unwrap()).collect();
    allowed_ips.sort_unstable();
    Peer { public_key: key, preshared_key: None, endpoint: endpoint.parse().ok(), keepalive: 0, allowed_ips }
}

#[test]
fn a_kernel_without_wireguard_is_told() {
    let Some(bed) = Bed::new() else { return };
    if let Err(e) = bed.host.within(WireGuard::open).unwrap() {
        assert!(e.is_not_found(), "{e}");
        let made = bed.host_netlink().create_wireguard("flannel-wg", None);
        assert!(matches!(made, Err(LinkError::NoSuchKind { .. })));
    }
}

#[test]
fn peers_come_change_and_go() {
    let Some(bed) = Bed::new() else { return };
    let Some(mut node) = Node::new(&bed.host) else { return };
    let link = node.link.clone();
    let dev = Dev::from(&link);
    assert_eq!(node.device(), Device::default());
    let key = SecretKey::random().unwrap();
    node.wireguard.set_device(dev, &key, 51820).unwrap();
    let device = node.device();
    let shown = output(&bed.host, "wg show flannel-wg dump");
    let public = device.public_key.unwrap();
    assert!(shown.starts_with(&format!("{}\t{public}\t51820\toff", base64::encode(&key.0))), "{shown}");
    assert!(device.private_key == Some(key) && device.port == 51820);
    let full = Peer {
        preshared_key: Some(SecretKey([6; 32])),
        keepalive: 25,
        ..peer(PublicKey([5; 32]), "192.0.2.7:51820", &["10.5.1.0/24", "fd07::/64"])
    };
    let other = peer(PublicKey([7; 32]), "[fd00::7]:51821", &["10.5.2.0/24"]);
    node.set(&full);
    node.set(&other);
    let shown = output(&bed.host, "wg show flannel-wg dump");
    let line = format!(
        "{}\t{}\t192.0.2.7:51820\t10.5.1.0/24,fd07::/64\t0\t0\t0\t25",
        full.public_key,
        base64::encode(&[6; 32])
    );
    assert!(shown.contains(&line), "{shown}");
    let peers = |device: Device| {
        let mut peers: Vec<_> = device.peers.into_iter().map(|state| state.peer).collect();
        peers.sort_by_key(|peer| peer.public_key);
        peers
    };
    assert_eq!(peers(node.device()), [full.clone(), other.clone()]);
    // Everything about it changes, what is not said any more included.
    let changed = peer(full.public_key, "192.0.2.8:51821", &["10.5.3.0/24"]);
    node.set(&changed);
    assert_eq!(peers(node.device()), [changed, other.clone()]);
    let removal = node.wireguard.remove_peer(dev, &full.public_key);
    assert!(node.wireguard.send_each(&[removal.clone(), removal]).unwrap().is_empty());
    assert_eq!(peers(node.device()), [other]);
    node.netlink.remove_link(dev).unwrap();
    assert!(node.wireguard.device(dev).unwrap_err().is_not_found());
}

#[test]
fn many_peers_are_listed_whole() {
    let Some(bed) = Bed::new() else { return };
    let Some(mut node) = Node::new(&bed.host) else { return };
    let link = node.link.clone();
    let nets: Vec<String> = (0..=255).map(|n| format!("10.6.{n}.0/24")).collect();
    // One with more addresses than a message of the list holds, among many.
    let wanted: Vec<Peer> = (1..=200u8)
        .map(|n| {
            let own = format!("10.5.{n}.0/24");
            let allowed: Vec<&str> = if n == 100 { nets.iter().map(String::as_str).collect() } else { vec![&own] };
            peer(PublicKey([n; 32]), "192.0.2.7:51820", &allowed)
        })
        .collect();
    let requests: Vec<_> = wanted.iter().map(|peer| node.wireguard.set_peer(Dev::from(&link), peer)).collect();
    assert!(node.wireguard.send_each(&requests).unwrap().is_empty());
    let mut listed: Vec<_> = node.device().peers.into_iter().map(|state| state.peer).collect();
    listed.sort_by_key(|peer| peer.public_key);
    assert_eq!(listed, wanted);
}

#[test]
fn packets_travel_between_two_nodes() {
    let Some(bed) = Bed::new() else { return };
    let container = bed.container.path().display();
    output(&bed.host, &format!("ip link add e0 type veth peer name e1 netns {container}"));
    let Some(mut a) = Node::new(&bed.host) else { return };
    let Some(mut b) = Node::new(&bed.container) else { return };
    for (node, underlay, outside, pod, other) in [
        (&mut a, "e0", "192.0.2.1/24", "10.5.1.0/32", "10.5.2.0/24"),
        (&mut b, "e1", "192.0.2.2/24", "10.5.2.0/32", "10.5.1.0/24"),
    ] {
        let link = node.link.clone();
        node.wireguard.set_device(Dev::from(&link), &SecretKey::random().unwrap(), 51820).unwrap();
        node.netlink.run(link::set_up(Dev::from(&link))).unwrap();
        for command in [
            "ip link set lo up",
            &format!("ip link set {underlay} up"),
            &format!("ip address add {outside} dev {underlay}"),
            &format!("ip address add {pod} dev flannel-wg"),
            &format!("ip route add {other} dev flannel-wg"),
        ] {
            output(node.netns, command);
        }
    }
    let (key_a, key_b) = (a.device().public_key.unwrap(), b.device().public_key.unwrap());
    let shared = Some(SecretKey([6; 32]));
    a.set(&Peer { preshared_key: shared, ..peer(key_b, "192.0.2.2:51820", &["10.5.2.0/24"]) });
    b.set(&Peer { preshared_key: shared, ..peer(key_a, "192.0.2.1:51820", &["10.5.1.0/24"]) });
    output(&bed.host, "ping -c 1 -W 20 -I 10.5.1.0 10.5.2.0");
    assert!(a.device().peers[0].last_handshake.is_some());
}
