//! STATUS on a kernel with VRFs, and on one without.

use ferrule_tests::{Feature, Node, require};
use serde_json::{Value, json};

use crate::network;

#[test]
fn a_kernel_with_vrfs_is_able() {
    if !require(Feature::Vrf) {
        return;
    }
    let Some(node) = Node::start() else { return };
    let before = node.snapshot();
    network(&node, 1, &json!({})).status().expect("STATUS");
    assert_eq!(node.snapshot(), before, "asking makes no VRF");
}

/// Run on any kernel: what the plugin says is compared with what the kernel does.
#[test]
fn a_kernel_without_vrfs_is_told() {
    let Some(node) = Node::start() else { return };
    let has_vrfs = node.outside.try_sh("ip link add vrf0 type vrf table 10").is_ok();
    let network = network(&node, 1, &json!({}));
    let status = network.invocation("STATUS", 1, None, &Value::Null).run(&node.host).reply();
    assert_eq!(status.is_ok(), has_vrfs, "{status:?}");
    let a = node.container("a");
    let add = network.add(&a);
    assert_eq!(add.is_ok(), has_vrfs, "{add:?}");
    for failure in [status.err(), add.err()].into_iter().flatten() {
        assert_eq!(failure.code, 50);
        assert!(failure.msg.starts_with("the kernel has no VRFs (hint: modprobe vrf"), "{failure:?}");
    }
    network.del(&a).expect("DEL");
}
