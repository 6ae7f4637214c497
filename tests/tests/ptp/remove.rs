//! DEL, in every state of the world, and GC; STATUS.

use ferrule_tests::Bed;
use ferrule_tests::bed::{host_local, scripted};
use serde_json::json;

use crate::{host_end, plugin, start};

fn bed() -> Option<Bed> {
    start(&json!({"ipMasq": true, "ipam": host_local(&["10.1.0.0/24", "fd00:1::/64"])}))
}

#[test]
fn del_twice_and_of_what_was_never_added() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.end(&[&a]);
    bed.end(&[&a]);
    bed.network.del(&bed.node.container("never")).expect("DEL");
    bed.network.del(&bed.node.container("never").without_netns()).expect("DEL without a namespace");
}

#[test]
fn del_without_the_name_of_the_namespace() {
    let Some(bed) = bed() else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    bed.network.remember(&a.container, None);
    bed.network.del(&a.container.clone().without_netns()).expect("DEL");
    // The namespace lives on; its interface went by the host's end.
    assert!(a.place().find_link("eth0").is_none());
    bed.network.check(&b.container).expect("the other is unharmed");
    bed.end(&[&b]);
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn del_after_the_namespace_is_gone() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.node.kill(&a.container);
    bed.network.del(&a.container).expect("DEL with the path of what is gone");
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn del_after_the_containers_end_was_renamed() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    a.place().sh("ip link set eth0 down");
    a.place().sh("ip link set eth0 name eth7");
    bed.end(&[&a]);
    assert!(a.place().find_link("eth7").is_none(), "removed by the host's end");
}

#[test]
fn del_with_a_configuration_that_is_no_longer_valid() {
    let Some(mut bed) = bed() else { return };
    let a = bed.attach("a");
    *bed.network.conflist.pointer_mut("/plugins/0/ipMasq").unwrap() = json!("perhaps");
    bed.end(&[&a]);
}

#[test]
fn del_goes_on_after_a_failure_of_ipam_and_tells_it() {
    let mut ipam = scripted(&json!([{"address": "10.1.0.5/24"}]), &json!([]));
    ipam["errors"] = json!({"DEL": {"cniVersion": "1.1.0", "code": 111, "msg": "the pool is on fire"}});
    let Some(bed) = start(&json!({"ipMasq": true, "ipam": ipam})) else { return };
    let a = bed.attach("a");
    let failure = bed.network.del(&a.container).expect_err("DEL");
    assert_eq!((failure.code, failure.msg.as_str()), (111, "the pool is on fire"));
    assert!(a.place().find_link("eth0").is_none());
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn gc_removes_what_is_not_listed_and_nothing_of_other_networks() {
    let Some(bed) = bed() else { return };
    let other_network = bed.node.network_of("pods2", &plugin(&json!({"ipam": host_local(&["10.2.0.0/24"])})));
    let other = bed.attach_to(&other_network, bed.node.container("other"));
    let (kept, gone, killed) = (bed.attach("kept"), bed.attach("gone"), bed.attach("killed"));
    bed.node.kill(&killed.container);
    bed.network.gc(&[&kept.container]).expect("GC");
    assert!(gone.place().find_link("eth0").is_none());
    for pod in [&gone, &killed] {
        ferrule_tests::eventually("nothing is left of it", || {
            !bed.node.snapshot().lines().iter().any(|l| l.contains(&pod.container.id) || l.contains(&host_end(pod)))
        });
    }
    bed.network.check(&kept.container).expect("CHECK of the valid one");
    other_network.check(&other.container).expect("CHECK of the other network");
    other_network.del(&other.container).expect("DEL");
    bed.network.gc(&[]).expect("GC of all");
    assert!(kept.place().find_link("eth0").is_none());
    bed.end(&[&kept]);
}

#[test]
fn gc_and_status_are_passed_on_to_ipam() {
    let Some(node) = ferrule_tests::Node::start() else { return };
    let log = node.dir().join("calls");
    let mut ipam = scripted(&json!([]), &json!([]));
    ipam["log"] = json!(log);
    ipam["errors"] = json!({"STATUS": {"cniVersion": "1.1.0", "code": 50, "msg": "the pool is empty"}});
    let network = node.network_of("pods", &plugin(&json!({ "ipam": ipam })));
    network.gc(&[]).expect("GC");
    let failure = network.status().expect_err("STATUS");
    assert_eq!((failure.code, failure.msg.as_str()), (50, "the pool is empty"));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "GC\nSTATUS\n");
}
