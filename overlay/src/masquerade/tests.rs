//! Packets of a pod, through a node with our rules, to an outsider and to the pod of another node.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use libcni::netns::Netns;
use linuxnet::nft::Nfnetlink;

use super::takeover::remove_flannels;
use super::{Masquerade, remove};
use crate::config::MasqueradeConf;
use crate::network::{Backend, Network};

/// One address of each family.
type Pair = [&'static str; 2];
const POD: Pair = ["10.42.1.2", "fd42:0:0:1::2"];
/// On another node, reached through its own interface of the node.
const REMOTE: Pair = ["10.42.2.2", "fd42:0:0:2::2"];
const REMOTE_GATEWAY: Pair = ["192.0.3.1", "2001:db8:3::1"];
const NODE: Pair = ["192.0.2.1", "2001:db8:2::1"];
const OUTSIDE: Pair = ["192.0.2.2", "2001:db8:2::2"];
/// The outsider's, too; an address that is never masqueraded for.
const EXCEPTED: Pair = ["198.51.100.2", "2001:db8:99::2"];

/// Longer than a first packet that is lost takes to be sent again.
const PATIENCE: Duration = Duration::from_secs(15);
/// What takes longer is dropped.
const IMPATIENCE: Duration = Duration::from_millis(400);

struct Bed {
    dir: tempfile::TempDir,
    pod: Netns,
    node: Netns,
    outside: Netns,
    remote: Netns,
}

impl Bed {
    /// `None`, with SKIP printed, outside of a sandbox.
    fn new() -> Option<Self> {
        if std::env::var_os("FERRULE_SANDBOX").is_none() {
            assert!(std::env::var_os("CNI_TEST_REQUIRE").is_none_or(|v| v != "all"), "needs scripts/in-namespaces");
            println!("SKIP overlayd masquerade: not in a sandbox (hint: scripts/in-namespaces)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let netns = |name: &str| Netns::create(dir.path().join(name)).unwrap();
        let (pod, node, outside, remote) = (netns("pod"), netns("node"), netns("outside"), netns("remote"));
        let bed = Self { dir, pod, node, outside, remote };
        for netns in [&bed.pod, &bed.node, &bed.outside, &bed.remote] {
            run(netns, "sysctl -q -w net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
            run(netns, "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
            run(netns, "ip link set lo up");
        }
        bed.connect("pod0", &bed.pod, ["10.42.1.1/24", "fd42:0:0:1::1/64"], [POD[0], POD[1]]);
        bed.connect("out0", &bed.outside, ["192.0.2.1/24", "2001:db8:2::1/64"], OUTSIDE);
        bed.connect("remote0", &bed.remote, ["192.0.3.1/24", "2001:db8:3::1/64"], ["192.0.3.2", "2001:db8:3::2"]);
        for (address, network) in REMOTE.iter().zip(["10.42.2.0/24 via 192.0.3.2", "fd42:0:0:2::/64 via 2001:db8:3::2"])
        {
            run(&bed.remote, &address_on("lo", address));
            run(&bed.node, &format!("ip route add {network}"));
        }
        for (address, network) in
            EXCEPTED.iter().zip(["198.51.100.0/24 via 192.0.2.2", "2001:db8:99::/64 via 2001:db8:2::2"])
        {
            run(&bed.outside, &address_on("lo", address));
            run(&bed.node, &format!("ip route add {network}"));
        }
        Some(bed)
    }

    /// Connects the node with somebody, whose default route leads to it.
    fn connect(&self, name: &str, far: &Netns, here: Pair, there: Pair) {
        run(&self.node, &format!("ip link add {name} type veth peer name eth0 netns {}", far.path().display()));
        for (netns, device) in [(&self.node, name), (far, "eth0")] {
            run(netns, &format!("ip link set {device} up"));
        }
        for (gateway, (address, length)) in here.into_iter().zip(there.into_iter().zip([24, 64])) {
            run(&self.node, &address_on(name, gateway));
            run(far, &address_on("eth0", &format!("{address}/{length}")));
            run(far, &format!("ip route add default via {}", gateway.split_once('/').unwrap().0));
        }
    }

    fn nft(&self) -> Nfnetlink {
        Nfnetlink::open_in(&self.node).unwrap()
    }

    /// In the node's namespace, where iptables is looked for.
    fn ensure(&self, masquerade: &mut Masquerade, nft: &mut Nfnetlink) -> bool {
        self.node.within(|| masquerade.ensure(nft)).unwrap().unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for name in ["pod", "node", "outside", "remote"] {
            let _ = Netns::remove(self.dir.path().join(name));
        }
    }
}

fn address_on(device: &str, address: &str) -> String {
    // Else it cannot be used at once, even where duplicates are not looked for.
    let nodad = if address.contains(':') { "nodad" } else { "" };
    format!("ip address add {address} dev {device} {nodad}")
}

fn run(netns: &Netns, command: &str) -> String {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    let output = netns.within(|| command.output()).unwrap().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn conf(except: &[&str]) -> MasqueradeConf {
    let except = except.iter().map(|net| net.parse().unwrap()).collect();
    MasqueradeConf { except, random_fully: true, forward: true }
}

fn network() -> Network {
    let text =
        r#"{"Network": "10.42.0.0/16", "EnableIPv6": true, "IPv6Network": "fd42::/48", "Backend": {"Type": "vxlan"}}"#;
    let network = Network::from_net_conf(text.as_bytes()).unwrap();
    assert!(matches!(network.backend, Backend::Vxlan(_)));
    network
}

fn masquerade(except: &[&str]) -> Masquerade {
    let own = ["10.42.1.0/24", "fd42:0:0:1::/64"].map(|net| net.parse().unwrap());
    Masquerade::new(&conf(except), &network(), &own)
}

/// Whom the server sees when the client connects; `None`: nobody comes.
fn seen(client: &Netns, server: &Netns, to: &str, port: u16, patience: Duration) -> Option<String> {
    let to = SocketAddr::new(to.parse().unwrap(), port);
    let listener = loop {
        match server.within(|| TcpListener::bind(to)).unwrap() {
            // A program that another test just starts has not closed its copy of our last listener yet.
            Err(e) if e.kind() == ErrorKind::AddrInUse => std::thread::yield_now(),
            bound => break bound.unwrap(),
        }
    };
    match client.within(|| TcpStream::connect_timeout(&to, patience)).unwrap() {
        Ok(_connected) => Some(listener.accept().unwrap().1.ip().to_string()),
        Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::ConnectionRefused) => None,
        Err(e) => panic!("{to}: {e}"),
    }
}

/// Connects from everybody to everybody: what is said in the chain's description.
fn assert_right(bed: &Bed, from_pod_to_excepted: Pair) {
    let of =
        |client, server, to: &str| seen(client, server, to, 80, PATIENCE).unwrap_or_else(|| panic!("{to}: no way"));
    for i in 0..2 {
        assert_eq!(of(&bed.pod, &bed.outside, OUTSIDE[i]), NODE[i], "a container goes out as the node");
        assert_eq!(of(&bed.pod, &bed.outside, EXCEPTED[i]), from_pod_to_excepted[i], "unless it is excepted");
        assert_eq!(of(&bed.pod, &bed.remote, REMOTE[i]), POD[i], "a container meets another as itself");
        assert_eq!(of(&bed.outside, &bed.pod, POD[i]), OUTSIDE[i], "an outsider meets a container here as itself");
        assert_eq!(of(&bed.outside, &bed.remote, REMOTE[i]), REMOTE_GATEWAY[i], "and one elsewhere as the node");
    }
}

#[test]
fn each_packet_leaves_with_the_right_address_and_flushed_rules_come_back() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = bed.nft();
    let mut ours = masquerade(&["198.51.100.0/24", "2001:db8:99::/64"]);
    assert!(bed.ensure(&mut ours, &mut nft), "nothing was there");
    assert!(!bed.ensure(&mut ours, &mut nft));
    assert!(!bed.ensure(&mut ours, &mut nft), "without a look at the rules");
    assert_right(&bed, POD);
    for harm in [
        "nft flush ruleset",
        "nft flush chain inet overlayd postrouting",
        "nft add element inet overlayd except4 { 192.0.2.2 }",
        "nft flush set inet overlayd cluster6",
        "nft insert rule inet overlayd postrouting accept",
        "nft add chain inet overlayd evil { type filter hook forward priority 0; policy drop; }",
        "nft add chain inet overlayd postrouting { policy drop; }",
    ] {
        run(&bed.node, harm);
        assert!(bed.ensure(&mut ours, &mut nft), "{harm}");
        assert!(!bed.ensure(&mut ours, &mut nft), "{harm}");
    }
    run(&bed.node, "nft add table ip stranger");
    assert!(!bed.ensure(&mut ours, &mut nft), "of others nothing is ours");
    assert_right(&bed, POD);
    // Another configuration.
    assert!(bed.ensure(&mut masquerade(&[]), &mut nft));
    assert_right(&bed, NODE);
    bed.node.within(|| remove(&mut nft)).unwrap().unwrap();
    assert_eq!(run(&bed.node, "nft list tables").trim(), "table ip stranger");
    bed.node.within(|| remove(&mut nft)).unwrap().unwrap();
}

#[test]
fn what_kube_proxy_marks_it_masquerades_itself() {
    let Some(bed) = Bed::new() else { return };
    bed.ensure(&mut masquerade(&[]), &mut bed.nft());
    run(&bed.node, "nft add table inet kube");
    run(&bed.node, "nft add chain inet kube marks { type filter hook forward priority 0; }");
    // The bit among others.
    run(&bed.node, "nft add rule inet kube marks tcp dport 81 meta mark set 0x1c000");
    // Answers find their way without masquerading, too.
    for i in 0..2 {
        let of = |port| seen(&bed.pod, &bed.outside, OUTSIDE[i], port, PATIENCE);
        assert_eq!(of(80).as_deref(), Some(NODE[i]));
        assert_eq!(of(81).as_deref(), Some(POD[i]));
    }
}

#[test]
fn containers_pass_a_forward_chain_that_drops() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = bed.nft();
    let mut ours = masquerade(&[]);
    bed.ensure(&mut ours, &mut nft);
    for program in ["iptables", "ip6tables"] {
        run(&bed.node, &format!("{program}-nft -P FORWARD DROP"));
        run(&bed.node, &format!("{program}-nft -A FORWARD -p udp -j REJECT"));
    }
    let passes = |i: usize| seen(&bed.pod, &bed.outside, OUTSIDE[i], 80, PATIENCE).is_some();
    let is_stopped = |i: usize| seen(&bed.pod, &bed.outside, OUTSIDE[i], 80, IMPATIENCE).is_none();
    assert!(is_stopped(0) && is_stopped(1));
    assert!(bed.ensure(&mut ours, &mut nft));
    assert!(passes(0) && passes(1));
    let saved = run(&bed.node, "iptables-nft-save -t filter");
    for line in [
        "-A FORWARD -p udp -j REJECT",
        "-A FORWARD -m comment --comment \"overlayd: containers\" -j OVERLAYD-FWD",
        "-A OVERLAYD-FWD -s 10.42.0.0/16 -m comment --comment \"overlayd: containers\" -j ACCEPT",
        "-A OVERLAYD-FWD -d 10.42.0.0/16 -m comment --comment \"overlayd: containers\" -j ACCEPT",
    ] {
        assert!(saved.contains(line), "{line}\n{saved}");
    }
    assert!(!bed.ensure(&mut ours, &mut nft));
    for harm in ["ip6tables-nft -F FORWARD", "ip6tables-nft -F OVERLAYD-FWD"] {
        run(&bed.node, harm);
        assert!(is_stopped(1));
        assert!(bed.ensure(&mut ours, &mut nft), "{harm}");
        assert!(passes(1), "{harm}");
        assert!(!bed.ensure(&mut ours, &mut nft), "{harm}");
    }
    bed.node.within(|| remove(&mut nft)).unwrap().unwrap();
    assert!(is_stopped(0) && is_stopped(1));
    assert!(!run(&bed.node, "iptables-nft-save").contains("OVERLAYD"));
    assert!(run(&bed.node, "iptables-nft-save").contains("-A FORWARD -p udp -j REJECT"), "not ours");
}

#[test]
fn what_flannel_left_is_removed_and_nothing_else() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = bed.nft();
    for command in [
        "nft add table ip flannel-ipv4",
        "nft add chain ip flannel-ipv4 postrtg { type nat hook postrouting priority srcnat; }",
        "nft add rule ip flannel-ipv4 postrtg masquerade",
        "nft add table ip6 flannel-ipv6",
        "nft add table ip flannel-of-others",
        "iptables-nft -t nat -N FLANNEL-POSTRTG",
        "iptables-nft -t nat -A POSTROUTING -m comment --comment flanneld -j FLANNEL-POSTRTG",
        "iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE",
        "iptables-nft -t nat -A FLANNEL-POSTRTG -s 10.42.0.0/16 -j MASQUERADE --random-fully",
        "iptables-nft -N FLANNEL-FWD",
        "iptables-nft -A FORWARD -j FLANNEL-FWD",
        "ip6tables-nft -N FLANNEL-FWD",
    ] {
        run(&bed.node, command);
    }
    let removed = bed.node.within(|| remove_flannels(&mut nft)).unwrap().unwrap();
    assert_eq!(removed.len(), 5, "{removed:?}");
    let left = run(&bed.node, "nft list tables")
        + &run(&bed.node, "iptables-nft-save")
        + &run(&bed.node, "ip6tables-nft-save");
    assert!(!left.contains("FLANNEL") && !left.contains("flannel-ipv"), "{left}");
    assert!(left.contains("table ip flannel-of-others") && left.contains("-s 172.17.0.0/16 -j MASQUERADE"), "{left}");
    assert!(bed.node.within(|| remove_flannels(&mut nft)).unwrap().unwrap().is_empty());
}

#[test]
fn iptables_legacy_is_served_at_the_start_and_freed_of_flannels_chains() {
    let Some(bed) = Bed::new() else { return };
    let probe = || Command::new("iptables-legacy").args(["-S"]).output().is_ok_and(|output| output.status.success());
    if !bed.node.within(probe).unwrap() {
        assert!(std::env::var_os("CNI_TEST_REQUIRE").is_none_or(|v| v != "all"), "needs iptables-legacy");
        return println!("SKIP overlayd masquerade: this kernel or machine has no iptables-legacy");
    }
    let mut nft = bed.nft();
    for command in ["-P FORWARD DROP", "-N FLANNEL-FWD", "-A FORWARD -j FLANNEL-FWD", "-A FORWARD -p udp -j REJECT"] {
        run(&bed.node, &format!("iptables-legacy {command}"));
    }
    assert!(seen(&bed.pod, &bed.outside, OUTSIDE[0], 80, IMPATIENCE).is_none());
    bed.ensure(&mut masquerade(&[]), &mut nft);
    // Once more, by a daemon that was started again.
    bed.ensure(&mut masquerade(&[]), &mut nft);
    assert_eq!(seen(&bed.pod, &bed.outside, OUTSIDE[0], 80, PATIENCE).as_deref(), Some(NODE[0]));
    let removed = bed.node.within(|| remove_flannels(&mut nft)).unwrap().unwrap();
    assert_eq!(removed, ["chain FLANNEL-FWD in table filter of iptables-legacy"]);
    let saved = || run(&bed.node, "iptables-legacy-save -t filter");
    assert_eq!(saved().matches("OVERLAYD-FWD").count(), 4, "{}", saved());
    bed.node.within(|| remove(&mut nft)).unwrap().unwrap();
    assert!(!saved().contains("OVERLAYD") && saved().contains("-A FORWARD -p udp -j REJECT"), "{}", saved());
}
