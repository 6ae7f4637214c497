//! Many machines that join one cluster at once.

use std::collections::BTreeSet;

use ferrule_tests::Process;
use serde_json::json;

use crate::cluster::{Cluster, wait_until};
use crate::machine::Machine;

/// How many machines there are, if not a hundred; 199 at most.
const NODES: &str = "FERRULE_OVERLAY_NODES";
const NODES_DEFAULT: u8 = 100;

#[test]
fn all_that_start_at_once_on_an_empty_etcd_have_a_subnet_and_a_way_to_all_others() {
    if !ferrule_tests::installed(&["etcd", "etcdctl"]) {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let count = std::env::var(NODES).map_or(NODES_DEFAULT, |number| number.parse().expect(NODES));
    let etcd = cluster.etcd(&json!({"Network": "10.42.0.0/16", "Backend": {"Type": "vxlan"}}));
    let machines = cluster.machines(count);
    let configuration = cluster.configuration_by_etcd(&etcd);
    let mut daemons: Vec<_> = machines.iter().map(|machine| machine.overlayd(&configuration)).collect();
    for machine in &machines {
        wait_until(&format!("{} has a way to all others", machine.name), || routes(machine) == usize::from(count) - 1);
    }
    assert!(daemons.iter_mut().all(Process::is_alive));
    let of_files: BTreeSet<String> = machines.iter().map(subnet).collect();
    let of_etcd: BTreeSet<String> = etcd.subnets().into_iter().map(|(key, _)| key).collect();
    assert_eq!((of_files.len(), of_etcd.len()), (count.into(), count.into()), "{of_files:?} {of_etcd:?}");
}

/// How many nodes the kernel knows a way to.
fn routes(machine: &Machine) -> usize {
    machine.place.json("ip -j route show proto 79").as_array().map_or(0, Vec::len)
}

/// `FLANNEL_SUBNET` of the machine's subnet file.
fn subnet(machine: &Machine) -> String {
    let text = std::fs::read_to_string(machine.path("/run/flannel/subnet.env")).expect("subnet file");
    text.lines().find_map(|line| line.strip_prefix("FLANNEL_SUBNET=")).expect("a subnet").to_owned()
}
