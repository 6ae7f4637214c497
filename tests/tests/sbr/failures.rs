//! A failed ADD leaves all as it was, and at no time is the container without its routes.

use ferrule_tests::{Container, Node, Place};
use serde_json::{Value, json};

use crate::{SBR, bridge_only, network, routes, rules, sbr};

/// Everything that sbr may change, but what the kernel does itself.
fn state(place: &Place) -> Vec<String> {
    let mut state = rules(place);
    state.extend(routes(place, "eth0", "all"));
    state
}

/// A container attached to the bridge.
fn attached(node: &Node, keys: &Value) -> (ferrule_tests::Network, Container, Value) {
    let network = network(node, 1, keys);
    let a = node.container("a");
    let prev = bridge_only(&network, &a, node);
    (network, a, prev)
}

fn fails_at_each_request(keys: &Value, syscalls: &str, fault: &str) {
    let Some(node) = Node::start() else { return };
    let (network, a, prev) = attached(&node, keys);
    let before = state(&a.place);
    for which in 1.. {
        assert!(which < 100, "there is no end of requests");
        let add = network.invocation("ADD", SBR, Some(&a), &prev);
        let (outcome, was_injected) = add.with_fault(&node, syscalls, &format!("error={fault}"), which);
        match outcome.reply() {
            // A request that may fail: then everything is there all the same.
            Ok(result) => {
                sbr(&network, "CHECK", &a, &result, &node).expect("CHECK");
                sbr(&network, "DEL", &a, &result, &node).expect("DEL");
                if !was_injected {
                    assert!(which > 5, "nothing was injected: strace does not work here");
                    return;
                }
                panic!("{fault} at request {which} is no failure");
            }
            Err(failure) => assert!(was_injected, "{failure:?}"),
        }
        assert_eq!(state(&a.place), before, "{fault} at request {which}");
    }
}

#[test]
fn no_buffers_for_any_request() {
    fails_at_each_request(&json!({}), "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_buffers_for_any_request_with_source_hints() {
    fails_at_each_request(&json!({"addSourceHints": true}), "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_buffers_for_any_request_with_somebody_elses_table() {
    fails_at_each_request(&json!({"table": 7000}), "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_memory_for_any_answer() {
    fails_at_each_request(&json!({}), "recvfrom,recvmsg", "ENOMEM");
}

/// As packets see it: the address has its way out whenever the plugin dies, and DEL takes all of it.
#[test]
fn killed_at_any_request_the_address_has_its_routes() {
    let Some(node) = Node::start() else { return };
    for which in 1.. {
        assert!(which < 100, "there is no end of requests");
        let (network, a, prev) = attached(&node, &json!({}));
        let add = network.invocation("ADD", SBR, Some(&a), &prev);
        let (_, was_killed) = add.with_fault(&node, "sendto,sendmsg", "signal=KILL", which);
        for (address, gateway) in [("10.1.0", "10.1.0.1"), ("fd00:1::", "fd00:1::1")] {
            let own = crate::addresses(&prev).into_iter().find(|ip| ip.to_string().starts_with(address)).unwrap();
            let family = if own.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" };
            let way = a.place.sh(&format!("ip route get {family} from {own}"));
            assert!(way.contains(&format!("via {gateway} dev eth0")), "killed at request {which}: {way}");
        }
        network.remember(&a, Some(prev));
        network.del(&a).expect("DEL");
        assert_eq!(rules(&a.place), [""; 0], "killed at request {which}");
        if !was_killed {
            assert!(which > 5, "nothing was killed: strace does not work here");
            return;
        }
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let Some(node) = Node::start() else { return };
    let (network, a, prev) = attached(&node, &json!({"gateways": ["172.16.0.1"]}));
    let before = state(&a.place);
    let failure = sbr(&network, "ADD", &a, &prev, &node).expect_err("a gateway that is no neighbour");
    assert_eq!(failure.msg, "cannot add route 0.0.0.0/0 via 172.16.0.1 dev eth0 table 100", "{failure:?}");
    assert_eq!(state(&a.place), before);
    let failure = sbr(&network, "ADD", &a.clone().on("eth9"), &prev, &node).expect_err("no address of eth9");
    assert!(failure.msg.starts_with("No IP addresses supplied on interface: eth9"), "{failure:?}");
    let mut without_index = prev;
    without_index["ips"][0].as_object_mut().unwrap().remove("interface");
    let failure = sbr(&network, "ADD", &a.on("eth9"), &without_index, &node).expect_err("no such interface");
    assert_eq!(failure.msg, "Cannot find network interface eth9");
}
