//! Answers leave by the interface that was asked.

use ferrule_tests::{Container, Network, Node, eventually};
use serde_json::json;

use crate::{addresses, network};

/// A container on two networks; the host takes from each only what that network's addresses send, and the outside
/// knows the way to both. eth0 has the container's default route. The result of the second.
fn two_networks(node: &Node, with_sbr: bool) -> (Container, Network, serde_json::Value) {
    let (mut first, mut second) = (network(node, 1, &json!({})), network(node, 2, &json!({})));
    first.conflist["plugins"].as_array_mut().unwrap().pop();
    if !with_sbr {
        second.conflist["plugins"].as_array_mut().unwrap().pop();
        // Two default routes of the same metric.
        second.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
        second.conflist["plugins"][0]["isGateway"] = json!(true);
    }
    let container = node.container("a");
    if with_sbr {
        // Before the first has a default route, which would be in the way.
        let net1 = second.add(&container.clone().on("net1")).expect("ADD of net1");
        first.add(&container).expect("ADD of eth0");
        prepare(node);
        return (container, second, net1);
    }
    first.add(&container).expect("ADD of eth0");
    let net1 = second.add(&container.clone().on("net1")).expect("ADD of net1");
    prepare(node);
    (container, second, net1)
}

fn prepare(node: &Node) {
    // Strict: an answer by the wrong interface is dropped. (For IPv6 by a rule.)
    node.host.sh("sysctl -q -w net.ipv4.conf.br1.rp_filter=1");
    node.host.sh("nft add table ip6 strict");
    node.host.sh("nft add chain ip6 strict in { type filter hook prerouting priority raw ; }");
    node.host.sh("nft add rule ip6 strict in iifname br1 ip6 saddr fd00:2::/64 drop");
    node.outside.sh("ip route add 10.0.0.0/8 via 192.0.2.2");
    node.outside.sh("ip route add fd00::/16 via 2001:db8::2");
}

#[test]
fn the_outside_gets_its_answer_from_the_second_interface() {
    let Some(node) = Node::start() else { return };
    let (container, second, net1) = two_networks(&node, true);
    let addresses = addresses(&net1);
    assert_eq!(addresses.len(), 2, "{net1}");
    for address in addresses {
        eventually("the second interface answers", || node.outside.ping(address));
    }
    // And what it says of itself leaves by it, too.
    assert!(container.place.try_sh("ping -n -q -c 1 -W 3 -I 10.2.0.2 192.0.2.1").is_ok());
    second.check(&container.clone().on("net1")).expect("CHECK");
    // Other traffic goes by eth0.
    assert!(container.place.sh("ip route get 192.0.2.1").contains("dev eth0"));
    assert!(container.place.sh("ip route get 192.0.2.1 from 10.2.0.2").contains("dev net1"));
    second.del(&container.clone().on("net1")).expect("DEL");
}

#[test]
fn without_it_the_answer_is_lost() {
    let Some(node) = Node::start() else { return };
    let (_container, _second, net1) = two_networks(&node, false);
    assert!(node.outside.is_unreachable(addresses(&net1)[0]));
}
