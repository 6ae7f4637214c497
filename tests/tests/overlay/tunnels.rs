//! The backends `ipip`, `wireguard` and `udp`: packets between containers of two nodes, a third that comes and goes, and what
//! somebody else breaks.

use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::thread::JoinHandle;

use ferrule_tests::{Feature, Process, require};
use serde_json::{Value, json};

use crate::cluster::{Cluster, assert_all_reach, wait_until};
use crate::machine::{Machine, Pod};

/// A cluster with two nodes, and a container on each.
struct Pair {
    daemons: Vec<Process>,
    pods: Vec<Pod>,
    machines: Vec<Machine>,
    configuration: Value,
    cluster: Cluster,
}

impl Pair {
    fn start(network: &Value) -> Option<Self> {
        let cluster = Cluster::start()?;
        let configuration = cluster.configuration(network);
        let machines = cluster.machines(2);
        let daemons: Vec<_> = machines.iter().map(|machine| machine.overlayd(&configuration)).collect();
        let pods = machines.iter().map(pod).collect();
        Some(Self { daemons, pods, machines, configuration, cluster })
    }

    /// The containers reach each other, sooner or later.
    #[track_caller]
    fn connects(&self) {
        let [a, b] = &self.pods[..] else { unreachable!() };
        for (from, to) in [(a, b), (b, a)] {
            for ip in &to.ips {
                wait_until(&format!("{} reaches {ip}", from.place.name), || from.place.ping(*ip));
            }
        }
    }

    /// A third node comes, is reached, and goes.
    fn grows_and_shrinks(&self) {
        let machine = self.cluster.machine(3);
        let daemon = machine.overlayd(&self.configuration);
        let third = pod(&machine);
        let subnet = subnet_of(&third);
        let one = &self.machines[0];
        for other in &self.pods {
            wait_until("the new node is reached", || third.place.ping(other.ips[0]) && other.place.ping(third.ips[0]));
        }
        drop(daemon);
        for file in std::fs::read_dir(self.cluster.nodes()).expect("nodes").map(|entry| entry.expect("node").path()) {
            if file.file_stem().is_some_and(|name| name == "node3") {
                std::fs::remove_file(file).expect("node3");
            }
        }
        wait_until("the node that left is forgotten", || !one.sh("ip route show proto 79").contains(&subnet));
        assert_all_reach(&self.pods.iter().collect::<Vec<_>>());
    }
}

/// A container on the machine, once that has a subnet.
fn pod(machine: &Machine) -> Pod {
    let subnet_file = machine.path("/run/flannel/subnet.env");
    wait_until("subnet file", || subnet_file.exists());
    machine.attach("web")
}

/// `10.42.7.` of a container's address.
fn subnet_of(pod: &Pod) -> String {
    let address = pod.ips[0].to_string();
    let (subnet, _) = address.rsplit_once('.').expect("an IPv4 address");
    format!("{subnet}.")
}

fn mtu(machine: &Machine, link: &str) -> Value {
    let shown: Value = serde_json::from_str(&machine.sh(&format!("ip -j link show {link}"))).expect("JSON");
    shown[0]["mtu"].clone()
}

fn link_is_up(machine: &Machine, link: &str) -> bool {
    machine.run(&format!("ip link show {link} up")).is_ok_and(|shown| !shown.is_empty())
}

#[test]
fn ip_in_ip_connects_containers_and_is_repaired() {
    if !require(Feature::Ipip) {
        return;
    }
    let network = json!({"Network": "10.42.0.0/16", "Backend": {"Type": "ipip"}});
    let Some(pair) = Pair::start(&network) else { return };
    pair.connects();
    let [one, two] = &pair.machines[..] else { unreachable!() };
    assert_eq!(mtu(one, "flannel.ipip"), 1480);
    let route = format!("via {} dev flannel.ipip onlink", two.address);
    assert!(one.sh("ip route show proto 79").contains(&route), "{}", one.sh("ip route show"));
    // The whole link, with the routes by it.
    one.sh("ip link delete flannel.ipip");
    wait_until("the link is there again", || link_is_up(one, "flannel.ipip"));
    pair.connects();
    one.sh("ip route flush proto 79");
    wait_until("the route is there again", || one.sh("ip route show proto 79").contains(&route));
    pair.connects();
    pair.grows_and_shrinks();
}

#[test]
fn ip_in_ip_is_left_out_on_one_segment_where_that_is_wished() {
    if !require(Feature::Ipip) {
        return;
    }
    let network = json!({"Network": "10.42.0.0/16", "Backend": {"Type": "ipip", "DirectRouting": true}});
    let Some(pair) = Pair::start(&network) else { return };
    pair.connects();
    let [one, two] = &pair.machines[..] else { unreachable!() };
    let routes = one.sh("ip route show proto 79");
    assert!(routes.contains(&format!("via {} dev eth0", two.address)) && !routes.contains("ipip"), "{routes}");
}

