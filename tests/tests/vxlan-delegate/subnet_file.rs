//! A subnet file that is missing or damaged, and one that says something new.

use std::fs;

use ferrule_tests::bed::words;
use serde_json::json;

use crate::{SUBNET, cache, start, subnet_file, with_bridge, write_subnet};

#[test]
fn without_a_subnet_add_is_to_be_tried_again_and_status_says_why() {
    let truncated = &SUBNET[..SUBNET.find("IPMASQ").unwrap()];
    for (text, says) in [
        (None, "does not exist (hint: "),
        (Some(""), "is incomplete, it lacks FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET or"),
        (Some(truncated), "is incomplete, it lacks FLANNEL_IPMASQ (hint: "),
        (Some("FLANNEL_SUBNET"), "is incomplete"),
        (
            Some("FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.\nFLANNEL_MTU=1\nFLANNEL_IPMASQ=true"),
            "is damaged",
        ),
    ] {
        let Some(bed) = start(text.unwrap_or_default(), &json!({})) else { return };
        if text.is_none() {
            fs::remove_file(subnet_file(&bed.node)).unwrap();
        }
        let a = bed.node.container("a");
        let refused = bed.refused(&a);
        assert_eq!(refused.code, 11, "{refused:?}");
        let status = bed.network.status().expect_err("STATUS must fail");
        assert_eq!(status.code, 50, "{status:?}");
        for failure in [refused, status] {
            assert!(words(&failure).contains(says), "{failure:?}");
            assert!(words(&failure).contains("subnet.env"), "{failure:?}");
        }
        assert_eq!(cache(&bed.node), [] as [&str; 0]);
        bed.network.del(&a).expect("DEL of what never was");
        bed.network.gc(&[]).expect("GC");
        write_subnet(&bed.node, SUBNET);
        bed.network.status().expect("STATUS");
        let a = bed.attach_to(&bed.network, a);
        bed.end(&[&a]);
    }
}

#[test]
fn status_asks_delegate_and_ipam() {
    let small = SUBNET.replace("10.42.3.1/24", "10.42.3.1/30");
    let Some(bed) = start(&small, &json!({})) else { return };
    bed.network.status().expect("STATUS");
    let a = bed.attach("a");
    let exhausted = bed.network.status().expect_err("the pool is exhausted");
    assert_eq!(exhausted.code, 50, "{exhausted:?}");
    assert!(words(&exhausted).contains("10.42.3."), "{exhausted:?}");
    let without_bridge = with_bridge(&bed.node, "true");
    fs::remove_file(without_bridge.plugin("bridge")).unwrap();
    let missing = bed.network.served_by(&without_bridge).status().expect_err("no bridge");
    assert!(words(&missing).contains("failed to find plugin \"bridge\""), "{missing:?}");
    bed.end(&[&a]);
}

#[test]
fn status_says_that_nothing_can_be_remembered() {
    let Some(mut bed) = start(SUBNET, &json!({})) else { return };
    bed.network.conflist["plugins"][0]["dataDir"] = json!(subnet_file(&bed.node).join("in-a-file"));
    let refused = bed.refused(&bed.node.container("a"));
    let status = bed.network.status().expect_err("a file is no directory");
    assert_eq!(status.code, 50, "{status:?}");
    for failure in [refused, status] {
        assert!(words(&failure).contains("subnet.env/in-a-file: Not a directory"), "{failure:?}");
    }
}

#[test]
fn attachments_outlive_the_subnet_that_they_are_of() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    write_subnet(&bed.node, &SUBNET.replace("10.42.3.1/24", "10.42.7.1/24").replace("1450", "1400"));
    bed.network.check(&a.container).expect("CHECK of what ADD made");
    fs::remove_file(subnet_file(&bed.node)).unwrap();
    bed.network.check(&b.container).expect("CHECK without a subnet file");
    a.place().sh("ip address del 10.42.3.2/24 dev eth0");
    assert!(bed.complaint(&a).contains("10.42.3.2"));
    bed.end(&[&a, &b]);
}
