//! CHECK: silent after ADD; after each damage a sentence that names the thing.

use serde_json::json;

use crate::{network, node, vrf, words};

/// What CHECK of vrf says after `commands` in the container.
#[track_caller]
fn complains(expected: &str, commands: &[&str]) {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({"table": 1001}));
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    network.check(&a).expect("CHECK right after ADD");
    for command in commands {
        a.place.sh(command);
    }
    let failure = vrf(&network, "CHECK", &a, &result, &node).expect_err(expected);
    assert!(words(&failure).contains(expected), "{failure:?}");
    network.del(&a).expect("DEL");
}

#[test]
fn an_interface_outside_the_vrf() {
    complains("failed to find eth0 associated to vrf red", &["ip link set eth0 nomaster"]);
}

#[test]
fn a_vrf_that_is_gone_or_down() {
    complains("the container has no VRF red", &["ip link del red"]);
    complains("VRF red is down", &["ip link set red down"]);
}

#[test]
fn another_table() {
    let remake = ["ip link del red", "ip link add red up type vrf table 1002", "ip link set eth0 master red"];
    complains("VRF red has routing table 1002, not 1001", &remake);
}

#[test]
fn a_missing_route() {
    complains("route 0.0.0.0/0 is missing in table 1001 of VRF red", &["ip route del default table 1001"]);
    complains("route ::/0 is missing in table 1001 of VRF red", &["ip -6 route del default table 1001"]);
}

#[test]
fn a_missing_interface() {
    complains("could not get link by name eth0", &["ip link del eth0"]);
}
