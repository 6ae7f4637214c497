//! podman with the CNI backend: networks that it makes itself, containers on one or several of them.

mod program;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ferrule_tests::http::{page, page_within};
use ferrule_tests::image::{self, IMAGE, SERVE};
use serde_json::Value;

use crate::machine::{Machine, assert_serves, json, wait_until};
use crate::options::Options;
use crate::report::{Outcome, Report, Skip};
pub(super) use program::Podman;

/// Where podman keeps what is its own.
const OWNED: [&str; 5] =
    ["/run/containers", "/var/lib/containers", "/run/libpod", "/run/runc", "/var/lib/cni/cache/.lock"];
/// The plugins of a network as podman makes it.
const CHAIN: [&str; 4] = ["bridge", "portmap", "firewall", "tuning"];
/// The port of the node that leads to port 80 of the container `web`.
const PORT: u16 = 8085;

pub(super) fn run(machine: &Machine, _options: &Options, report: &mut Report) {
    let podman = Podman::new(machine);
    if !report.check("runs, with the CNI backend", || podman.starts()) {
        return;
    }
    if !report.check("network create, inspect, list", || podman.networks()) {
        return;
    }
    if report.check("run -p: from outside, node, 127.0.0.1", || podman.publishes()) {
        report.check("fixed address and MAC address", || podman.fixed());
        report.check("network connect, disconnect", || podman.second_network());
        report.check("network reload after the rules are lost", || podman.reload());
        report.check("stop and start", || podman.stop_and_start());
    }
    report.check("IPv6", || podman.ipv6());
    report.check("macvlan network", || podman.macvlan());
    report.check("rm, network rm", || podman.removal());
    report.check("in the end nothing is left", || {
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
}

impl Podman<'_> {
    fn starts(&self) -> Outcome {
        let backend = self.podman("info --format {{.Host.NetworkBackend}}");
        assert_eq!(backend, "cni");
        let image = image::make(&self.machine.dir);
        self.podman(&format!("load --quiet --input {}", image.display()));
        Ok(())
    }

    /// podman asks the version of each plugin, and writes a conflist of 0.4.0.
    fn networks(&self) -> Outcome {
        self.podman("network create --subnet 10.89.7.0/24 front");
        self.podman("network create --subnet 10.89.8.0/24 back");
        let front = &json(&self.podman("network inspect front"))[0];
        assert_eq!(front["subnets"][0]["subnet"], "10.89.7.0/24", "{front}");
        let names = self.podman("network ls --format {{.Name}}");
        assert!(["front", "back"].iter().all(|name| names.lines().any(|line| line == *name)), "{names}");
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

    #[track_caller]
    fn assert_published(&self) {
        let node = &self.machine.node;
        assert_serves(&node.outside, node.address(), PORT, "web");
        assert_serves(&node.host, node.address(), PORT, "web");
        assert_serves(&node.host, Ipv4Addr::LOCALHOST.into(), PORT, "web");
    }

    fn fixed(&self) -> Outcome {
        let (ip, mac) = ("10.89.7.77", "02:00:5e:00:00:77");
        self.serve("fixed", &format!("--network front --ip {ip} --mac-address {mac}"));
        let link = self.place("fixed").find_link("eth0").expect("eth0");
        assert_eq!(link["address"], mac);
        assert_eq!(self.addresses("fixed", "eth0"), [ip.parse::<IpAddr>().expect("an address")]);
        assert_serves(&self.place("web"), ip.parse().expect("an address"), 80, "fixed");
        Ok(())
    }

    fn second_network(&self) -> Outcome {
        self.serve("store", "--network back");
        let store = self.addresses("store", "eth0")[0];
        self.podman("network connect back web");
        assert_eq!(self.addresses("web", "eth1").len(), 1);
        assert_serves(&self.place("web"), store, 80, "store");
        assert_serves(&self.place("store"), self.addresses("web", "eth1")[0], 80, "web");
        self.podman("network disconnect back web");
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
        self.podman("network reload web");
        assert_eq!(self.addresses("web", "eth0"), before);
        self.assert_published();
        Ok(())
    }

    fn stop_and_start(&self) -> Outcome {
        self.podman("stop --time 0 web");
        let node = &self.machine.node;
        assert!(node.outside.is_closed_tcp(node.address(), PORT), "a published port of a stopped container");
        self.podman("start web");
        self.wait_for_server("web");
        self.assert_published();
        Ok(())
    }

    fn ipv6(&self) -> Outcome {
        self.podman("network create --ipv6 --subnet 10.89.9.0/24 --subnet fd89:9::/64 dual");
        self.serve("six", "--network dual -p 8086:80");
        self.serve("seven", "--network dual");
        let address = self.addresses("six", "eth0").into_iter().find(IpAddr::is_ipv6).expect("an IPv6 address");
        assert!(self.place("seven").ping(address), "seven does not reach {address}");
        assert_serves(&self.place("seven"), address, 80, "six");
        let node = &self.machine.node;
        assert_serves(&node.outside, node.address_v6(), 8086, "six");
        assert_serves(&node.outside, node.address(), 8086, "six");
        Ok(())
    }

    fn macvlan(&self) -> Outcome {
        let node = &self.machine.node;
        if let Err(reason) = node.host.try_sh("ip link add probe link uplink type macvlan") {
            return Err(Skip(format!("the kernel lacks macvlan: {}", reason.trim())));
        }
        node.host.sh("ip link delete probe");
        let subnet = "--subnet 192.0.2.0/24 --gateway 192.0.2.1 --ip-range 192.0.2.64/26";
        self.podman(&format!("network create --driver macvlan -o parent=uplink {subnet} lan"));
        self.serve("neighbour", "--network lan");
        let place = self.place("neighbour");
        assert!(place.ping(node.outside_address()), "neighbour does not reach the outside");
        assert_serves(&node.outside, self.addresses("neighbour", "eth0")[0], 80, "neighbour");
        Ok(())
    }

    fn removal(&self) -> Outcome {
        self.podman("rm --all --force --time 0");
        for network in self.podman("network ls --format {{.Name}}").lines().filter(|name| *name != "podman") {
            self.podman(&format!("network rm {network}"));
        }
        let calls = self.machine.calls.all();
        let failed: Vec<_> = calls.iter().filter(|call| !call.succeeded()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        Ok(())
    }

    /// A container that serves its name.
    #[track_caller]
    fn serve(&self, name: &str, options: &str) {
        let mut arguments = vec!["run", "--detach", "--pull", "never", "--name", name, "--hostname", name];
        arguments.extend(options.split(' '));
        // The image's entry point is another program.
        arguments.extend(["--entrypoint", SERVE[0], IMAGE]);
        arguments.extend(&SERVE[1..]);
        self.run(&arguments).unwrap_or_else(|e| panic!("podman {arguments:?}: {e}"));
        self.wait_for_server(name);
    }

    fn wait_for_server(&self, name: &str) {
        let place = self.place(name);
        wait_until("the server answers", || page(&place, Ipv4Addr::LOCALHOST.into(), 80).is_ok());
    }

    /// The addresses of an interface of a container, without those that it gave itself.
    fn addresses(&self, container: &str, interface: &str) -> Vec<IpAddr> {
        let shown = self.place(container).json(&format!("ip -j address show dev {interface} scope global"));
        let addresses = shown[0]["addr_info"].as_array().into_iter().flatten().map(|address: &Value| &address["local"]);
        addresses.filter_map(|address| address.as_str()?.parse().ok()).collect()
    }
}
