//! What gets through, and the token buckets that see to it.

use ferrule_tests::Node;
use serde_json::{Value, json};

use crate::flow::{Sender, received};
use crate::{BANDWIDTH, address, attach, both, host_end, ifbs, network, redirections, tbf};

/// Of 1514 bytes on the link, 1448 are TCP's payload: that much less than the rate arrives at best.
const PAYLOAD: f64 = 1448.0 / 1514.0;

/// Within 10 % of the rate, over 5 s. More than that is never right; less may be the machine's doing, which runs other
/// tests and may not come to send what it may: then it is measured again.
fn assert_rate(what: &str, rate: f64, measure: impl Fn() -> f64) {
    let mut measured = Vec::new();
    for _ in 0..4 {
        let share = measure() / PAYLOAD / rate;
        assert!(share < 1.1, "{what}: {share:.3} of the rate");
        if share > 0.9 {
            return;
        }
        measured.push(share);
    }
    panic!("{what}: {measured:.3?} of the rate");
}

#[test]
fn what_is_received_and_sent_is_within_a_tenth_of_the_rate() {
    let Some(node) = Node::start() else { return };
    let (limited, free) = (network(&node, &both()), network(&node, &json!({})));
    let (web, other) = (node.container("web"), node.container("other"));
    let (to_web, to_other) = (address(&attach(&limited, &web)), address(&attach(&free, &other)));
    let without = received(&node.host, &other.place, to_other, Sender::Client, 1);
    assert!(without > 80e6, "without a limit {without:.0} bits/s: too little to see a limit");
    assert_rate("received", 40e6, || received(&node.host, &web.place, to_web, Sender::Client, 5));
    assert_rate("sent", 24e6, || received(&node.host, &web.place, to_web, Sender::Server, 5));
    limited.del(&web).expect("DEL");
    free.del(&other).expect("DEL");
}

#[test]
fn a_limit_of_one_direction_leaves_the_other_alone() {
    let Some(node) = Node::start() else { return };
    let before = node.snapshot();
    let ingress = json!({"ingressRate": 16_000_000, "ingressBurst": 160_000});
    let egress = json!({"egressRate": 16_000_000, "egressBurst": 160_000, "ingressRate": 0, "ingressBurst": 0});
    for (keys, limited, free) in [(ingress, Sender::Client, Sender::Server), (egress, Sender::Server, Sender::Client)] {
        let (network, web) = (network(&node, &keys), node.container("web"));
        let to = address(&attach(&network, &web));
        let slow = received(&node.host, &web.place, to, limited, 1);
        assert!(slow < 20e6, "{keys}: {slow:.0} bits/s");
        let fast = received(&node.host, &web.place, to, free, 1);
        assert!(fast > 40e6, "{keys}: {fast:.0} bits/s in the other direction");
        let end = host_end(&node, &web);
        assert_eq!(tbf(&node, &end).is_some(), limited == Sender::Client);
        assert_eq!(ifbs(&node).len(), usize::from(limited == Sender::Server));
        assert_eq!(redirections(&node, &end), ifbs(&node));
        network.check(&web).expect("CHECK");
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

/// What runtimes send: containerd u32::MAX bits, the kubelet's plugins i32::MAX, the most that there is; with rates at
/// which these last longer than the kernel's field for time can say.
#[test]
fn bursts_of_runtimes_let_packets_through_at_every_rate() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &json!({}));
    for burst in [u64::from(u32::MAX), u64::from(u32::MAX / 2), 34_359_738_352] {
        for rate in [1_000_000u64, 1_048_576, 10_000_000, 100_000_000_000] {
            let bandwidth =
                json!({"IngressRate": rate, "IngressBurst": burst, "EgressRate": rate, "EgressBurst": burst});
            let web = node.container("web").with_capability("bandwidth", bandwidth);
            let to = address(&attach(&network, &web));
            network.check(&web).unwrap_or_else(|e| panic!("CHECK of {rate}, {burst}: {e:?}"));
            for link in [host_end(&node, &web), ifbs(&node).remove(0)] {
                assert_eq!(tbf(&node, &link).expect("a limit")["rate"], rate / 8, "{link}");
            }
            // Packets of full size, both ways. At once: the burst holds them all.
            let arrived = node.host.try_sh(&format!("ping -n -q -c 5 -i 0.002 -s 1472 -W 5 {to}"));
            assert!(arrived.is_ok(), "{rate}, {burst}: {arrived:?}");
            network.del(&web).expect("DEL");
        }
    }
}

#[test]
fn a_burst_smaller_than_a_packet_is_told() {
    let Some(node) = Node::start() else { return };
    let small = json!({"ingressRate": 8_000_000, "ingressBurst": 8000});
    let network = network(&node, &small);
    let web = node.container("web");
    let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
    let output = network.invocation("ADD", BANDWIDTH, Some(&web), &result).run(&node.host);
    assert!(output.status.success());
    let told = "ingressBurst is 1000 bytes: packets up to the MTU of 1500 bytes are dropped";
    assert!(output.stderr.contains(told), "{}", output.stderr);
}
