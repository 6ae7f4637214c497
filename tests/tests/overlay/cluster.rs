//! Several machines on one underlay, and where their cluster's state lives.
//!
//! ```text
//!   switch: br0 198.18.0.1/24, 2001:db8::1/64 ── eth0 of node1 198.18.0.11, 2001:db8::11
//!           (etcd runs here)                  ── eth0 of node2 198.18.0.12, 2001:db8::12 …
//! ```
//! The switch is the machines' default gateway, and has no route to containers: what it answers was masqueraded.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use ferrule_tests::{Binaries, eventually, skip};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine::{Machine, Pod};
use ferrule_tests::Process;

/// In the sandbox this is a tmpfs that ends with it, and machines see it, too (unlike /run, of which each has its own).
const STATE: &str = "/var/lib";

/// How long anything may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster. What runs on its machines must be dropped before it: declare it first.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What connects the machines.
    pub(crate) switch: Machine,
    dir: TempDir,
}

impl Cluster {
    /// A cluster without machines; `None`, with a printed SKIP, outside the sandbox or without binaries.
    pub(crate) fn start() -> Option<Self> {
        if std::env::var_os("FERRULE_SANDBOX").is_none() {
            skip("not in the sandbox (hint: run scripts/test, or the tests by scripts/in-namespaces)");
            return None;
        }
        Binaries::ours()?;
        let dir = tempfile::Builder::new().prefix("cluster-").tempdir_in(STATE).expect("directory of the cluster");
        std::fs::create_dir(dir.path().join("nodes")).expect("directory of the nodes");
        let switch = Machine::boot("switch", dir.path(), ipv4(1), ipv6(1));
        // No snooping: the bridge would forget who listens to neighbour solicitations.
        switch.sh("ip link add br0 up type bridge mcast_snooping 0");
        switch.sh(&format!("ip address add {}/24 dev br0", ipv4(1)));
        switch.sh(&format!("ip address add {}/64 dev br0 nodad", ipv6(1)));
        Some(Self { switch, dir })
    }

    /// A machine, `node<number>` of 1 to 199: 198.18.0.(10 + number), 2001:db8::(10 + number in decimal digits).
    pub(crate) fn machine(&self, number: u8) -> Machine {
        let name = format!("node{number}");
        let machine = Machine::boot(&name, self.dir.path(), ipv4(10 + number), ipv6(10 + number));
        let holder = machine.holder();
        self.switch.sh(&format!("ip link add {name} type veth peer name eth0 netns {holder}"));
        self.switch.sh(&format!("ip link set {name} master br0 up"));
        machine.sh(&format!("ip address add {}/24 dev eth0", machine.address));
        machine.sh(&format!("ip address add {}/64 dev eth0 nodad", machine.address_v6));
        machine.sh("ip link set eth0 up");
        machine.sh(&format!("ip route add default via {}", ipv4(1)));
        machine.sh(&format!("ip route add default via {}", ipv6(1)));
        eventually("IPv6 address in use", || {
            !machine.sh(&format!("ip -6 route show table local {}", machine.address_v6)).is_empty()
        });
        machine
    }

    /// The same on a segment of its own, 198.18.1.0/24, to which the switch is the router.
    pub(crate) fn machine_behind(&self, number: u8) -> Machine {
        let name = format!("node{number}");
        let address = Ipv4Addr::new(198, 18, 1, 10 + number);
        let machine = Machine::boot(&name, self.dir.path(), address, ipv6(10 + number));
        let holder = machine.holder();
        self.switch.sh("sysctl -qw net.ipv4.ip_forward=1");
        self.switch.sh(&format!("ip link add {name} up type veth peer name eth0 netns {holder}"));
        self.switch.sh(&format!("ip address add 198.18.1.1/24 dev {name}"));
        machine.sh(&format!("ip address add {address}/24 dev eth0"));
        machine.sh("ip link set eth0 up");
        machine.sh("ip route add default via 198.18.1.1");
        machine
    }

    /// The directory of all machines.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// `numbers` of them, `node1` first.
    pub(crate) fn machines(&self, numbers: u8) -> Vec<Machine> {
        (1..=numbers).map(|number| self.machine(number)).collect()
    }

    /// The directory in which the nodes of the file store are.
    pub(crate) fn nodes(&self) -> PathBuf {
        self.dir.path().join("nodes")
    }

    /// A configuration of overlayd with the file store, in a directory that all machines share. `network` is what
    /// flannel's `net-conf.json` says.
    pub(crate) fn configuration(&self, network: &Value) -> Value {
        json!({"network": network, "store": {"file": {"path": self.nodes(), "publish": true}}})
    }

    /// The same with etcd, which has the network: see [`Cluster::etcd`].
    pub(crate) fn configuration_by_etcd(&self, etcd: &Etcd) -> Value {
        json!({"store": {"etcd": {"endpoints": [etcd.url]}}})
    }

    /// An etcd on the switch, reachable by all machines, with `network` as flannel's `<prefix>/config`.
    pub(crate) fn etcd(&self, network: &Value) -> Etcd {
        let etcd = self.etcd_again();
        etcd.put("/coreos.com/network/config", &network.to_string());
        etcd
    }

    /// The same etcd with what it had when it was stopped.
    pub(crate) fn etcd_again(&self) -> Etcd {
        self.etcd_at(2379)
    }

    /// The same at another port.
    pub(crate) fn etcd_at(&self, port: u16) -> Etcd {
        let url = format!("http://{}:{port}", ipv4(1));
        let data = self.dir.path().join("etcd").display().to_string();
        let process = self.switch.start(
            "etcd",
            &["--data-dir", &data, "--listen-client-urls", &url, "--advertise-client-urls", &url]
                .into_iter()
                .chain(["--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level", "warn"])
                .collect::<Vec<_>>(),
        );
        let etcd = Etcd { process, url, holder: self.switch.holder() };
        wait_until("etcd answers", || etcd.ctl(&["endpoint", "health"]).is_ok());
        etcd
    }
}

/// The address of a machine.
fn ipv4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, number)
}

/// The same number, read as if it were hexadecimal.
fn ipv6(number: u8) -> Ipv6Addr {
    format!("2001:db8::{number}").parse().expect("an address")
}

/// A running etcd; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) process: Process,
    pub(crate) url: String,
    holder: u32,
}

impl Etcd {
    /// `etcdctl`, where etcd runs; its stdout.
    ///
    /// # Errors
    /// What it wrote to stderr.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder)).args(["etcdctl", "--endpoints", &self.url]);
        let output = command.args(arguments).env("ETCDCTL_API", "3").output().expect("etcdctl");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    #[track_caller]
    pub(crate) fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", key, value]).unwrap_or_else(|e| panic!("put {key}: {e}"));
    }

    /// The keys below flannel's `subnets`, with their values.
    pub(crate) fn subnets(&self) -> Vec<(String, String)> {
        let text = self.ctl(&["get", "--prefix", "/coreos.com/network/subnets/"]).expect("etcdctl get");
        let lines: Vec<&str> = text.lines().collect();
        lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
    }
}

/// Waits until `done`; how long it took.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "still not after {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// Each container reaches each other one, by each of its addresses.
#[track_caller]
pub(crate) fn assert_all_reach(pods: &[&Pod]) {
    for from in pods {
        for to in pods.iter().filter(|to| !std::ptr::eq(**to, *from)) {
            assert!(!to.ips.is_empty(), "{} has no address", to.place.name);
            for ip in &to.ips {
                assert!(from.place.ping(*ip), "{} does not reach {ip}, {}", from.place.name, to.place.name);
            }
        }
    }
}
