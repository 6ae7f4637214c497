//! podman with the CNI backend: networks that it makes itself, containers on one or several of them.

mod program;

use std::net::Ipv4Addr;
use std::time::Duration;

use ferrule_tests::http::page_within;
use ferrule_tests::image;

use super::docker_cli::{DockerCli as _, PORT};
use crate::machine::{Machine, assert_serves, json};
use crate::options::Options;
use crate::report::{Outcome, Report};
pub(super) use program::Podman;

/// Where podman keeps what is its own.
pub(super) const OWNED: [&str; 5] =
    ["/run/containers", "/var/lib/containers", "/run/libpod", "/run/runc", "/var/lib/cni/cache/.lock"];
/// Who is on the node's uplink.
const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The plugins of a network as podman makes it.
const CHAIN: [&str; 4] = ["bridge", "portmap", "firewall", "tuning"];

pub(super) fn run(machine: &Machine, _options: &Options, report: &mut Report) {
    let podman = Podman::new(machine);
    if !report.check("runs, with the CNI backend", || podman.starts()) {
        return;
    }
    if !report.check("network create, inspect, list", || podman.network_create()) {
        return;
    }
    if report.check("run -p: from outside, node, 127.0.0.1", || podman.publishes()) {
        report.check("fixed address and MAC address", || podman.fixed());
        report.check("network connect, disconnect", || podman.second_network());
        report.check("our doctor and GC know who is alive", || machine.living_are_known());
        report.check("network reload after the rules are lost", || podman.reload());
        report.check("stop and start", || podman.stop_and_start());
    }
    report.check("IPv6", || podman.ipv6());
    report.check("macvlan network", || podman.macvlan(UPLINK));
    report.check("rm, network rm", || podman.removal());
    report.check("in the end nothing is left", || {
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
}

impl Podman<'_> {
    fn starts(&self) -> Outcome {
        let backend = self.call("info --format {{.Host.NetworkBackend}}");
        assert_eq!(backend, "cni");
        let image = image::make(&self.machine.dir);
        self.call(&format!("load --quiet --input {}", image.display()));
        Ok(())
    }

    /// podman asks the version of each plugin, and writes a conflist of 0.4.0.
    fn network_create(&self) -> Outcome {
        self.call("network create --subnet 10.89.7.0/24 front");
        self.call("network create --subnet 10.89.8.0/24 back");
        let front = &json(&self.call("network inspect front"))[0];
        assert_eq!(front["subnets"][0]["subnet"], "10.89.7.0/24", "{front}");
        let names = self.networks();
        assert!(["front", "back"].iter().all(|name| names.iter().any(|made| made == name)), "{names:?}");
        Ok(())
    }

    fn publishes(&self) -> Outcome {
        self.serve("web", &format!("--network front -p {PORT}:80"));
        let adds = self.machine.calls.of("ADD", &self.id("web"));
        let chain: Vec<&str> = adds.iter().map(|call| call.plugin.as_str()).collect();
        assert_eq!(chain, CHAIN);
        assert!(adds.iter().all(|call| call.succeeded() && call.stdin["cniVersion"] == "0.4.0"), "{adds:?}");
        self.assert_published();
        Ok(())
    }

    fn second_network(&self) -> Outcome {
        self.serve("store", "--network back");
        let store = self.addresses("store", "eth0")[0];
        self.call("network connect back web");
        assert_eq!(self.addresses("web", "eth1").len(), 1);
        assert_serves(&self.place("web"), store, 80, "store");
        assert_serves(&self.place("store"), self.addresses("web", "eth1")[0], 80, "web");
        self.call("network disconnect back web");
        assert!(self.place("web").find_link("eth1").is_none(), "eth1 after network disconnect");
        self.assert_published();
        Ok(())
    }

    /// As when somebody starts a firewall that flushes all rules.
    fn reload(&self) -> Outcome {
        let node = &self.machine.node;
        let before = self.addresses("web", "eth0");
        node.host.sh("nft flush ruleset");
        // podman itself holds the port, and does not answer.
        let silent = page_within(Duration::from_secs(1), &node.outside, node.address(), PORT);
        assert!(silent.is_err(), "a published port without rules");
        self.call("network reload web");
        assert_eq!(self.addresses("web", "eth0"), before);
        self.assert_published();
        Ok(())
    }

    fn stop_and_start(&self) -> Outcome {
        self.call("stop --time 0 web");
        let node = &self.machine.node;
        assert!(node.outside.is_closed_tcp(node.address(), PORT), "a published port of a stopped container");
        self.start_again();
        Ok(())
    }

    fn ipv6(&self) -> Outcome {
        self.reach_by_ipv6("-p 8086:80");
        let node = &self.machine.node;
        assert_serves(&node.outside, node.address_v6(), 8086, "six");
        assert_serves(&node.outside, node.address(), 8086, "six");
        Ok(())
    }

    fn removal(&self) -> Outcome {
        self.call("rm --all --force --time 0");
        for network in self.networks() {
            self.call(&format!("network rm {network}"));
        }
        let calls = self.machine.calls.all();
        let failed: Vec<_> = calls.iter().filter(|call| !call.succeeded()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        Ok(())
    }
}
