//! Packets between the containers of several nodes, by each way that the kernel of every machine has: VXLAN in both
//! programmings, plain routes, both mixed, both families; and nodes that come and go meanwhile.

use std::net::IpAddr;

use ferrule_tests::Process;
use serde_json::{Value, json};

use crate::cluster::{Cluster, assert_all_reach, wait_until};
use crate::look::Tunnels;
use crate::machine::{Machine, Pod};

const DUAL_STACK: [(&str, &str); 2] = [("IPv6Network", "fd42::/56"), ("Network", "10.42.0.0/16")];

/// A cluster's network with both families and this backend.
fn dual_stack(backend: &Value) -> Value {
    let mut network = json!({"EnableIPv6": true, "Backend": backend});
    for (key, value) in DUAL_STACK {
        network[key] = json!(value);
    }
    network
}

fn ipv4(backend: &Value) -> Value {
    json!({"Network": "10.42.0.0/16", "Backend": backend})
}

/// Nodes with a daemon and a container each.
struct Nodes {
    pods: Vec<Pod>,
    daemons: Vec<Process>,
    machines: Vec<Machine>,
    cluster: Cluster,
    configuration: Value,
}

impl Nodes {
    /// `None`, with a printed SKIP, outside the sandbox.
    fn start(count: u8, network: &Value) -> Option<Self> {
        let cluster = Cluster::start()?;
        let configuration = cluster.configuration(network);
        let mut nodes = Self { pods: Vec::new(), daemons: Vec::new(), machines: Vec::new(), cluster, configuration };
        for number in 1..=count {
            nodes.boot(number);
        }
        nodes.attach();
        Some(nodes)
    }

    fn boot(&mut self, number: u8) {
        let machine = self.cluster.machine(number);
        self.daemons.push(machine.overlayd(&self.configuration));
        self.machines.push(machine);
    }

    /// Each node gets a container when it says that it is ready.
    fn attach(&mut self) {
        for machine in &self.machines[self.pods.len()..] {
            wait_until(&format!("{} is ready", machine.name), || machine.is_ready());
            self.pods.push(machine.attach("pod"));
        }
    }

    fn assert_all_reach(&self) {
        for machine in &self.machines {
            wait_until(&format!("{} reaches all", machine.name), || {
                machine.agrees() && machine.peers() == self.machines.len() - 1
            });
        }
        assert_all_reach(&self.pods.iter().collect::<Vec<_>>());
    }
}

#[test]
fn vxlan_in_both_programmings() {
    let Some(mut nodes) = Nodes::start(0, &ipv4(&json!({"Type": "vxlan"}))) else { return };
    for (number, programming) in [(1, "neighbours"), (2, "nexthops"), (3, "nexthops"), (4, "neighbours")] {
        nodes.configuration["kernel"] = json!({"programming": programming});
        nodes.boot(number);
    }
    nodes.attach();
    nodes.assert_all_reach();
    let macs: Vec<String> = nodes.machines.iter().map(|machine| machine.mac("flannel.1")).collect();
    for (number, machine) in nodes.machines.iter().enumerate() {
        let tunnels = Tunnels::of(&machine.place);
        assert!(tunnels.strange.is_empty(), "{tunnels:?}");
        let mut others: Vec<(String, String)> = tunnels.ways.into_values().collect();
        others.sort_by(|(_, one), (_, two)| one.cmp(two));
        let mut expected: Vec<(String, String)> = macs.iter().cloned().zip(addresses(&nodes.machines)).collect();
        expected.remove(number);
        assert_eq!(others, expected, "{}", machine.name);
        let by_objects = machine.sh("ip nexthop show proto 79").lines().count();
        assert_eq!(by_objects, if [1, 2].contains(&number) { 3 } else { 0 }, "{}", machine.name);
    }
    // Whole segments and many of them, in all four directions of programming.
    for (from, to) in [(0, 1), (1, 0), (1, 2), (0, 3)] {
        transfer(&nodes.pods[from], &nodes.pods[to], &nodes);
    }
}

fn addresses(machines: &[Machine]) -> Vec<String> {
    machines.iter().map(|machine| machine.address.to_string()).collect()
}

/// Some megabytes over TCP, of which nothing may be missing.
#[track_caller]
fn transfer(from: &Pod, to: &Pod, nodes: &Nodes) {
    const BYTES: usize = 8 << 20;
    let dir = nodes.cluster.dir();
    let file = dir.join("received");
    std::fs::write(dir.join("sent"), "0123456789abcdef".repeat(BYTES / 16)).expect("file");
    let receive = format!("socat -u TCP-LISTEN:9000,reuseaddr CREATE:{}", file.display());
    let send = format!("socat -u OPEN:{} TCP:{}:9000,retry=100,interval=0.05", dir.join("sent").display(), to.ips[0]);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| to.place.sh(&receive));
        from.place.sh(&send);
        receiver.join().expect("receiver");
    });
    let same = std::fs::read(dir.join("sent")).expect("sent") == std::fs::read(&file).expect("received");
    assert!(same, "from {} to {}", from.place.name, to.place.name);
    std::fs::remove_file(file).expect("received");
}

#[test]
fn what_fits_through_the_tunnel_and_what_does_not() {
    let Some(nodes) = Nodes::start(2, &dual_stack(&json!({"Type": "vxlan"}))) else { return };
    nodes.assert_all_reach();
    // One MTU for a node: what fits through both tunnels, 1500 - 50 and 1500 - 70 bytes.
    let subnet = std::fs::read_to_string(nodes.machines[0].path("/run/flannel/subnet.env")).expect("subnet file");
    let mtu: u32 = value(&subnet, "FLANNEL_MTU").parse().expect("a number");
    assert_eq!(mtu, 1430, "{subnet}");
    assert_fits(&nodes, mtu);
}

