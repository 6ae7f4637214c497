//! DEL without the namespace, without its name, of what is gone; and GC.

use ferrule_tests::bed::scripted;
use ferrule_tests::{Bed, Pod};
use serde_json::{Value, json};

use crate::{keys, make_device, plugin, pristine, start, state};

#[test]
fn del_twice_and_of_what_was_never_added() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    bed.end(&[&a]);
    bed.end(&[&a]);
    bed.network.del(&bed.node.container("never")).expect("DEL");
    bed.network.del(&bed.node.container("never").without_netns()).expect("DEL without a namespace");
    assert_eq!(state(&bed, "dev0"), pristine());
}

#[test]
fn del_of_a_link_that_is_missing() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    a.place().sh("ip link del eth0");
    bed.end(&[&a]);
}

#[test]
fn del_after_the_namespace_is_gone_releases_the_address() {
    let Some(bed) = start(&keys()) else { return };
    let (a, network) = (bed.attach("a"), &bed.network);
    bed.node.kill(&a.container);
    network.del(&a.container).expect("DEL with the path of what is gone");
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
    ferrule_tests::eventually("the other end of its cable is gone", || bed.host().find_link("peer0").is_none());
    make_device(bed.host());
    let b = bed.attach("b");
    bed.node.kill(&b.container);
    network.del(&b.container.clone().without_netns()).expect("DEL without a path");
    bed.node.assert_nothing_left(&bed.before, &[&b.container]);
}

#[test]
fn del_without_the_name_of_a_namespace_that_lives() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    bed.network.del(&a.container.clone().without_netns()).expect("DEL");
    assert!(a.place().find_link("eth0").is_none());
    assert_eq!(state(&bed, "dev0"), pristine());
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn del_with_a_configuration_that_is_no_longer_valid() {
    let Some(mut bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    *bed.network.conflist.pointer_mut("/plugins/0/device").unwrap() = json!(7);
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

#[test]
fn del_goes_on_after_a_failure_of_ipam_and_tells_it() {
    let mut ipam = scripted(&json!([{"address": "10.1.0.5/24"}]), &json!([]));
    ipam["errors"] = json!({"DEL": {"cniVersion": "1.1.0", "code": 111, "msg": "the pool is on fire"}});
    let Some(bed) = start(&json!({"device": "dev0", "ipam": ipam})) else { return };
    let a = bed.attach("a");
    let failure = bed.network.del(&a.container).expect_err("DEL");
    assert_eq!((failure.code, failure.msg.as_str()), (111, "the pool is on fire"));
    assert_eq!(state(&bed, "dev0"), pristine());
}

#[test]
fn del_leaves_an_interface_of_somebody_else() {
    let Some(bed) = start(&keys()) else { return };
    let container = bed.node.container("a");
    container.place.sh("ip link add eth0 type veth peer name other");
    container.place.sh("ip address add 10.9.0.1/24 dev eth0");
    bed.network.add(&container).expect_err("ADD");
    bed.network.del(&container).expect("DEL");
    let left = container.place.sh("ip address show dev eth0");
    assert!(left.contains("10.9.0.1/24"), "{left}");
}

/// What the kernel does with hardware when the container's namespace ends: it appears on the host, down, and under
/// another name if its present one is taken there.
fn push_to_host(bed: &Bed, pod: &Pod, name: &str) {
    pod.place().sh("ip link set eth0 down mtu 1300");
    pod.place().sh(&format!("ip link set eth0 name {name} netns {}", bed.host().netns.display()));
    bed.node.kill(&pod.container);
}

#[test]
fn hardware_that_the_kernel_has_put_back() {
    for name in ["eth0", "dev17"] {
        let Some(bed) = start(&keys()) else { return };
        let a = bed.attach("a");
        push_to_host(&bed, &a, name);
        bed.network.del(&a.container.clone().without_netns()).expect("DEL");
        assert_eq!(state(&bed, "dev0"), pristine());
        bed.node.assert_nothing_left(&bed.before, &[&a.container]);
    }
}

#[test]
fn gc_settles_hardware_of_attachments_that_are_not_valid() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    push_to_host(&bed, &a, "dev17");
    bed.network.gc(&[&a.container]).expect("GC with the attachment listed");
    let other = bed.node.network_of("other", &plugin(&json!({"device": "dev9"})));
    other.gc(&[]).expect("GC of another network");
    assert!(bed.host().find_link("dev17").is_some(), "nobody's business but its own network's");
    bed.network.gc(&[]).expect("GC");
    assert_eq!(state(&bed, "dev0"), pristine());
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn gc_keeps_what_is_attached_and_is_passed_on_to_ipam() {
    let Some(node) = ferrule_tests::Node::start() else { return };
    let log = node.dir().join("calls");
    make_device(&node.host);
    let mut ipam = scripted(&json!([{"address": "10.1.0.5/24"}]), &json!([]));
    ipam["log"] = json!(log);
    let network = node.network_of("pods", &plugin(&json!({"device": "dev0", "ipam": ipam})));
    let container = node.container("a");
    network.add(&container).expect("ADD");
    network.gc(&[&container]).expect("GC");
    network.check(&container).expect("CHECK");
    network.del(&container).expect("DEL");
    network.status().expect("STATUS");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "ADD\nGC\nCHECK\nDEL\nSTATUS\n");
    let found: Value = node.host.find_link("dev0").expect("dev0");
    assert_eq!(found["altnames"], Value::Null);
}
