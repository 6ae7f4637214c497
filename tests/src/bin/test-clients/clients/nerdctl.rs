//! nerdctl on containerd: networks that it makes itself, plugins called by a hook of runc, compose.

mod program;

use std::net::Ipv4Addr;
use std::time::Duration;

use ferrule_tests::containerd;
use ferrule_tests::http::page_within;
use ferrule_tests::image::{self, IMAGE, SERVE};
use serde_json::json;

use super::docker_cli::{DockerCli as _, PORT};
use crate::calls::{Call, told};
use crate::machine::{Machine, assert_serves, json};
use crate::options::Options;
use crate::report::{Outcome, Report};
use program::Nerdctl;

/// Where nerdctl keeps what is its own, but for what is containerd's.
const OWNED: [&str; 2] = ["/run/nerdctl", "/var/lib/nerdctl"];
/// The plugins of a network as nerdctl makes it.
const CHAIN: [&str; 4] = ["bridge", "portmap", "firewall", "tuning"];
/// Who is on the node's uplink, in a subnet that is not the node's.
const LAN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The port of the node that leads to port 80 of a container of compose.
const COMPOSED_PORT: u16 = 8087;

pub(super) fn run(machine: &Machine, options: &Options, report: &mut Report) {
    let mut nerdctl = Nerdctl::new(machine, options);
    if !report.check("runs, on containerd 1.6", || nerdctl.starts()) {
        return;
    }
    report.check("the network that is there without being made", || nerdctl.default_network());
    if !report.check("network create, inspect, list", || nerdctl.network_create()) {
        return;
    }
    if report.check("run -p: from outside, node, 127.0.0.1", || nerdctl.publishes()) {
        report.check("each call is as nerdctl makes it: DEL, ADD", || nerdctl.calls_of("web"));
        report.check("fixed address and MAC address", || nerdctl.fixed());
        report.check("networks do not reach each other; who is on both does", || nerdctl.two_networks());
        report.check("our doctor and GC know who is alive", || machine.living_are_known());
        report.check("stop and start", || nerdctl.stop_and_start());
    }
    report.check("enable_icc=false: containers do not reach each other", || nerdctl.isolated());
    report.check("internal network: no way out", || nerdctl.internal());
    report.check("IPv6", || nerdctl.ipv6());
    report.check("macvlan network", || nerdctl.beside_the_node());
    report.check("compose up, down", || nerdctl.compose());
    report.check("a container that is killed leaves nothing", || nerdctl.killed());
    report.check("rm, network rm: DEL without namespace", || nerdctl.removal());
    report.check("in the end nothing is left", || {
        nerdctl.containerd.stop();
        machine.assert_nothing_left(&[&OWNED[..], &containerd::OWNED[..]].concat());
        Ok(())
    });
}

