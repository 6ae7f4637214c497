//! DEL, whatever is gone already, and GC.

use serde_json::{Value, json};

use crate::{bridge_only, master_of, network, node, vrf};

#[test]
fn del_releases_the_interface_and_removes_the_vrf() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let before = node.snapshot();
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    for _twice in 0..2 {
        vrf(&network, "DEL", &a, &result, &node).expect("DEL of vrf");
        assert!(a.place.find_link("red").is_none());
        assert_eq!(master_of(&a.place, "eth0"), None);
    }
    network.del(&a).expect("DEL");
    network.del(&a).expect("DEL again");
    node.assert_nothing_left(&before, &[&a]);
}

#[test]
fn del_without_the_interface() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let before = node.snapshot();
    let a = node.container("a");
    network.add(&a).expect("ADD");
    a.place.sh("ip link del eth0");
    network.del(&a).expect("DEL");
    assert!(a.place.find_link("red").is_none(), "the VRF without members goes, too");
    node.assert_nothing_left(&before, &[&a]);
}

#[test]
fn del_without_the_namespace() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let before = node.snapshot();
    let (a, b) = (node.container("a"), node.container("b"));
    for container in [&a, &b] {
        network.add(container).expect("ADD");
        node.kill(container);
    }
    network.del(&a).expect("DEL with the path of what is gone");
    network.del(&b.clone().without_netns()).expect("DEL without the name");
    node.assert_nothing_left(&before, &[&a, &b]);
}

#[test]
fn del_leaves_an_interface_alone_that_is_in_another_vrf() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    let prev = bridge_only(&network, &a, &node);
    a.place.sh("ip link add blue type vrf table 9");
    a.place.sh("ip link set eth0 master blue");
    vrf(&network, "DEL", &a, &prev, &node).expect("DEL");
    assert_eq!(master_of(&a.place, "eth0").as_deref(), Some("blue"));
}

#[test]
fn del_with_a_configuration_that_is_no_longer_valid() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    network.add(&a).expect("ADD");
    let mut broken = network.clone();
    broken.conflist["plugins"][1]["vrfname"] = json!("");
    let result = network.result(&a);
    vrf(&broken, "DEL", &a, &result, &node).expect("DEL");
    assert!(a.place.find_link("red").is_none());
    broken.del(&a).expect("DEL of all");
}

#[test]
fn gc_leaves_containers_alone() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    network.add(&a).expect("ADD");
    network.invocation("GC", 1, None, &Value::Null).run(&node.host).reply().expect("GC");
    network.check(&a).expect("CHECK");
    network.status().expect("STATUS");
    network.del(&a).expect("DEL");
}
