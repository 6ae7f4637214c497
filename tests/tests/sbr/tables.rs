//! What stands in rules and tables, and what the result says of it.

use ferrule_tests::Node;
use serde_json::{Value, json};

use crate::{network, network_with, routes, rules, scripted};

#[test]
fn each_address_has_a_table_and_the_main_table_has_nothing_left() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    assert_eq!(rules(&a.place), ["from 10.1.0.2 lookup 100", "from fd00:1::2 lookup 101"]);
    let v4 = ["default via 10.1.0.1", "10.1.0.0/24 scope link src 10.1.0.2"];
    assert_eq!(routes(&a.place, "eth0", "100"), v4);
    let v6 = ["fd00:1::/64 metric 256", "default via fd00:1::1 metric 1024"];
    assert_eq!(routes(&a.place, "eth0", "101"), v6);
    assert_eq!(routes(&a.place, "eth0", "main"), [""; 0]);
    assert_eq!(
        result["routes"],
        json!([
            {"dst": "0.0.0.0/0", "gw": "10.1.0.1", "table": 100},
            {"dst": "::/0", "gw": "fd00:1::1", "table": 101}
        ])
    );
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

/// Two addresses in one subnet and one in another, of which one has no gateway; routes of all kinds.
fn several() -> Value {
    let ips = json!([
        {"address": "10.1.0.5/24", "gateway": "10.1.0.1"},
        {"address": "10.1.0.6/24", "gateway": "10.1.0.1"},
        {"address": "10.3.0.5/24"}
    ]);
    let routes = json!([
        {"dst": "10.7.0.0/16", "gw": "10.1.0.9", "mtu": 1400, "advmss": 1360, "priority": 77},
        {"dst": "10.8.0.0/16", "gw": "10.3.0.9"},
        {"dst": "10.9.0.0/16", "scope": 253},
        {"dst": "10.10.0.0/16", "gw": "10.1.0.9", "table": 1234}
    ]);
    scripted(&ips, &routes)
}

