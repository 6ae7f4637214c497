//! Masquerading, seen by packets and by what is left in the kernel: each backend, and what the Go plugins made.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::net::IpAddr;

use ferrule_tests::{Binaries, Container, Firewall, Network, Node, Place};
use ipnet::IpNet;
use libcni::names::NetworkName;
use libcni::types::AttachmentId;
use linuxnet::iptables::Iptables;
use linuxnet::masq::{Backend, MasqError, Masquerade};
use linuxnet::nft::{Nfnetlink, Removal};
use linuxnet::tag::Valid;
use serde_json::json;

const NETWORK: &str = "net";

/// A node, and masquerading on it.
struct Bed {
    node: Node,
    firewall: Firewall,
    programs: Iptables,
}

impl Bed {
    fn start(firewall: Firewall) -> Option<Self> {
        let node = Node::start_with(firewall)?;
        let path = node.program_path();
        let programs = Iptables::new(std::env::split_paths(&path), node.dir().join("iptables.lock"));
        Some(Self { node, firewall, programs })
    }

    fn backend(&self) -> Backend {
        self.firewall.setting().parse().unwrap()
    }

    /// Does `work` on the host, by the node's iptables programs.
    fn masq<T: Send>(&self, work: impl FnOnce(&mut Masquerade<'_>) -> T + Send) -> T {
        self.masq_by(Removal::of_kernel(), work)
    }

    fn masq_by<T: Send>(&self, removal: Removal, work: impl FnOnce(&mut Masquerade<'_>) -> T + Send) -> T {
        let programs = self.programs.clone();
        self.node.host.run(|| {
            let mut nft = Nfnetlink::open().unwrap();
            nft.set_removal(removal);
            work(&mut Masquerade::new(&mut nft).with_iptables(programs))
        })
    }

    fn setup(&self, container: &str, addresses: &[&str]) {
        let backend = self.backend();
        self.masq(|masq| masq.setup(backend, &network(), &id(container), &nets(addresses))).unwrap();
    }

    fn verify(&self, container: &str, addresses: &[&str]) -> Result<(), MasqError> {
        let backend = self.backend();
        self.masq(|masq| masq.verify(backend, &network(), &id(container), &nets(addresses)))
    }

    fn teardown(&self, container: &str, hint: &[&str]) {
        let hint: Vec<IpAddr> = nets(hint).iter().map(IpNet::addr).collect();
        self.masq(|masq| masq.teardown(&network(), &id(container), &hint)).unwrap();
    }

    fn gc(&self, valid: &[&str]) {
        let valid = Valid::new(&network(), &valid.iter().map(|c| id(c)).collect::<Vec<_>>());
        self.masq(|masq| masq.gc(&valid)).unwrap();
    }

    /// The same once what expires within a few milliseconds is gone.
    fn left_soon(&self) -> Vec<String> {
        std::thread::sleep(std::time::Duration::from_millis(20));
        self.left()
    }

    /// All that concerns an attachment in nftables and both iptables, one line each: no infrastructure.
    fn left(&self) -> Vec<String> {
        let mut lines = lines_of(&self.node.host, "nft list ruleset", &["jump net-", "chain net-", ", id: "]);
        for program in ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"] {
            // Without the table there is nothing; saving it would make it.
            if program.contains("legacy") && self.firewall != Firewall::IptablesLegacy {
                continue;
            }
            lines.extend(lines_of(&self.node.host, &format!("{program} -t nat"), &["CNI-"]));
        }
        lines
    }
}

fn lines_of(host: &Place, command: &str, marks: &[&str]) -> Vec<String> {
    let marked = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    host.sh(command).lines().filter(marked).map(str::to_owned).collect()
}

fn network() -> NetworkName {
    NETWORK.parse().unwrap()
}

/// `c1`, or `c1/net1`.
fn id(container: &str) -> AttachmentId {
    let (container_id, ifname) = container.split_once('/').unwrap_or((container, "eth0"));
    AttachmentId { container_id: container_id.parse().unwrap(), ifname: ifname.parse().unwrap() }
}

fn nets(addresses: &[&str]) -> Vec<IpNet> {
    addresses.iter().map(|a| a.parse().unwrap()).collect()
}

/// Connects a container by a routed link: 10.1.0.`n`/24 and fd00:1::`n`/64 lie behind the host, not beside each other.
fn connect(host: &Place, container: &Container, n: u8) {
    let inside = &container.place;
    // Neighbours are asked for from the link-local address, which would take seconds to be sure that it is alone.
    for place in [host, inside] {
        place.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    }
    host.sh(&format!("ip link add veth{n} type veth peer name eth0 netns {}", inside.netns.display()));
    host.sh(&format!("ip link set veth{n} up"));
    inside.sh("ip link set eth0 up");
    for (gateway, address, bits) in
        [("10.1.0.1", format!("10.1.0.{n}"), 32), ("fd00:1::1", format!("fd00:1::{n}"), 128)]
    {
        host.sh(&format!("ip address add {gateway}/{bits} dev veth{n} nodad"));
        host.sh(&format!("ip route add {address}/{bits} dev veth{n}"));
        inside.sh(&format!("ip address add {address}/{bits} dev eth0 nodad"));
        inside.sh(&format!("ip route add {gateway}/{bits} dev eth0"));
        inside.sh(&format!("ip route add default via {gateway}"));
    }
}

#[test]
fn packets_are_masqueraded_outside_the_subnet_only() {
    for firewall in Firewall::ALL {
        let Some(bed) = Bed::start(firewall) else { continue };
        let (host, outside) = (&bed.node.host, &bed.node.outside);
        host.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        let (a, b) = (bed.node.container("a"), bed.node.container("b"));
        connect(host, &a, 5);
        connect(host, &b, 6);
        // So that what is not masqueraded comes back too, and tells its source.
        outside.sh("ip route add 10.1.0.0/24 via 192.0.2.2");
        outside.sh("ip route add fd00:1::/64 via 2001:db8::2");
        let (_out, _in) = (outside.serve_udp(7), b.place.serve_udp(7));
        let saw = |from: &Container, to: IpAddr| {
            from.place.fetch_udp(to, 7).unwrap_or_else(|e| panic!("{firewall:?} {to}: {e}")).saw.to_string()
        };
        let (out4, out6) = (bed.node.outside_address(), bed.node.outside_address_v6());
        assert_eq!(saw(&a, out4), "10.1.0.5", "{firewall:?}: before");

        bed.setup("a", &["10.1.0.5/24", "fd00:1::5/64"]);
        bed.verify("a", &["10.1.0.5/24", "fd00:1::5/64"]).unwrap();
        assert_eq!(saw(&a, out4), "192.0.2.2", "{firewall:?}");
        assert_eq!(saw(&a, out6), "2001:db8::2", "{firewall:?}");
        assert_eq!(saw(&a, "10.1.0.6".parse().unwrap()), "10.1.0.5", "{firewall:?}: its own subnet");
        assert_eq!(saw(&a, "fd00:1::6".parse().unwrap()), "fd00:1::5", "{firewall:?}: its own subnet");
        assert_eq!(saw(&b, out4), "10.1.0.6", "{firewall:?}: not asked for");

        bed.teardown("a", &[]);
        assert_eq!(saw(&a, out4), "10.1.0.5", "{firewall:?}: after");
        assert_eq!(saw(&a, out6), "fd00:1::5", "{firewall:?}: after");
        assert_eq!(bed.left(), [""; 0], "{firewall:?}");
    }
}

#[test]
fn multicast_keeps_its_source() {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};
    use std::time::Duration;
    for firewall in Firewall::ALL {
        let Some(bed) = Bed::start(firewall) else { continue };
        let (host, outside) = (&bed.node.host, &bed.node.outside);
        // An address of a masqueraded subnet on the host, which then need not be a multicast router. (The kernel sends
        // multicast by the interface that has the source.)
        host.sh("ip address add 10.1.0.5/32 dev uplink");
        host.sh("ip address add fd00:1::5/128 dev lo nodad");
        host.sh("ip route add 239.0.0.0/8 dev uplink");
        // What comes from nowhere known is dropped.
        outside.sh("ip route add 10.1.0.0/24 via 192.0.2.2");
        outside.sh("ip route add fd00:1::/64 via 2001:db8::2");
        bed.setup("a", &["10.1.0.5/24", "fd00:1::5/64"]);
        let index = |place: &Place| place.run(|| nix::net::if_::if_nametoindex("uplink").unwrap());
        let (group4, group6) = (Ipv4Addr::new(239, 1, 1, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 1));
        let listener = outside.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 7)).unwrap());
        listener.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        listener.join_multicast_v4(&group4, &Ipv4Addr::new(192, 0, 2, 1)).unwrap();
        listener.join_multicast_v6(&group6, index(outside)).unwrap();
        let scope = index(host);
        let send = || {
            let v4 = UdpSocket::bind("10.1.0.5:0").unwrap();
            v4.send_to(b"4", (group4, 7)).unwrap();
            let v6 = UdpSocket::bind("[fd00:1::5]:0").unwrap();
            v6.send_to(b"6", SocketAddrV6::new(group6, 7, 0, scope)).unwrap();
            // The same sender to one machine is masqueraded: the rules do apply to it.
            v6.send_to(b"u", "[2001:db8::1]:7").unwrap();
        };
        let mut sources = BTreeMap::new();
        // A link that has just come up loses a few.
        for _ in 0..20 {
            host.run(send);
            let mut byte = [0];
            while let Ok((_, source)) = listener.recv_from(&mut byte) {
                sources.insert(char::from(byte[0]), source.ip().to_canonical().to_string());
                if sources.len() == 3 {
                    break;
                }
            }
            if sources.len() == 3 {
                break;
            }
        }
        let expected = [('4', "10.1.0.5"), ('6', "fd00:1::5"), ('u', "2001:db8::2")];
        assert_eq!(sources, expected.map(|(kind, source)| (kind, source.to_owned())).into(), "{firewall:?}");
    }
}

