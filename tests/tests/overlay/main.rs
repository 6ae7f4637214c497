//! `overlayd` on several machines, each a set of namespaces: packets between their containers, what is in the kernels, and
//! what becomes of them when something breaks.
//!
//! ```ignore
//! let Some(cluster) = Cluster::start() else { return }; // outside the sandbox: prints SKIP
//! let machines = cluster.machines(2);
//! let configuration = cluster.configuration(&json!({"Network": "10.42.0.0/16", "Backend": {"Type": "vxlan"}}));
//! let _daemons: Vec<_> = machines.iter().map(|machine| machine.overlayd(&configuration)).collect();
//! wait_until("subnet file", || machines[0].path("/run/flannel/subnet.env").exists());
//! let (a, b) = (machines[0].attach("a"), machines[1].attach("b"));
//! assert_all_reach(&[&a, &b]);
//! ```
//!
//! * [`cluster::Cluster`]: the underlay (198.18.0.0/24, 2001:db8::/64), the shared directory of the file store, etcd.
//! * [`machine::Machine`]: `eth0`, and its own `/run`, `/var/lib/cni`, `/var/lib/overlayd`, `/etc/machine-id` and `/sys`; so
//!   programs with fixed paths run on it as on a host. `machine.sh` runs a command there; `machine.place` is its network
//!   alone, for `ip -j` and packets; `machine.path` is one of its files as the test sees it.
//! * [`ferrule_tests::Process`]: a program that runs; it is killed when it is dropped, and shows its log if the test failed.
//!
//! Values are dropped in the opposite order of their declaration: daemons after machines, machines after the cluster.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "a test writes files that others damage and lose")]

mod bgp;
mod churn;
mod cluster;
mod faults;
mod interop;
mod joining;
mod look;
mod machine;
mod scene;
mod transport;
mod tunnels;

use serde_json::json;

use crate::cluster::{Cluster, assert_all_reach, wait_until};

/// Says something that is worth knowing also if nothing fails.
fn tell(what: &str) {
    use std::io::Write as _;
    // Written directly: libtest shows what print macros write only for tests that fail.
    std::io::stderr().write_all(format!("{what}\n").as_bytes()).expect("stderr");
}

/// Without a daemon: what the machines are, connected by hand.
#[test]
fn machines_are_apart_and_reach_each_other() {
    let Some(cluster) = Cluster::start() else { return };
    let machines = cluster.machines(2);
    let [one, two] = &machines[..] else { unreachable!() };
    assert!(one.place.ping(two.address.into()) && one.place.ping(two.address_v6.into()));
    assert_ne!(one.sh("cat /etc/machine-id"), two.sh("cat /etc/machine-id"));
    let mut pods = Vec::new();
    for (machine, other, number) in [(one, two, 1), (two, one, 2)] {
        machine.sh("mkdir -p /run/flannel");
        let subnet = format!(
            "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.{number}.1/24\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=true\n"
        );
        std::fs::write(machine.path("/run/flannel/subnet.env"), subnet).expect("subnet file");
        machine.sh(&format!("ip route add 10.42.{}.0/24 via {}", 3 - number, other.address));
        pods.push(machine.attach("web"));
    }
    assert_all_reach(&pods.iter().collect::<Vec<_>>());
    for (machine, pod) in machines.iter().zip(&pods) {
        machine.detach(pod);
    }
    let links = one.sh("ls /sys/class/net");
    assert_eq!(links.split_whitespace().collect::<Vec<_>>(), ["cni0", "eth0", "lo"]);
}

#[test]
fn etcd_keeps_what_it_had_when_it_is_stopped() {
    if !ferrule_tests::installed(&["etcd", "etcdctl"]) {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let etcd = cluster.etcd(&json!({"Network": "10.42.0.0/16"}));
    etcd.put("/coreos.com/network/subnets/10.42.1.0-24", "{}");
    etcd.process.kill();
    let etcd = cluster.etcd_again();
    assert_eq!(etcd.subnets(), [("/coreos.com/network/subnets/10.42.1.0-24".to_owned(), "{}".to_owned())]);
    let machine = cluster.machine(1);
    wait_until("etcd is reached from a machine", || {
        machine.run(&format!("etcdctl --endpoints {} endpoint health", etcd.url)).is_ok()
    });
}
