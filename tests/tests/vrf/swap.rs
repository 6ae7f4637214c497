//! Plugins replaced under running containers: what the Go plugin attached, ours checks and detaches, and back.

use ferrule_tests::{Binaries, Feature, Network, Node, require};
use serde_json::json;

use crate::{master_of, network, table_of, vrf};

/// The chain served by ours and by the Go plugins.
fn both() -> Option<(Node, Network, Network)> {
    if !require(Feature::Vrf) {
        return None;
    }
    let (ours, reference) = Binaries::both()?;
    let node = Node::start()?;
    let ours = network(&node, 1, &json!({})).served_by(&ours);
    let theirs = ours.served_by(&reference);
    Some((node, ours, theirs))
}

#[test]
fn ours_checks_and_detaches_what_the_reference_attached() {
    let Some((node, ours, theirs)) = both() else { return };
    let before = node.snapshot();
    let (a, gone, linkless) = (node.container("a"), node.container("gone"), node.container("linkless"));
    for container in [&a, &gone, &linkless] {
        theirs.add(container).expect("ADD by the reference");
        ours.check(container).expect("CHECK by ours");
    }
    vrf(&ours, "DEL", &a, &ours.result(&a), &node).expect("DEL by ours");
    assert!(a.place.find_link("red").is_none());
    assert_eq!(master_of(&a.place, "eth0"), None);
    ours.del(&a).expect("DEL of all");
    linkless.place.sh("ip link del eth0");
    ours.del(&linkless).expect("DEL without the interface");
    assert!(linkless.place.find_link("red").is_none());
    node.kill(&gone);
    ours.del(&gone.clone().without_netns()).expect("DEL without the namespace");
    node.assert_nothing_left(&before, &[&a, &gone, &linkless]);
}

#[test]
fn the_reference_checks_and_detaches_what_ours_attached() {
    let Some((node, ours, theirs)) = both() else { return };
    let a = node.container("a");
    let result = ours.add(&a).expect("ADD by ours");
    vrf(&theirs, "CHECK", &a, &result, &node).expect("CHECK by the reference");
    vrf(&theirs, "DEL", &a, &result, &node).expect("DEL by the reference");
    assert!(a.place.find_link("red").is_none());
    ours.del(&a).expect("DEL of all by ours");
}

#[test]
fn ours_joins_a_vrf_of_the_reference() {
    let Some((node, ours, theirs)) = both() else { return };
    let mut other = network(&node, 2, &json!({})).served_by(&ours.binaries);
    other.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
    let a = node.container("a");
    theirs.add(&a).expect("ADD by the reference");
    other.add(&a.clone().on("net1")).expect("ADD by ours");
    assert_eq!(table_of(&a.place, "red"), Some(1));
    theirs.served_by(&ours.binaries).check(&a).expect("CHECK of theirs");
    ours.del(&a).expect("DEL of theirs by ours");
    other.check(&a.clone().on("net1")).expect("CHECK of ours");
    other.del(&a.clone().on("net1")).expect("DEL of ours");
    assert!(a.place.find_link("red").is_none());
}
