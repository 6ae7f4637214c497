//! DEL: again, late, after failures, and without what it would like to know.

use std::fs;

use ferrule_tests::bed::words;
use serde_json::json;

use crate::{FAILS, SUBNET, cache, cache_file, start, subnet_file, with_bridge};

/// flannel's plugin forgets the attachment after a failed DEL; its next DEL succeeds and leaves address and veth.
#[test]
fn a_failed_del_is_not_forgotten() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let a = bed.attach("a");
    let broken = bed.network.served_by(&with_bridge(&bed.node, FAILS));
    for _ in 0..2 {
        let failure = broken.del(&a.container).expect_err("the delegate fails");
        assert_eq!((failure.code, failure.msg.as_str()), (11, "the bridge is out of order"), "passed on unchanged");
        assert_eq!(cache(&bed.node).len(), 2);
    }
    bed.end(&[&a]);
    assert_eq!(cache(&bed.node), [] as [&str; 0]);
}

#[test]
fn del_again_without_namespace_and_without_its_name() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let (twice, nameless, gone) = (bed.attach("twice"), bed.attach("nameless"), bed.attach("gone"));
    bed.network.del(&twice.container).expect("DEL");
    bed.network.del(&twice.container.clone().without_netns()).expect("DEL again");
    bed.node.kill(&nameless.container);
    bed.network.del(&nameless.container.clone().without_netns()).expect("DEL without the name");
    bed.node.kill(&gone.container);
    bed.network.remember(&gone.container, None);
    bed.network.del(&gone.container).expect("DEL without namespace and result");
    bed.node.assert_nothing_left(&bed.before, &[&twice.container, &nameless.container, &gone.container]);
}

#[test]
fn without_the_cache_or_with_a_garbled_one_the_subnet_file_serves() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let (lost, garbled) = (bed.attach("lost"), bed.attach("garbled"));
    fs::remove_file(cache_file(&bed.node, &lost.container)).unwrap();
    fs::remove_file(cache_file(&bed.node, &lost.container).with_file_name(&lost.container.id)).unwrap();
    fs::write(cache_file(&bed.node, &garbled.container), "{\"name\": \"po").unwrap();
    for pod in [&lost, &garbled] {
        bed.network.check(&pod.container).expect("CHECK");
    }
    bed.end(&[&lost, &garbled]);
    assert_eq!(cache(&bed.node), [] as [&str; 0]);
}

#[test]
fn nothing_is_known_and_nothing_was_made() {
    let Some(mut bed) = start(SUBNET, &json!({})) else { return };
    let never = bed.node.container("never");
    bed.network.del(&never).expect("DEL by the subnet file");
    fs::remove_file(subnet_file(&bed.node)).unwrap();
    bed.network.del(&never).expect("DEL without a subnet file");
    bed.network.conflist["plugins"][0]["delegate"] = json!({"type": "nowhere"});
    bed.network.del(&never).expect("DEL with a delegate that is not installed");
}

#[test]
fn a_configuration_that_became_wrong_is_no_obstacle() {
    let Some(mut bed) = start(SUBNET, &json!({})) else { return };
    let a = bed.attach("a");
    fs::remove_file(subnet_file(&bed.node)).unwrap();
    bed.network.conflist["plugins"][0]["delegate"] = json!({"type": 7, "name": "x"});
    bed.network.conflist["plugins"][0]["subnetFile"] = json!(["a"]);
    bed.end(&[&a]);
}

#[test]
fn a_failed_add_leaves_nothing_unless_its_undoing_fails_too() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let adds_nothing = with_bridge(&bed.node, &format!("[ $CNI_COMMAND != DEL ] || exit 0\n{FAILS}"));
    let a = bed.node.container("a");
    let failure = bed.network.served_by(&adds_nothing).add(&a).expect_err("ADD must fail");
    assert_eq!((failure.code, failure.msg.as_str()), (11, "the bridge is out of order"));
    assert_eq!(cache(&bed.node), [] as [&str; 0]);

    let broken = with_bridge(&bed.node, FAILS);
    let failure = bed.network.served_by(&broken).add(&a).expect_err("ADD must fail");
    assert!(failure.stderr.contains("after a failed ADD, DEL of bridge failed"), "{}", failure.stderr);
    assert_eq!(cache(&bed.node), [a.id.clone(), format!("{}:eth0", a.id)], "for the DEL of the runtime");
    bed.network.del(&a).expect("DEL");
    bed.node.assert_nothing_left(&bed.before, &[&a]);
}

#[test]
fn a_second_add_harms_nothing() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let result = bed.network.result(&a.container);
    let failure = bed.network.add(&a.container).expect_err("there is an eth0");
    assert!(words(&failure).contains("eth0"), "{failure:?}");
    bed.network.remember(&a.container, Some(result));
    bed.network.check(&a.container).expect("CHECK of the first");
    assert!(a.place().ping(b.ip(0)));
    bed.end(&[&a, &b]);
}

/// A container that is started again after a crash of the machine: no DEL came.
#[test]
fn an_id_that_comes_again_gets_a_cache_of_its_own() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let a = bed.attach("a");
    let mut again = bed.node.container("again");
    again.id.clone_from(&a.container.id);
    bed.node.kill(&a.container);
    bed.network.gc(&[]).expect("GC");
    fs::write(cache_file(&bed.node, &again), "{}").unwrap();
    let again = bed.attach_to(&bed.network, again);
    assert_eq!(cache(&bed.node), [again.container.id.clone(), format!("{}:eth0", again.container.id)]);
    bed.end(&[&again]);
    assert_eq!(cache(&bed.node), [] as [&str; 0]);
}
