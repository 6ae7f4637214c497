//! DEL, whatever is gone already; GC and STATUS.

use ferrule_tests::{Network, Node};
use serde_json::{Value, json};

use crate::{network, routes, rules, sbr};

struct Bed {
    node: Node,
    network: Network,
    before: ferrule_tests::Snapshot,
}

fn bed(keys: &Value) -> Option<Bed> {
    let node = Node::start()?;
    let network = network(&node, 1, keys);
    let before = node.snapshot();
    Some(Bed { node, network, before })
}

#[test]
fn del_of_sbr_leaves_neither_rules_nor_tables() {
    let Some(Bed { node, network, before }) = bed(&json!({})) else { return };
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    a.place.sh("ip rule add from 10.9.0.9 lookup 200");
    a.place.sh("ip rule add from 10.1.0.2 fwmark 7 lookup 201");
    a.place.sh("ip rule add from 10.1.0.2 lookup main priority 7");
    for _twice in 0..2 {
        sbr(&network, "DEL", &a, &result, &node).expect("DEL of sbr");
        let others = ["from 10.1.0.2 lookup main", "from 10.1.0.2 fwmark 0x7", "from 10.9.0.9 lookup 200"];
        assert_eq!(rules(&a.place), others, "others' rules stay");
        assert_eq!(routes(&a.place, "eth0", "100"), [""; 0]);
        assert_eq!(routes(&a.place, "eth0", "101"), [""; 0]);
    }
    network.del(&a).expect("DEL");
    network.del(&a).expect("DEL again");
    node.assert_nothing_left(&before, &[&a]);
}

#[test]
fn del_after_the_namespace_is_gone_makes_no_file() {
    let Some(Bed { node, network, before }) = bed(&json!({})) else { return };
    let (a, b) = (node.container("a"), node.container("b"));
    network.add(&a).expect("ADD");
    network.add(&b).expect("ADD");
    for container in [&a, &b] {
        node.kill(container);
    }
    network.del(&a).expect("DEL with the path of what is gone");
    assert!(!a.netns.exists(), "the Go plugin makes an empty file");
    network.del(&b.clone().without_netns()).expect("DEL without the name");
    node.assert_nothing_left(&before, &[&a, &b]);
}

#[test]
fn del_after_the_interface_is_gone_finds_the_rules() {
    let Some(Bed { node, network, .. }) = bed(&json!({})) else { return };
    for (number, has_result) in [(0, true), (1, false)] {
        let a = node.container("a");
        let other = crate::network(&node, 2, &json!({}));
        other.add(&a.clone().on("net1")).expect("ADD of net1");
        network.add(&a).expect("ADD");
        a.place.sh("ip link del eth0");
        assert_eq!(rules(&a.place).len(), 4, "rules do not go with the interface");
        if !has_result {
            network.remember(&a, None);
        }
        network.del(&a).expect("DEL");
        let left = rules(&a.place);
        assert!(
            left.len() == 2 && left.iter().all(|rule| rule.contains("2::") || rule.contains("10.2.")),
            "{number}: {left:?}"
        );
        other.check(&a.clone().on("net1")).expect("CHECK of the other");
        other.del(&a.clone().on("net1")).expect("DEL of the other");
    }
}

#[test]
fn del_with_somebody_elses_table_takes_only_rules_to_it() {
    let Some(Bed { node, network, .. }) = bed(&json!({"table": 7000})) else { return };
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    a.place.sh("ip rule add from 10.1.0.2 lookup 200");
    sbr(&network, "DEL", &a, &result, &node).expect("DEL of sbr");
    assert_eq!(rules(&a.place), ["from 10.1.0.2 lookup 200"]);
}

#[test]
fn del_with_a_configuration_that_is_no_longer_valid() {
    let Some(Bed { node, network, before }) = bed(&json!({})) else { return };
    let a = node.container("a");
    network.add(&a).expect("ADD");
    let mut broken = network.clone();
    broken.conflist["plugins"][1]["gateways"] = json!(["nowhere"]);
    broken.del(&a).expect("DEL");
    assert_eq!(rules(&a.place), [""; 0]);
    node.assert_nothing_left(&before, &[&a]);
}

#[test]
fn gc_and_status() {
    let Some(Bed { node, network, .. }) = bed(&json!({})) else { return };
    let a = node.container("a");
    network.add(&a).expect("ADD");
    network.status().expect("STATUS");
    let gc = network.invocation("GC", 1, None, &Value::Null).run(&node.host).reply();
    gc.expect("GC: all of it is in the containers' namespaces");
    assert_eq!(rules(&a.place).len(), 2);
    network.del(&a).expect("DEL");
}
