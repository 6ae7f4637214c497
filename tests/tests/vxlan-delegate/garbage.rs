//! GC: the delegate removes what no valid attachment has, then the cache forgets it.

use std::fs;

use ferrule_tests::bed::words;
use serde_json::json;

use crate::{FAILS, SUBNET, cache, cache_dir, plugin, start, subnet_file, with_bridge};

#[test]
fn the_dead_are_removed_and_the_valid_stay() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let (kept, gone, lost) = (bed.attach("kept"), bed.attach("gone"), bed.attach("lost"));
    let net1 = bed.attach_to(&bed.network, kept.container.clone().on("net1"));
    for dead in [&gone, &lost] {
        bed.node.kill(&dead.container);
    }
    for name in [format!("{}:eth0", lost.container.id), lost.container.id.clone()] {
        fs::remove_file(cache_dir(&bed.node).join(name)).unwrap();
    }
    bed.network.gc(&[&kept.container]).expect("GC");
    assert_eq!(cache(&bed.node), [kept.container.id.clone(), format!("{}:eth0", kept.container.id)]);
    assert!(net1.place().find_link("net1").is_none(), "another interface of a valid container");
    bed.network.check(&kept.container).expect("CHECK of the valid one");
    let now = bed.node.snapshot();
    let lines = now.since(&bed.before);
    for dead in [&gone, &lost] {
        assert!(!lines.iter().any(|line| line.contains(&dead.container.id)), "{lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("file pods/10.42.3.")).count(), 1, "{lines:#?}");
    bed.end(&[&kept]);
}

#[test]
fn other_networks_in_the_same_directory_are_not_touched() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let other = bed.node.network_of("other", &plugin(&bed.node, "flannel", &json!({})));
    let (a, b) = (bed.attach("a"), bed.attach_to(&other, bed.node.container("b")));
    bed.network.gc(&[]).expect("GC");
    assert_eq!(cache(&bed.node), [b.container.id.clone(), format!("{}:eth0", b.container.id)]);
    other.check(&b.container).expect("CHECK");
    other.del(&b.container).expect("DEL");
    bed.node.assert_nothing_left(&bed.before, &[&a.container, &b.container]);
}

#[test]
fn without_a_subnet_file_too_and_what_nobody_can_read_goes() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let gone = bed.attach("gone");
    bed.node.kill(&gone.container);
    fs::remove_file(subnet_file(&bed.node)).unwrap();
    for name in ["torn", "torn:eth0", ".hidden", "no owner"] {
        fs::write(cache_dir(&bed.node).join(name), "{\"name\": \"po").unwrap();
    }
    bed.network.gc(&[]).expect("GC");
    assert_eq!(cache(&bed.node), [".hidden", "no owner"]);
    bed.node.assert_nothing_left(&bed.before, &[&gone.container]);
}

#[test]
fn a_delegate_that_fails_is_told_and_its_attachment_not_forgotten() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let broken = bed.network.served_by(&with_bridge(&bed.node, FAILS));
    let failure = broken.gc(&[]).expect_err("the delegate fails");
    assert_eq!(words(&failure).matches("the bridge is out of order").count(), 3, "two DELs and a GC: {failure:?}");
    assert_eq!(cache(&bed.node).len(), 4);
    bed.network.gc(&[]).expect("GC");
    assert_eq!(cache(&bed.node), [] as [&str; 0]);
    bed.node.assert_nothing_left(&bed.before, &[&a.container, &b.container]);
}