#[test]
fn pings_that_fill_the_mtu_pass() {
    let Some(nodes) = Nodes::start(2, &ipv4(&json!({"Type": "vxlan"}))) else { return };
    nodes.assert_all_reach();
    assert_fits(&nodes, 1450);
}

/// Pings that fill `mtu` arrive in one piece; one byte more is refused.
fn assert_fits(nodes: &Nodes, mtu: u32) {
    for ip in &nodes.pods[1].ips {
        // IP and ICMP headers.
        let payload = mtu - if ip.is_ipv4() { 28 } else { 48 };
        let ping = |bytes: u32| nodes.pods[0].place.try_sh(&format!("ping -n -c 3 -i 0.2 -W 5 -M do -s {bytes} {ip}"));
        assert!(ping(payload).is_ok(), "{payload} bytes to {ip}");
        assert!(ping(payload + 1).is_err(), "{} bytes to {ip}", payload + 1);
    }
}

/// A value of the subnet file.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_else(|| panic!("{key} in {text}"))
}

#[test]
fn dual_stack_by_vxlan_and_by_plain_routes() {
    for backend in
        [json!({"Type": "vxlan"}), json!({"Type": "host-gw"}), json!({"Type": "vxlan", "DirectRouting": true})]
    {
        let Some(nodes) = Nodes::start(2, &dual_stack(&backend)) else { return };
        assert_eq!(nodes.pods[0].ips.len(), 2, "{:?}", nodes.pods[0].ips);
        nodes.assert_all_reach();
        let machine = &nodes.machines[0];
        let is_tunnelled = backend == json!({"Type": "vxlan"});
        for (family, ip) in [("-4", nodes.pods[1].ips[0]), ("-6", nodes.pods[1].ips[1])] {
            let route = machine.sh(&format!("ip {family} route show proto 79"));
            assert_eq!(route.lines().count(), 1, "{route}");
            let gateway: IpAddr =
                if ip.is_ipv4() { nodes.machines[1].address.into() } else { nodes.machines[1].address_v6.into() };
            assert_eq!(route.contains(&format!("via {gateway} dev eth0")), !is_tunnelled, "{backend}: {route}");
        }
        if is_tunnelled {
            assert_eq!(Tunnels::of_v6(&machine.place).ways.len(), 1);
        }
        if backend["Type"] == "host-gw" {
            assert!(machine.place.find_link("flannel.1").is_none());
        }
    }
}

#[test]
fn direct_routing_is_for_the_own_segment_only() {
    let Some(mut nodes) = Nodes::start(2, &ipv4(&json!({"Type": "vxlan", "DirectRouting": true}))) else { return };
    // A third node behind a router: the switch.
    let far = nodes.cluster.machine_behind(3);
    nodes.daemons.push(far.overlayd(&nodes.configuration));
    nodes.machines.push(far);
    nodes.attach();
    nodes.assert_all_reach();
    let routes = |number: usize| nodes.machines[number].sh("ip route show proto 79");
    assert_eq!(routes(0).matches("dev eth0").count(), 1, "{}", routes(0));
    assert_eq!(Tunnels::of(&nodes.machines[0].place).ways.len(), 1, "{}", routes(0));
    assert_eq!(Tunnels::of(&nodes.machines[2].place).ways.len(), 2, "{}", routes(2));
}

#[test]
fn nodes_come_and_go_while_others_ping() {
    let Some(mut nodes) = Nodes::start(2, &ipv4(&json!({"Type": "vxlan"}))) else { return };
    nodes.assert_all_reach();
    let ping = format!("ping -n -q -i 0.02 -W 10 {}", nodes.pods[1].ips[0]);
    let pinging = nodes.machines[0].start_in_pod(&nodes.pods[0], &ping);
    nodes.boot(3);
    nodes.attach();
    nodes.assert_all_reach();
    // A daemon that is stopped and started again leaves the kernel as it is meanwhile.
    let daemon = nodes.daemons.remove(1);
    assert_eq!(daemon.stop(), Some(0));
    nodes.daemons.insert(1, nodes.machines[1].overlayd(&nodes.configuration));
    wait_until("it is ready again", || nodes.machines[1].is_ready());
    // The third goes, and is forgotten by all.
    let (daemon, pod) = (nodes.daemons.pop().expect("a daemon"), nodes.pods.pop().expect("a container"));
    nodes.machines[2].detach(&pod);
    assert_eq!(daemon.stop(), Some(0));
    let config = nodes.machines[2].dir.join("overlayd.toml");
    let overlayd = nodes.machines[2].binary("overlayd");
    nodes.machines[2].sh(&format!("{} cleanup --store --config {}", overlayd.display(), config.display()));
    assert!(nodes.machines[2].place.find_link("flannel.1").is_none());
    drop(nodes.machines.pop());
    nodes.assert_all_reach();
    for machine in &nodes.machines {
        assert_eq!(Tunnels::of(&machine.place).ways.len(), 1, "{}", machine.name);
    }
    pinging.signal(nix::sys::signal::Signal::SIGINT);
    let log = pinging.log_when_ended();
    assert!(log.contains(" 0% packet loss"), "{log}");
}
