//! DEL, in every state of the world, and GC; STATUS.

use ferrule_tests::bed::{host_local, scripted};
use serde_json::{Value, json};

use crate::start;

fn keys() -> Value {
    json!({"ipam": host_local(&["10.1.0.0/24"])})
}

#[test]
fn del_twice_and_of_what_was_never_added() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    bed.end(&[&a]);
    bed.end(&[&a]);
    bed.network.del(&bed.node.container("never")).expect("DEL");
    bed.network.del(&bed.node.container("never").without_netns()).expect("DEL without a namespace");
}

#[test]
fn del_of_a_renamed_device() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    a.place().sh("ip link set eth0 down");
    a.place().sh("ip link set eth0 name inside7");
    bed.end(&[&a]);
    assert!(a.place().find_link("inside7").is_none());
}

#[test]
fn del_after_the_namespace_is_gone_releases_the_address() {
    let Some(bed) = start(&keys()) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    bed.node.kill(&a.container);
    bed.network.del(&a.container).expect("DEL with the path of what is gone");
    bed.node.kill(&b.container);
    bed.network.del(&b.container.clone().without_netns()).expect("DEL without a path");
    bed.node.assert_nothing_left(&bed.before, &[&a.container, &b.container]);
}

#[test]
fn del_with_a_configuration_that_is_no_longer_valid() {
    let Some(mut bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    bed.network.conflist["plugins"][0]["owner"] = json!("root");
    bed.network.remember(&a.container, None);
    bed.end(&[&a]);
}

#[test]
fn del_goes_on_after_a_failure_of_ipam_and_tells_it() {
    let mut ipam = scripted(&json!([{"address": "10.1.0.5/24"}]), &json!([]));
    ipam["errors"] = json!({"DEL": {"cniVersion": "1.1.0", "code": 111, "msg": "the pool is on fire"}});
    let Some(bed) = start(&json!({ "ipam": ipam })) else { return };
    let a = bed.attach("a");
    let failure = bed.network.del(&a.container).expect_err("DEL");
    assert_eq!((failure.code, failure.msg.as_str()), (111, "the pool is on fire"));
    assert!(a.place().find_link("eth0").is_none());
}

#[test]
fn gc_frees_the_addresses_of_what_is_not_listed() {
    let Some(bed) = start(&keys()) else { return };
    let (kept, gone) = (bed.attach("kept"), bed.attach("gone"));
    bed.node.kill(&gone.container);
    bed.network.gc(&[&kept.container]).expect("GC");
    bed.network.check(&kept.container).expect("CHECK of the valid one");
    let left: Vec<String> = bed.node.snapshot().lines().into_iter().map(str::to_owned).collect();
    assert!(!left.contains(&format!("file {}/{}", ferrule_tests::bed::NETWORK, gone.ip(0))), "{left:#?}");
    bed.end(&[&kept]);
}

#[test]
fn status_tells_what_is_missing() {
    let Some(bed) = start(&keys()) else { return };
    let hide = "mount --bind /dev/null /dev/net/tun; mount -t tmpfs none /dev/net && exec \"$@\"";
    let network = bed.network.wrapped_in(&["unshare", "-m", "sh", "-c", hide, "sh"]);
    let failure = network.status().expect_err("STATUS");
    assert_eq!(failure.code, 50);
    assert!(failure.msg.contains("cannot open /dev/net/tun") && failure.msg.contains("hint"), "{failure:?}");
    let failure = network.add(&bed.node.container("a")).expect_err("ADD");
    assert!(failure.msg.contains("cannot open /dev/net/tun"), "{failure:?}");
}
