//! Plugins replaced under running containers.

use ferrule_tests::{Binaries, Network, Node, Snapshot};
use serde_json::json;

use crate::{attach, both, conflist, ifbs};

/// The network by the Go plugins and by ours.
fn networks() -> Option<(Node, Network, Network, Snapshot)> {
    let (ours, reference) = Binaries::both()?;
    let node = Node::start()?;
    let theirs = node.network_by(conflist(&both()), &reference);
    let ours = theirs.served_by(&ours);
    let before = node.snapshot();
    Some((node, theirs, ours, before))
}

#[test]
fn ours_check_and_detach_what_the_reference_attached() {
    let Some((node, theirs, ours, before)) = networks() else { return };
    let (web, gone, forgotten) = (node.container("web"), node.container("gone"), node.container("forgotten"));
    for container in [&web, &gone, &forgotten] {
        attach(&theirs, container);
        ours.check(container).expect("CHECK by ours");
    }
    node.kill(&gone);
    ours.del(&gone.clone().without_netns()).expect("DEL without the namespace");
    ours.remember(&forgotten, None);
    ours.del(&forgotten).expect("DEL without the result");
    assert_eq!(ifbs(&node).len(), 1);
    ours.del(&web).expect("DEL");
    node.assert_nothing_left(&before, &[&web, &gone, &forgotten]);
}

#[test]
fn ours_attach_beside_what_the_reference_attached_of_the_same_container() {
    let Some((node, theirs, ours, before)) = networks() else { return };
    let first = node.container("web");
    let second = first.clone().on("eth1");
    attach(&theirs, &first);
    attach(&ours, &second);
    ours.check(&first).expect("CHECK");
    ours.check(&second).expect("CHECK");
    ours.del(&second).expect("DEL");
    ours.check(&first).expect("CHECK after the other's DEL");
    ours.del(&first).expect("DEL");
    node.assert_nothing_left(&before, &[&first]);
}

#[test]
fn ours_collect_what_the_reference_attached_and_nobody_uses() {
    let Some((node, theirs, ours, before)) = networks() else { return };
    let (kept, gone) = (node.container("kept"), node.container("gone"));
    attach(&theirs, &kept);
    attach(&theirs, &gone);
    // As the Go plugin leaves it when it is killed in the middle: it may still be at work.
    node.host.sh("ip link add bwp0123456789ab up type ifb");
    node.kill(&gone);
    let gone_link = |node: &Node| node.host.json("ip -j link show type veth").as_array().map_or(0, Vec::len) < 3;
    ferrule_tests::eventually("the kernel has removed the dead container's link", || gone_link(&node));
    ours.gc(&[&kept]).expect("GC");
    assert_eq!(ifbs(&node).len(), 2, "{:?}", ifbs(&node));
    ours.check(&kept).expect("CHECK of the valid one");
    node.host.sh("ip link del bwp0123456789ab");
    ours.del(&kept).expect("DEL");
    ours.del(&gone.clone().without_netns()).expect("DEL");
    node.assert_nothing_left(&before, &[&kept, &gone]);
}

#[test]
fn the_reference_checks_and_detaches_what_ours_attached() {
    let Some((node, mut theirs, ours, before)) = networks() else { return };
    let mut ours = ours;
    let large = json!({"ingressRate": 40_000_000_000u64, "ingressBurst": u32::MAX, "egressRate": 99_999_992, "egressBurst": 12_345_672});
    for keys in [both(), large] {
        theirs.conflist = conflist(&keys);
        ours.conflist = node.network(conflist(&keys)).conflist;
        theirs.conflist = ours.conflist.clone();
        let web = node.container("web");
        attach(&ours, &web);
        theirs.check(&web).expect("CHECK by the reference");
        theirs.del(&web).expect("DEL by the reference");
        assert_eq!(ifbs(&node), [] as [&str; 0]);
        node.assert_nothing_left(&before, &[&web]);
    }
}