#[test]
fn routes_go_with_the_address_whose_subnet_they_are_in() {
    let Some(node) = Node::start() else { return };
    let mut network = network_with(&node, 1, &several(), &json!({}));
    network.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    let expected = ["from 10.3.0.5 lookup 102", "from 10.1.0.6 lookup 101", "from 10.1.0.5 lookup 100"];
    assert_eq!(rules(&a.place), expected);
    let first = [
        "default via 10.1.0.1",
        "10.1.0.0/24 scope link src 10.1.0.5",
        "10.7.0.0/16 via 10.1.0.9 metric 77 mtu 1400 advmss 1360",
        "10.9.0.0/16 scope link",
    ];
    assert_eq!(routes(&a.place, "eth0", "100"), first);
    assert_eq!(routes(&a.place, "eth0", "101"), first, "the same subnet");
    let third = ["10.3.0.0/24 scope link src 10.3.0.5", "10.8.0.0/16 via 10.3.0.9", "10.9.0.0/16 scope link"];
    assert_eq!(routes(&a.place, "eth0", "102"), third, "without a gateway there is no default route");
    assert_eq!(routes(&a.place, "eth0", "1234"), ["10.10.0.0/16 via 10.1.0.9"], "another table's");
    let of = |dst: &str| -> Vec<Value> {
        let routes = result["routes"].as_array().unwrap().iter().filter(|route| route["dst"] == dst);
        routes.map(|route| route["table"].clone()).collect()
    };
    assert_eq!(of("10.7.0.0/16"), [100, 101]);
    assert_eq!(of("10.8.0.0/16"), [102]);
    assert_eq!(of("10.9.0.0/16"), [100, 101, 102]);
    assert_eq!(of("10.10.0.0/16"), [1234]);
    assert_eq!(of("0.0.0.0/0"), [100, 101], "the default routes are sbr's own");
    assert_eq!(result["routes"][0]["mtu"], 1400);
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

#[test]
fn a_route_that_serves_no_address_is_not_lost() {
    let Some(node) = Node::start() else { return };
    // 10.3.0.9 is reached by a route, not by an address's subnet.
    let routes_of_ipam = json!([{"dst": "10.3.0.9/32", "scope": 253}, {"dst": "10.8.0.0/16", "gw": "10.3.0.9"}]);
    let ipam = scripted(&json!([{"address": "10.1.0.5/24"}]), &routes_of_ipam);
    let mut network = network_with(&node, 1, &ipam, &json!({}));
    network.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
    let a = node.container("a");
    network.add(&a).expect("ADD");
    let expected = ["10.1.0.0/24 scope link src 10.1.0.5", "10.3.0.9 scope link", "10.8.0.0/16 via 10.3.0.9"];
    assert_eq!(routes(&a.place, "eth0", "100"), expected);
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

#[test]
fn a_table_of_somebody_else_gets_rules_alone() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, 1, &json!({"table": 7000, "gateways": ["10.1.0.9"], "addSourceHints": true}));
    let a = node.container("a");
    a.place.sh("ip route add blackhole default table 7000");
    let result = network.add(&a).expect("ADD");
    assert_eq!(rules(&a.place), ["from 10.1.0.2 lookup 7000", "from fd00:1::2 lookup 7000"]);
    assert_eq!(routes(&a.place, "eth0", "7000"), [""; 0]);
    assert_eq!(routes(&a.place, "eth0", "main").len(), 4, "both subnets and default routes");
    assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "::/0", "gw": "fd00:1::1"}]));
    network.check(&a).expect("CHECK");
    crate::sbr(&network, "DEL", &a, &result, &node).expect("DEL of sbr");
    assert_eq!(rules(&a.place), [""; 0]);
    assert!(a.place.sh("ip route show table 7000").contains("blackhole"), "the table is not ours");
    network.del(&a).expect("DEL");
}

#[test]
fn gateways_of_the_configuration_lead_the_default_routes() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, 1, &json!({"gateways": ["fd00:1::9", "10.1.0.9"]}));
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    assert_eq!(routes(&a.place, "eth0", "100"), ["default via 10.1.0.9", "10.1.0.0/24 scope link src 10.1.0.2"]);
    let v6 = ["fd00:1::/64 metric 256", "default via fd00:1::9 metric 1024"];
    assert_eq!(routes(&a.place, "eth0", "101"), v6);
    assert_eq!(
        result["routes"],
        json!([
            {"dst": "0.0.0.0/0", "gw": "10.1.0.9", "table": 100},
            {"dst": "::/0", "gw": "fd00:1::9", "table": 101}
        ])
    );
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

#[test]
fn source_hints_keep_the_subnets_in_the_main_table() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, 1, &json!({"addSourceHints": true}));
    let a = node.container("a");
    network.add(&a).expect("ADD");
    let main = ["10.1.0.0/24 scope link src 10.1.0.2", "fd00:1::/64 src fd00:1::2 metric 256"];
    assert_eq!(routes(&a.place, "eth0", "main"), main);
    assert_eq!(routes(&a.place, "eth0", "100").len(), 2);
    assert_eq!(routes(&a.place, "eth0", "101").len(), 2);
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

#[test]
fn link_local_neighbours_are_reached_as_before() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    network.add(&a).expect("ADD");
    ferrule_tests::eventually("the bridge's link-local address answers", || {
        let shown = node.host.json("ip -j -6 address show dev br1 scope link");
        // `ip` leaves empty objects for what it does not show.
        let mut listed = shown[0]["addr_info"].as_array().unwrap().iter();
        let address = listed.find_map(|address| address["local"].as_str()).unwrap_or("fe80::1");
        a.place.try_sh(&format!("ping -n -q -c 1 -W 1 {address}%eth0")).is_ok()
    });
    network.del(&a).expect("DEL");
}