#[test]
fn a_stale_address_is_taken_over_and_its_former_owner_takes_nothing_back() {
    for firewall in Firewall::ALL {
        let Some(bed) = Bed::start(firewall) else { continue };
        bed.setup("old", &["10.1.0.5/24"]);
        bed.setup("new", &["10.1.0.5/16"]);
        bed.setup("new", &["10.1.0.5/16"]);
        bed.verify("new", &["10.1.0.5/16"]).unwrap();
        assert!(matches!(bed.verify("old", &["10.1.0.5/24"]), Err(MasqError::Missing { .. })), "{firewall:?}");
        bed.teardown("old", &["10.1.0.5/24"]);
        bed.verify("new", &["10.1.0.5/16"]).unwrap();
        bed.teardown("new", &["10.1.0.5/16"]);
        bed.gc(&[]);
        assert_eq!(bed.left(), [""; 0], "{firewall:?}");
    }
}

#[test]
fn two_interfaces_of_a_container_come_and_go_alone() {
    for firewall in Firewall::ALL {
        let Some(bed) = Bed::start(firewall) else { continue };
        bed.setup("c1", &["10.1.0.5/24", "fd00:1::5/64"]);
        bed.setup("c1/net1", &["10.1.0.6/24", "10.2.0.6/24"]);
        bed.teardown("c1", &[]);
        bed.verify("c1/net1", &["10.1.0.6/24", "10.2.0.6/24"]).unwrap();
        assert!(bed.verify("c1", &["10.1.0.5/24"]).is_err(), "{firewall:?}");
        bed.gc(&["c1/net1"]);
        bed.verify("c1/net1", &["10.1.0.6/24", "10.2.0.6/24"]).unwrap();
        bed.gc(&["c1"]);
        assert_eq!(bed.left(), [""; 0], "{firewall:?}");
    }
}

