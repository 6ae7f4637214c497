//! `tuning` where it belongs: in a chain after the plugin that makes the interface, with packets.

use ferrule_tests::{Network, Node};
use serde_json::{Value, json};

fn network(node: &Node, keys: &Value) -> Network {
    let mut tuning = json!({"type": "tuning", "dataDir": node.dir().join("tuning")});
    tuning.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let bridge = json!({
        "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"},
    });
    node.network(json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [bridge, tuning]}))
}

#[test]
fn the_chain_agrees_about_the_interface() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &json!({"mac": "0a:58:0a:01:02:03", "mtu": 1300}));
    let (before, web) = (node.snapshot(), node.container("web"));
    let result = network.add(&web).expect("ADD");
    assert_eq!(result["interfaces"][2]["mac"], "0a:58:0a:01:02:03");
    assert_eq!(result["interfaces"][2]["mtu"], 1300);
    network.check(&web).expect("CHECK of bridge and tuning");

    web.place.sh("ping -c 1 -W 5 -M do -s 1272 10.1.0.1");
    let too_long = web.place.try_sh("ping -c 1 -W 5 -M do -s 1273 10.1.0.1").unwrap_err();
    assert!(too_long.is_empty() || too_long.contains("too long"), "{too_long}");
    let neighbours = node.host.sh("ip neigh show to 10.1.0.2 dev br0");
    assert!(neighbours.contains("0a:58:0a:01:02:03"), "{neighbours}");

    network.del(&web).expect("DEL");
    node.assert_nothing_left(&before, &[&web]);
    assert_eq!(std::fs::read_dir(node.dir().join("tuning")).unwrap().count(), 0);
}

#[test]
fn a_sysctl_is_heard_on_the_wire() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &json!({"sysctl": {"net.ipv4.icmp_echo_ignore_all": "1"}}));
    let web = node.container("web");
    network.add(&web).expect("ADD");
    web.place.sh("ping -c 1 -W 5 10.1.0.1");
    node.host.try_sh("ping -c 1 -W 1 10.1.0.2").expect_err("it does not answer");
    network.del(&web).expect("DEL");
    network.add(&web).expect("ADD again");
    node.host.try_sh("ping -c 1 -W 1 10.1.0.2").expect_err("it does not answer");
    network.del(&web).expect("DEL");
    assert_eq!(web.place.sysctl("net/ipv4/icmp_echo_ignore_all"), "0");
}