#[test]
fn wireguard_connects_both_families_with_one_key_for_each_node() {
    if !require(Feature::WireGuard) {
        return;
    }
    let psk = "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=";
    let network = json!({
        "Network": "10.42.0.0/16", "EnableIPv6": true, "IPv6Network": "fd42::/56",
        "Backend": {"Type": "wireguard", "PSK": psk, "PersistentKeepaliveInterval": 25},
    });
    let Some(mut pair) = Pair::start(&network) else { return };
    pair.connects();
    let [one, two] = &pair.machines[..] else { unreachable!() };
    assert_eq!((mtu(one, "flannel-wg"), mtu(one, "flannel-wg-v6")), (1420.into(), 1420.into()));
    let key = one.sh("wg show flannel-wg public-key");
    assert_eq!(key, one.sh("wg show flannel-wg-v6 public-key"));
    let file = one.path("/var/lib/overlayd/wireguard.key");
    assert_eq!(std::fs::metadata(file).expect("key").permissions().mode() & 0o777, 0o600);
    let peer = one.sh("wg show flannel-wg dump");
    let subnet = subnet_of(&pair.pods[1]);
    let expected = format!("\t{psk}\t{}:51820\t{subnet}0/24\t", two.address);
    assert!(peer.contains(&expected) && peer.trim_end().ends_with("\t25"), "{peer}");
    assert!(one.sh("wg show flannel-wg-v6 dump").contains(&format!("[{}]:51821\tfd42:", two.address_v6)));
    assert!(one.sh("ip route show proto 79").starts_with("10.42.0.0/16 dev flannel-wg scope link"));
    // Somebody removes a peer, adds another, and changes a third thing: the next look puts it right.
    let theirs = two.sh("wg show flannel-wg public-key");
    one.sh(&format!("wg set flannel-wg peer {} remove", theirs.trim()));
    one.sh("wg set flannel-wg-v6 peer BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= allowed-ips fd42::/56");
    one.sh("ip route flush proto 79");
    wait_until("the peers are right again", || {
        one.sh("wg show flannel-wg dump").contains(&expected) && !one.sh("wg show all peers").contains("BwcHBw")
    });
    pair.connects();
    one.sh("ip link delete flannel-wg");
    wait_until("the link is there again", || link_is_up(one, "flannel-wg"));
    assert_eq!(one.sh("wg show flannel-wg public-key"), key);
    pair.connects();
    // A restart keeps the key, and the connections.
    pair.daemons.remove(0);
    pair.connects();
    pair.daemons.push(one.overlayd(&pair.configuration));
    wait_until("it is ready again", || one.cnitool("overlay status").is_ok());
    assert_eq!(one.sh("wg show flannel-wg public-key"), key);
    pair.connects();
    pair.grows_and_shrinks();
}

/// A node, on the switch, that knows no more than what travels between the nodes of flannel's backend `udp`: IP packets as
/// they are, from port 8285 to port 8285. All containers of its subnet answer to pings.
struct Echo {
    pod: IpAddr,
    socket: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(cluster: &Cluster) -> Self {
        let place = &cluster.switch.place;
        let socket = place.run(|| UdpSocket::bind((cluster.switch.address, 8285))).expect("socket");
        let node = format!("subnets = [\"10.42.250.0/24\"]\nipv4 = \"{}\"\n", cluster.switch.address);
        std::fs::write(cluster.nodes().join("echo.toml"), node).expect("node");
        let answering = socket.try_clone().expect("socket");
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            // An empty one is the end.
            while let Ok((length @ 1.., from)) = answering.recv_from(&mut buffer) {
                assert_eq!((buffer[0], from.port()), (0x45, 8285), "an IPv4 header comes first");
                answering.send_to(answer(&mut buffer[..length]), from).expect("send");
            }
        });
        Self { pod: [10, 42, 250, 9].into(), socket, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.socket.send_to(&[], self.socket.local_addr().expect("address"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes the answer of an echo request: source and destination change places; the type is 0, not 8, by which the checksum
/// is greater.
fn answer(packet: &mut [u8]) -> &[u8] {
    let (addresses, icmp) = packet[12..].split_at_mut(8);
    addresses.rotate_left(4);
    icmp[0] = 0;
    let sum = u32::from(u16::from_be_bytes([icmp[2], icmp[3]])) + 0x0800;
    icmp[2..4].copy_from_slice(&u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a sum").to_be_bytes());
    packet
}

#[test]
fn udp_connects_containers_by_a_program_and_is_repaired() {
    if !std::path::Path::new("/dev/net/tun").exists() {
        return ferrule_tests::skip("no /dev/net/tun");
    }
    let network = json!({"Network": "10.42.0.0/16", "Backend": {"Type": "udp"}});
    let Some(mut pair) = Pair::start(&network) else { return };
    pair.connects();
    let [one, _] = &pair.machines[..] else { unreachable!() };
    assert_eq!(mtu(one, "flannel0"), 1472);
    assert!(one.sh("ss -Hlun").contains(&format!("{}:8285", one.address)));
    let route = format!("{}0/24 dev flannel0 scope link", subnet_of(&pair.pods[1]));
    assert!(one.sh("ip route show proto 79").contains(&route), "{}", one.sh("ip route show"));
    // The largest packet passes in one piece.
    let large = format!("ping -c 1 -W 10 -M do -s 1444 {}", pair.pods[1].ips[0]);
    pair.pods[0].place.sh(&large);
    let echo = Echo::start(&pair.cluster);
    wait_until("a node that is no overlayd is reached", || pair.pods[0].place.ping(echo.pod));
    drop(echo);
    one.sh("ip link delete flannel0");
    wait_until("the link is there again", || link_is_up(one, "flannel0"));
    pair.connects();
    one.sh("ip route flush proto 79");
    wait_until("the route is there again", || one.sh("ip route show proto 79").contains(&route));
    pair.connects();
    pair.grows_and_shrinks();
    pair.daemons.clear();
    assert!(!link_is_up(one, "flannel0"), "the device goes with its process");
}