#[test]
fn every_way_of_removal_leaves_nothing() {
    for removal in [Removal::Expire, Removal::Destroy, Removal::Delete] {
        let Some(bed) = Bed::start(Firewall::Nftables) else { return };
        // More than are deleted at once where addresses can expire.
        let addresses = |n: usize| [format!("10.1.0.{n}/24"), format!("fd00:1::{n}/64"), format!("10.2.0.{n}/32")];
        for n in 1..=12 {
            bed.setup(&format!("c{n}"), &addresses(n).each_ref().map(String::as_str));
        }
        for n in 1..=12 {
            let name = format!("c{n}");
            bed.masq_by(removal, |masq| masq.teardown(&network(), &id(&name), &[])).unwrap();
            let left = bed.left_soon();
            assert!(!left.iter().any(|line| line.contains(&format!(" {name} "))), "{removal:?}: {left:?}");
            assert!(!left.iter().any(|line| line.contains(&format!("10.2.0.{n}/"))), "{removal:?}: {left:?}");
        }
        // The two chains that elements expired from go as soon as the kernel has swept them.
        for _ in 0..100 {
            bed.gc(&[]);
            if bed.left().is_empty() {
                break;
            }
            assert_eq!(removal, Removal::Expire);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(bed.left(), [""; 0], "{removal:?}");
    }
}

#[test]
fn an_address_that_is_about_to_expire_can_be_added_again() {
    let Some(bed) = Bed::start(Firewall::Nftables) else { return };
    for n in 1..=12 {
        bed.setup(&format!("c{n}"), &[&format!("10.1.0.{n}/24")]);
    }
    for _ in 0..20 {
        bed.teardown("c1", &["10.1.0.1/24"]);
        bed.setup("c1", &["10.1.0.1/24"]);
        // Longer than any expiry.
        std::thread::sleep(std::time::Duration::from_millis(20));
        bed.verify("c1", &["10.1.0.1/24"]).unwrap();
    }
}

#[test]
fn what_check_misses_is_named() {
    let Some(bed) = Bed::start(Firewall::Nftables) else { return };
    let missing = || bed.verify("c1", &["10.1.0.5/24"]).unwrap_err().to_string();
    bed.setup("c1", &["10.1.0.5/24"]);
    bed.node.host.sh("nft flush chain inet ferrule_masq postrouting");
    assert!(missing().contains("vmap @sources4"), "{}", missing());
    bed.node.host.sh("nft flush chain inet ferrule_masq net-10.1.0.0/24");
    assert!(missing().contains("the rule \"masquerade\" in chain net-10.1.0.0/24"), "{}", missing());
    bed.node.host.sh("nft flush map inet ferrule_masq sources4");
    assert!(missing().contains("10.1.0.5 comment \"net c1 eth0\" : jump net-10.1.0.0/24"), "{}", missing());
    bed.node.host.sh("nft flush ruleset");
    assert!(missing().contains("10.1.0.5/24 is not masqueraded"), "{}", missing());
}

#[test]
fn our_table_is_one_that_nft_can_read_and_write() {
    let Some(bed) = Bed::start(Firewall::Nftables) else { return };
    bed.setup("c1", &["10.1.0.5/16", "fd00:1::5/64"]);
    let file = bed.node.dir().join("ruleset");
    let listed = bed.node.host.sh("nft list ruleset");
    assert!(listed.contains("10.1.0.5 comment \"net c1 eth0\" : jump net-10.1.0.0/16"), "{listed}");
    assert!(listed.contains("ip daddr != 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade"), "{listed}");
    assert!(listed.contains("ip6 daddr != fd00:1::/64 ip6 daddr != ff00::/8 masquerade"), "{listed}");
    libcni::store::write_atomic(&file, listed.as_bytes(), 0o600).unwrap();
    bed.node.host.sh("nft flush ruleset");
    bed.node.host.sh(&format!("nft -f {}", file.display()));
    assert_eq!(bed.node.host.sh("nft list ruleset"), listed);
    bed.verify("c1", &["10.1.0.5/16", "fd00:1::5/64"]).unwrap();
}

/// The reference's bridge with masquerading, on this node.
fn reference(bed: &Bed) -> Option<Network> {
    let binaries = Binaries::reference()?;
    let conflist = json!({"cniVersion": "1.0.0", "name": NETWORK, "plugins": [{
        "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}
    }]});
    Some(bed.node.network_by(conflist, &binaries))
}

#[test]
fn what_the_reference_made_is_checked_and_removed() {
    for firewall in Firewall::ALL {
        let Some(bed) = Bed::start(firewall) else { continue };
        let Some(network) = reference(&bed) else { return };
        let containers = ["a", "b", "c"].map(|name| bed.node.container(name));
        for container in &containers {
            network.add(container).expect("ADD of the reference");
        }
        let all = bed.left().len();
        let [a, b, c] = containers.each_ref().map(|container| container.id.as_str());
        bed.verify(a, &["10.1.0.2/24", "fd00:1::2/64"]).unwrap();
        assert!(bed.verify(a, &["10.1.0.3/24"]).is_err(), "{firewall:?}: of another");
        bed.teardown(a, &[]);
        assert!(bed.verify(a, &["10.1.0.2/24"]).is_err(), "{firewall:?}");
        assert_eq!(bed.left().len() * 3, all * 2, "{firewall:?}: {:?}", bed.left());
        bed.gc(&[b]);
        bed.verify(b, &["10.1.0.3/24", "fd00:1::3/64"]).unwrap();
        assert!(bed.verify(c, &["10.1.0.4/24"]).is_err(), "{firewall:?}");
        bed.gc(&[]);
        assert_eq!(bed.left(), [""; 0], "{firewall:?}");
        // The reference's DEL does not mind.
        network.del(&containers[0]).expect("DEL of the reference");
    }
}

#[test]
fn the_references_del_removes_what_we_made_by_iptables() {
    for firewall in [Firewall::IptablesNft, Firewall::IptablesLegacy] {
        let Some(bed) = Bed::start(firewall) else { continue };
        let Some(network) = reference(&bed) else { return };
        let container = bed.node.container("a");
        network.add(&container).expect("ADD of the reference");
        bed.teardown(&container.id, &[]);
        assert_eq!(bed.left(), [""; 0], "{firewall:?}");
        bed.setup(&container.id, &["10.1.0.2/24", "fd00:1::2/64"]);
        assert_ne!(bed.left(), [""; 0], "{firewall:?}");
        network.del(&container).expect("DEL of the reference");
        assert_eq!(bed.left(), [""; 0], "{firewall:?}");
    }
}

#[test]
fn many_at_once_all_succeed_and_leave_nothing() {
    const MANY: usize = 32;
    for firewall in Firewall::ALL {
        let Some(bed) = Bed::start(firewall) else { continue };
        let names: Vec<String> = (0..MANY).map(|n| format!("c{n}")).collect();
        let addresses = |n: usize| [format!("10.1.0.{}/24", n + 2), format!("fd00:1::{}/64", n + 2)];
        let at_once = |work: &(dyn Fn(&str, &[&str]) + Sync)| {
            std::thread::scope(|scope| {
                for (n, name) in names.iter().enumerate() {
                    scope.spawn(move || work(name, &addresses(n).each_ref().map(String::as_str)));
                }
            });
        };
        at_once(&|name, addresses| bed.setup(name, addresses));
        at_once(&|name, addresses| bed.verify(name, addresses).unwrap());
        at_once(&|name, addresses| {
            bed.teardown(name, addresses);
            bed.setup(name, addresses);
            bed.verify(name, addresses).unwrap();
            bed.teardown(name, addresses);
        });
        // Chains of subnets may outlive the last address by the second that it takes to expire.
        let left: Vec<_> = bed.left_soon().into_iter().filter(|line| !line.contains("chain net-")).collect();
        assert_eq!(left, [""; 0], "{firewall:?}");
    }
}

#[test]
fn without_anything_to_find_no_program_is_started() {
    let Some(bed) = Bed::start(Firewall::Nftables) else { return };
    bed.setup("c1", &["10.1.0.5/24"]);
    let nowhere = Iptables::new(["/nowhere".into()], bed.node.dir().join("lock"));
    bed.node.host.run(|| {
        let mut nft = Nfnetlink::open().unwrap();
        let mut masq = Masquerade::new(&mut nft).with_iptables(nowhere);
        masq.teardown(&network(), &id("c1"), &[]).unwrap();
        masq.teardown(&network(), &id("c1"), &["10.1.0.5".parse().unwrap()]).unwrap();
        masq.gc(&Valid::new(&network(), &[])).unwrap();
        let error = masq.setup(Backend::Iptables, &network(), &id("c1"), &nets(&["10.1.0.5/24"])).unwrap_err();
        assert!(libcni::error::causes(Some(&error)).contains("hint: install iptables"), "{error:?}");
    });
    assert!(!bed.node.dir().join("lock").exists());
}
