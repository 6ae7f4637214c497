//! Plugins replaced under running containers: what the Go plugin attached, ours checks and detaches, and back.

use ferrule_tests::{Binaries, Network, Node};
use serde_json::{Value, json};

use crate::{network, routes, rules, sbr};

/// The chain served by ours and by the Go plugins.
fn both(keys: &Value) -> Option<(Node, Network, Network)> {
    let (ours, reference) = Binaries::both()?;
    let node = Node::start()?;
    let ours = network(&node, 1, keys).served_by(&ours);
    let theirs = ours.served_by(&reference);
    Some((node, ours, theirs))
}

#[test]
fn ours_checks_and_detaches_what_the_reference_attached() {
    for keys in [json!({}), json!({"table": 7000})] {
        let Some((node, ours, theirs)) = both(&keys) else { return };
        let before = node.snapshot();
        let (a, gone, linkless) = (node.container("a"), node.container("gone"), node.container("linkless"));
        for container in [&a, &gone, &linkless] {
            theirs.add(container).expect("ADD by the reference");
            ours.check(container).expect("CHECK by ours");
        }
        sbr(&ours, "DEL", &a, &ours.result(&a), &node).expect("DEL by ours");
        assert_eq!(rules(&a.place), [""; 0]);
        assert_eq!(routes(&a.place, "eth0", "100"), [""; 0]);
        ours.del(&a).expect("DEL of all");
        linkless.place.sh("ip link del eth0");
        ours.del(&linkless).expect("DEL without the interface");
        assert_eq!(rules(&linkless.place), [""; 0]);
        node.kill(&gone);
        ours.del(&gone.clone().without_netns()).expect("DEL without the namespace");
        node.assert_nothing_left(&before, &[&a, &gone, &linkless]);
    }
}

#[test]
fn the_reference_detaches_what_ours_attached() {
    for keys in [json!({}), json!({"table": 7000})] {
        let Some((node, ours, theirs)) = both(&keys) else { return };
        let a = node.container("a");
        let result = ours.add(&a).expect("ADD by ours");
        sbr(&theirs, "DEL", &a, &result, &node).expect("DEL by the reference");
        assert_eq!(rules(&a.place), [""; 0]);
        ours.del(&a).expect("DEL of all by ours");
    }
}

#[test]
fn side_by_side_with_the_reference() {
    let Some((node, ours, theirs)) = both(&json!({})) else { return };
    let other = network(&node, 2, &json!({})).served_by(&theirs.binaries);
    let a = node.container("a");
    ours.add(&a).expect("ADD by ours");
    other.add(&a.clone().on("net1")).expect("ADD by the reference");
    ours.check(&a).expect("CHECK of ours");
    other.served_by(&ours.binaries).check(&a.clone().on("net1")).expect("CHECK of theirs");
    other.del(&a.clone().on("net1")).expect("DEL by the reference");
    ours.check(&a).expect("CHECK of ours after their DEL");
    ours.del(&a).expect("DEL by ours");
    assert_eq!(rules(&a.place), [""; 0]);
}
