//! DEL and GC: nothing is left, and nothing of others goes.

use ferrule_tests::{Container, Network, Node};
use serde_json::{Value, json};

use crate::{BANDWIDTH, attach, both, host_end, ifbs, network, redirections, tbf};

/// DEL of bandwidth alone.
fn del(node: &Node, network: &Network, container: &Container, result: &Value) {
    network.invocation("DEL", BANDWIDTH, Some(container), result).run(&node.host).reply().expect("DEL");
}

#[test]
fn a_del_frees_the_link_that_stays_and_comes_twice() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    let result = attach(&network, &web);
    let end = host_end(&node, &web);
    for _ in 0..2 {
        del(&node, &network, &web, &result);
        assert_eq!((tbf(&node, &end), redirections(&node, &end).len(), ifbs(&node).len()), (None, 0, 0));
        assert!(node.host.ping(crate::address(&result)), "what the container sends must not be lost");
    }
}

#[test]
fn a_del_needs_neither_namespace_nor_result_nor_a_right_configuration() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let before = node.snapshot();
    let broken = network_with(&network, &json!({"ingressRate": "fast", "egressBurst": 7}));
    let unlimited =
        network_with(&network, &json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0}));
    for (then, forgotten) in [(&network, false), (&network, true), (&broken, false), (&unlimited, true)] {
        for gone in [false, true] {
            let mut web = node.container("web");
            let result = attach(&network, &web);
            if gone {
                node.kill(&web);
            }
            for _ in 0..2 {
                del(&node, then, &web, if forgotten { &Value::Null } else { &result });
                assert_eq!(ifbs(&node), [] as [&str; 0]);
                web = web.without_netns();
            }
            network.del(&web).expect("DEL of the rest");
            node.assert_nothing_left(&before, &[&web]);
        }
    }
}

fn network_with(network: &Network, keys: &Value) -> Network {
    let mut network = network.clone();
    ferrule_tests::bed::merge(&mut network.conflist["plugins"][BANDWIDTH], keys);
    network
}

#[test]
fn what_somebody_else_made_stays() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    let result = attach(&network, &web);
    let (end, ifb) = (host_end(&node, &web), ifbs(&node).remove(0));
    // Another queue at the link's root, another redirection, and the ifb in other hands.
    node.host.sh(&format!("tc qdisc replace dev {end} root handle 7: pfifo"));
    node.host.sh("ip link add ifb7 type ifb");
    node.host.sh(&format!(
        "tc filter replace dev {end} parent ffff: protocol all pref 1 handle 800::800 u32 match u32 0 0 \
                           flowid 1:1 action mirred egress redirect dev ifb7"
    ));
    node.host.sh(&format!("ip link set {ifb} alias somebody"));
    del(&node, &network, &web, &result);
    assert_eq!((redirections(&node, &end), ifbs(&node).len()), (vec!["ifb7".to_owned()], 2));
    let root = node.host.json(&format!("tc -j qdisc show dev {end} root"));
    assert_eq!(root[0]["kind"], "pfifo");
}

#[test]
fn gc_keeps_the_valid_ones_and_other_networks() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let mut other = network.clone();
    other.conflist["name"] = json!("other");
    let before = node.snapshot();
    let (kept, dead, foreign) = (node.container("kept"), node.container("dead"), node.container("foreign"));
    let second = kept.clone().on("eth1");
    for container in [&kept, &second, &dead] {
        attach(&network, container);
    }
    let of_second = redirections(&node, &host_end(&node, &second));
    attach(&other, &foreign);
    node.host.sh("ip link add ifb7 type ifb");
    assert_eq!(ifbs(&node).len(), 5);
    network.gc(&[&kept, &second]).expect("GC");
    assert_eq!(ifbs(&node).len(), 4);
    network.gc(&[&kept]).expect("GC");
    assert!(ifbs(&node).len() == 3 && !ifbs(&node).contains(&of_second[0]));
    network.check(&kept).expect("CHECK of the valid one");
    other.check(&foreign).expect("CHECK in the other network");
    network.gc(&[]).expect("GC");
    other.gc(&[]).expect("GC");
    node.host.sh("ip link del ifb7");
    node.assert_nothing_left(&before, &[&kept, &dead, &foreign]);
}
