//! A failed ADD leaves all as it was.

use ferrule_tests::Place;
use serde_json::{Value, json};

use crate::{VRF, addresses, bridge_only, master_of, network, node, routes, vrf};

/// Everything that vrf may change, but what the kernel does itself.
fn state(place: &Place) -> Vec<String> {
    let mut state = routes(place, "eth0", "all");
    state.extend(addresses(place, "eth0"));
    state.extend(master_of(place, "eth0"));
    state.extend(place.find_link("red").map(|_| "VRF".to_owned()));
    state.sort();
    state
}

/// `keep`: whether the kernel keeps IPv6 addresses by itself.
fn fails_at_each_request(keep: &str, syscalls: &str, fault: &str) {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    let prev = bridge_only(&network, &a, &node);
    a.place.sh(&format!("sysctl -q -w net.ipv6.conf.eth0.keep_addr_on_down={keep}"));
    let before = state(&a.place);
    for which in 1.. {
        assert!(which < 100, "there is no end of requests");
        let add = network.invocation("ADD", VRF, Some(&a), &prev);
        let (outcome, was_injected) = add.with_fault(&node, syscalls, &format!("error={fault}"), which);
        match outcome.reply() {
            Ok(result) => {
                assert!(!was_injected, "{fault} at request {which} is no failure");
                vrf(&network, "CHECK", &a, &result, &node).expect("CHECK");
                assert!(which > 5, "nothing was injected: strace does not work here");
                network.remember(&a, Some(result));
                network.del(&a).expect("DEL");
                return;
            }
            Err(failure) => assert!(was_injected, "{failure:?}"),
        }
        assert_eq!(state(&a.place), before, "{fault} at request {which}");
    }
}

#[test]
fn no_buffers_for_any_request() {
    fails_at_each_request("1", "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_buffers_for_any_request_when_the_kernel_drops_addresses() {
    fails_at_each_request("0", "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_memory_for_any_answer() {
    fails_at_each_request("0", "recvfrom,recvmsg", "ENOMEM");
}

#[test]
fn what_cannot_be_done_is_told() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    let failure = vrf(&network, "ADD", &a, &Value::Null, &node).expect_err("not chained");
    assert!(failure.code == 7 && failure.msg.starts_with("missing prevResult from earlier plugin"), "{failure:?}");
    let prev = bridge_only(&network, &a, &node);
    let failure = vrf(&network, "ADD", &a.clone().on("eth9"), &prev, &node).expect_err("no such interface");
    assert!(failure.msg.starts_with("could not get link by name eth9"), "{failure:?}");
    assert!(a.place.find_link("red").is_none());
}
