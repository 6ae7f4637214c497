//! What podman and nerdctl have in common: docker's command line, and what is expected of containers that it makes.

use std::net::{IpAddr, Ipv4Addr};

use ferrule_tests::Place;
use ferrule_tests::http::page;
use ferrule_tests::image::{IMAGE, SERVE};
use serde_json::Value;

use crate::machine::{Machine, assert_serves, wait_until};
use crate::report::{Outcome, Skip};

/// The port of the node that leads to port 80 of the container `web`.
pub(super) const PORT: u16 = 8085;

/// A program that understands docker's command line.
pub(super) trait DockerCli {
    /// What it is called.
    const PROGRAM: &'static str;
    /// The networks that are there without being made.
    const OWN_NETWORKS: &'static [&'static str];

    fn machine(&self) -> &Machine;

    /// Runs it; its stdout.
    ///
    /// # Errors
    /// What it wrote to stderr.
    fn run(&self, arguments: &[&str]) -> Result<String, String>;

    /// The network of a container that runs.
    fn place(&self, container: &str) -> Place;

    /// Runs it with a line that is split at spaces.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    fn call(&self, line: &str) -> String {
        let arguments: Vec<&str> = line.split(' ').collect();
        self.run(&arguments).unwrap_or_else(|e| panic!("{} {line}: {e}", Self::PROGRAM))
    }

    /// The ID of a container.
    fn id(&self, container: &str) -> String {
        self.call(&format!("inspect --format {{{{.ID}}}} {container}"))
    }

    /// The networks that somebody made.
    fn networks(&self) -> Vec<String> {
        let names = self.call("network ls --format {{.Name}}");
        names.lines().filter(|name| !Self::OWN_NETWORKS.contains(name)).map(str::to_owned).collect()
    }

    /// A container that serves its name.
    #[track_caller]
    fn serve(&self, name: &str, options: &str) {
        let mut arguments = vec!["run", "--detach", "--pull", "never", "--name", name, "--hostname", name];
        arguments.extend(options.split(' '));
        // The image's entry point is another program.
        arguments.extend(["--entrypoint", SERVE[0], IMAGE]);
        arguments.extend(&SERVE[1..]);
        self.run(&arguments).unwrap_or_else(|e| panic!("{} {arguments:?}: {e}", Self::PROGRAM));
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

    /// Everybody reaches the container `web` by its port of the node.
    #[track_caller]
    fn assert_published(&self) {
        let node = &self.machine().node;
        assert_serves(&node.outside, node.address(), PORT, "web");
        assert_serves(&node.host, node.address(), PORT, "web");
        assert_serves(&node.host, Ipv4Addr::LOCALHOST.into(), PORT, "web");
    }

    /// The container `web`, which was stopped, serves again.
    fn start_again(&self) {
        self.call("start web");
        self.wait_for_server("web");
        self.assert_published();
    }

    /// `run --ip --mac-address`, on the network `front`.
    fn fixed(&self) -> Outcome {
        let (ip, mac) = ("10.89.7.77", "02:00:5e:00:00:77");
        self.serve("fixed", &format!("--network front --ip {ip} --mac-address {mac}"));
        let link = self.place("fixed").find_link("eth0").expect("eth0");
        assert_eq!(link["address"], mac);
        assert_eq!(self.addresses("fixed", "eth0"), [ip.parse::<IpAddr>().expect("an address")]);
        assert_serves(&self.place("web"), ip.parse().expect("an address"), 80, "fixed");
        Ok(())
    }

    /// Two containers, `six` (with these options, too) and `seven`, reach each other by IPv6 on a network of both families.
    fn reach_by_ipv6(&self, options: &str) {
        self.call("network create --ipv6 --subnet 10.89.9.0/24 --subnet fd89:9::/64 dual");
        self.serve("six", &format!("--network dual {options}"));
        self.serve("seven", "--network dual");
        let address = self.addresses("six", "eth0").into_iter().find(IpAddr::is_ipv6).expect("an IPv6 address");
        assert!(self.place("seven").ping(address), "seven does not reach {address}");
        assert_serves(&self.place("seven"), address, 80, "six");
    }

    /// A container beside the node, on its uplink, in the subnet of somebody outside.
    fn macvlan(&self, outside: Ipv4Addr) -> Outcome {
        let node = &self.machine().node;
        if let Err(reason) = node.host.try_sh("ip link add probe link uplink type macvlan") {
            return Err(Skip(format!("the kernel lacks macvlan: {}", reason.trim())));
        }
        node.host.sh("ip link delete probe");
        let [a, b, c, _] = outside.octets();
        let subnet = format!("--subnet {a}.{b}.{c}.0/24 --gateway {outside} --ip-range {a}.{b}.{c}.64/26");
        self.call(&format!("network create --driver macvlan -o parent=uplink {subnet} lan"));
        self.serve("neighbour", "--network lan");
        assert!(self.place("neighbour").ping(outside.into()), "neighbour does not reach {outside}");
        assert_serves(&node.outside, self.addresses("neighbour", "eth0")[0], 80, "neighbour");
        Ok(())
    }
}