impl Nerdctl<'_> {
    fn starts(&mut self) -> Outcome {
        self.containerd.start();
        let image = image::make(&self.machine.dir);
        self.call(&format!("load --quiet --input {}", image.display()));
        Ok(())
    }

    fn default_network(&self) -> Outcome {
        self.serve("first", "--network bridge");
        self.serve("second", "--network bridge");
        assert_serves(&self.place("first"), self.addresses("second", "eth0")[0], 80, "second");
        assert!(self.place("first").ping(self.machine.node.outside_address()), "first does not reach the outside");
        self.call("rm --force first second");
        Ok(())
    }

    /// nerdctl runs `firewall` to see its version, and warns if that is older than what isolates networks.
    fn network_create(&self) -> Outcome {
        let mut command = self.command(&["network", "create", "--subnet", "10.89.7.0/24", "front"]);
        let output = self.machine.node.host.run(|| command.output()).expect("nerdctl");
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "network create: {warnings}");
        self.call("network create --subnet 10.89.8.0/24 back");
        let front = &json(&self.call("network inspect front"))[0];
        assert_eq!(front["IPAM"]["Config"], json!([{"Subnet": "10.89.7.0/24", "Gateway": "10.89.7.1"}]), "{front}");
        let mut names = self.networks();
        names.sort();
        assert_eq!(names, ["back", "front"]);
        Ok(())
    }

    fn publishes(&self) -> Outcome {
        self.serve("web", &format!("--network front -p {PORT}:80"));
        self.assert_published();
        Ok(())
    }

    /// Before it attaches, what may be there of a former start is removed, without a namespace.
    fn calls_of(&self, container: &str) -> Outcome {
        let calls = self.machine.calls.of_container(&self.cni_id(container));
        let (dels, adds): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|call| call.verb() == "DEL");
        let plugins = |calls: &[&Call]| calls.iter().map(|call| call.plugin.clone()).collect::<Vec<_>>();
        assert_eq!(plugins(&adds), CHAIN, "{}", told(&calls));
        assert!(adds.iter().all(|call| call.verb() == "ADD" && call.succeeded()), "{}", told(&calls));
        assert!(adds.iter().all(|call| call.variable("CNI_ARGS").contains("NERDCTL_CNI_DHCP_HOSTNAME=web")));
        let ports = &adds[1].stdin["runtimeConfig"]["portMappings"];
        let expected = json!([{"HostPort": PORT, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "0.0.0.0"}]);
        assert_eq!(*ports, expected);
        let reversed: Vec<&str> = CHAIN.into_iter().rev().collect();
        assert_eq!(plugins(&dels), reversed, "{}", told(&calls));
        assert!(dels.iter().all(|call| call.variable("CNI_NETNS").is_empty() && call.succeeded()), "{}", told(&calls));
        Ok(())
    }

    fn two_networks(&self) -> Outcome {
        self.serve("store", "--network back");
        let [store, web] = ["store", "web"].map(|name| self.addresses(name, "eth0")[0]);
        assert!(self.place("web").is_unreachable(store), "web on front reaches store on back");
        self.serve("both", "--network front --network back");
        assert_serves(&self.place("both"), store, 80, "store");
        assert_serves(&self.place("both"), web, 80, "web");
        assert_serves(&self.place("store"), self.addresses("both", "eth1")[0], 80, "both");
        Ok(())
    }

    fn stop_and_start(&self) -> Outcome {
        self.call("stop --time 0 web");
        let node = &self.machine.node;
        // nerdctl itself holds the port until `start` or `rm`, and does not answer.
        let silent = page_within(Duration::from_secs(1), &node.outside, node.address(), PORT);
        assert!(silent.is_err(), "a published port of a stopped container");
        let adds = self.machine.calls.of("ADD", &self.cni_id("web")).len();
        self.start_again();
        assert_eq!(self.machine.calls.of("ADD", &self.cni_id("web")).len(), adds + CHAIN.len());
        Ok(())
    }

    /// Only a `firewall` that is new enough gets the policy `isolated`.
    fn isolated(&self) -> Outcome {
        self.call("network create --subnet 10.89.10.0/24 -o com.docker.network.bridge.enable_icc=false apart");
        self.serve("one", "--network apart");
        self.serve("other", "--network apart");
        let (one, other) = (self.place("one"), self.addresses("other", "eth0")[0]);
        assert!(one.is_unreachable(other), "one reaches {other}");
        assert!(one.ping(self.machine.node.outside_address()), "one does not reach the outside");
        Ok(())
    }

    fn internal(&self) -> Outcome {
        self.call("network create --subnet 10.89.11.0/24 --internal inner");
        self.serve("left", "--network inner");
        self.serve("right", "--network inner");
        assert_serves(&self.place("left"), self.addresses("right", "eth0")[0], 80, "right");
        let outside = self.machine.node.outside_address();
        assert!(self.place("left").is_unreachable(outside), "left reaches {outside}");
        Ok(())
    }

    /// Ports are published by IPv4 alone: containers have no way out by IPv6.
    fn ipv6(&self) -> Outcome {
        self.reach_by_ipv6("-p 8086:80");
        let node = &self.machine.node;
        assert_serves(&node.outside, node.address(), 8086, "six");
        self.serve("eight", "--network dual --ip6 fd89:9::88");
        assert!(self.addresses("eight", "eth0").contains(&"fd89:9::88".parse().expect("an address")));
        Ok(())
    }

    /// nerdctl makes no network in a subnet of the node's.
    fn beside_the_node(&self) -> Outcome {
        let outside = &self.machine.node.outside;
        outside.sh(&format!("ip address add {LAN}/24 dev uplink"));
        let outcome = self.macvlan(LAN);
        outside.sh(&format!("ip address delete {LAN}/24 dev uplink"));
        outcome
    }

    /// Two services, on a network that compose makes, know each other by name.
    fn compose(&self) -> Outcome {
        // What is a variable to the shell is none of compose's.
        let command = SERVE.map(|argument| argument.replace('$', "$$"));
        let service = |ports: &[String]| json!({"image": IMAGE, "entrypoint": command, "pull_policy": "never", "ports": ports, "stop_signal": "SIGKILL"});
        let services = json!({"ping": service(&[format!("{COMPOSED_PORT}:80")]), "pong": service(&[])});
        let file = self.machine.write("compose.yaml", &json!({"name": "pair", "services": services}).to_string());
        let compose = format!("compose --file {}", file.display());
        self.call(&format!("{compose} up --detach"));
        assert!(self.networks().iter().any(|name| name == "pair_default"), "{:?}", self.networks());
        for (from, to) in [("ping", "pong"), ("pong", "ping")] {
            self.wait_for_server(&format!("pair-{to}-1"));
            let page = self.call(&format!("exec pair-{from}-1 /bin/busybox wget -q -O - http://{to}/"));
            assert_eq!(page, self.call(&format!("exec pair-{to}-1 /bin/busybox hostname")));
        }
        let node = &self.machine.node;
        let ping = self.call("exec pair-ping-1 /bin/busybox hostname");
        assert_serves(&node.outside, node.address(), COMPOSED_PORT, &ping);
        self.call(&format!("{compose} down"));
        assert!(node.outside.is_closed_tcp(node.address(), COMPOSED_PORT), "a published port after compose down");
        assert!(!self.networks().iter().any(|name| name == "pair_default"), "{:?}", self.networks());
        Ok(())
    }

    /// As by the kernel when memory is short.
    fn killed(&self) -> Outcome {
        self.serve("victim", "--network front");
        let (id, pid) = (self.cni_id("victim"), self.call("inspect --format {{.State.Pid}} victim"));
        self.machine.node.host.sh(&format!("kill -9 {pid}"));
        self.call("rm --force victim");
        let dels = self.machine.calls.of("DEL", &id);
        assert_eq!(dels.iter().filter(|call| call.succeeded()).count(), 2 * CHAIN.len(), "{}", told(&dels));
        Ok(())
    }

    fn removal(&self) -> Outcome {
        for container in self.call("ps --all --quiet").lines() {
            self.call(&format!("rm --force {container}"));
        }
        for network in self.networks() {
            self.call(&format!("network rm {network}"));
            assert_eq!(self.machine.reserved(&network), 0, "addresses of {network}");
        }
        let calls = self.machine.calls.all();
        let failed: Vec<Call> = calls.into_iter().filter(|call| !call.succeeded()).collect();
        assert!(failed.is_empty(), "{}", told(&failed));
        Ok(())
    }
}
