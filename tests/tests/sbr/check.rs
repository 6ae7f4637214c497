//! CHECK: silent after ADD and after what others may do; after each damage a sentence that names the thing.

use ferrule_tests::{Node, Place};
use serde_json::{Value, json};

use crate::{network_with, scripted, words};

/// What CHECK of the chain says after `damage`.
fn complaint(keys: &Value, damage: impl FnOnce(&Place)) -> Option<String> {
    let node = Node::start()?;
    let ips = json!([{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::2/64"}]);
    let ipam = scripted(&ips, &json!([{"dst": "10.7.0.0/16", "gw": "10.1.0.9", "mtu": 1400}]));
    let network = network_with(&node, 1, &ipam, keys);
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    network.check(&a).expect("CHECK right after ADD");
    damage(&a.place);
    let outcome = crate::sbr(&network, "CHECK", &a, &result, &node);
    network.del(&a).expect("DEL");
    Some(outcome.map_or_else(|failure| words(&failure), |_| "nothing".to_owned()))
}

#[track_caller]
fn complains(keys: &Value, expected: &str, command: &str) {
    let Some(told) = complaint(keys, |place| drop(place.sh(command))) else { return };
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_missing_rule() {
    let text = "there is no rule for packets from 10.1.0.2";
    complains(&json!({}), text, "ip rule del from 10.1.0.2");
    complains(&json!({}), "no rule for packets from fd00:1::2", "ip -6 rule del from fd00:1::2");
    let text = "rule \"from 10.1.0.2 lookup 7000\" is missing";
    complains(&json!({"table": 7000}), text, "ip rule del from 10.1.0.2 lookup 7000");
}

#[test]
fn a_rule_that_leads_elsewhere() {
    let text = "route default via 10.1.0.1 is missing in table 300, by which packets from 10.1.0.2 are routed";
    complains(&json!({}), text, "ip rule add from 10.1.0.2 lookup 300 priority 5");
}

#[test]
fn a_missing_route() {
    complains(&json!({}), "route default via 10.1.0.1 is missing in table 100", "ip route del default table 100");
    complains(&json!({}), "route 10.1.0.0/24 is missing in table 100", "ip route del 10.1.0.0/24 table 100");
    complains(&json!({}), "route 10.7.0.0/16 is missing in table 100", "ip route del 10.7.0.0/16 table 100");
    complains(&json!({}), "route fd00:1::/64 is missing in table 101", "ip -6 route del fd00:1::/64 table 101");
}

#[test]
fn a_missing_interface() {
    complains(&json!({}), "Cannot find network interface eth0", "ip link del eth0");
}

#[test]
fn what_others_add_is_no_difference() {
    complains(&json!({}), "nothing", "ip route add 10.8.0.0/16 via 10.1.0.7 table 100 dev eth0");
    complains(&json!({}), "nothing", "ip rule add from 10.9.0.1 lookup 300");
    complains(&json!({}), "nothing", "ip route add 10.7.0.0/16 dev lo");
}

#[test]
fn without_a_previous_result() {
    let Some(node) = Node::start() else { return };
    let network = crate::network(&node, 1, &json!({}));
    for verb in ["ADD", "CHECK"] {
        let failure = crate::sbr(&network, verb, &node.container("a"), &Value::Null, &node).expect_err(verb);
        assert!(failure.code == 7 && failure.msg.starts_with("This plugin must be called as chained"), "{failure:?}");
    }
}
