//! What an interface keeps on its way into a VRF, and what packets see of it.

use ferrule_tests::eventually;
use serde_json::json;

use crate::{addresses, bridge_only, master_of, network, network_with, node, routes, scripted, table_of, vrf};

#[test]
fn addresses_and_routes_are_in_the_vrf() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    let before = node.snapshot();
    let result = network.add(&a).expect("ADD");
    assert_eq!(master_of(&a.place, "eth0").as_deref(), Some("red"));
    assert_eq!(table_of(&a.place, "red"), Some(1));
    assert_eq!(addresses(&a.place, "eth0"), ["10.1.0.2/24", "fd00:1::2/64"]);
    let expected = [
        "default via 10.1.0.1",
        "10.1.0.0/24 scope link src 10.1.0.2",
        "fd00:1::/64 metric 256",
        "default via fd00:1::1 metric 1024",
    ];
    assert_eq!(routes(&a.place, "eth0", "1"), expected);
    assert_eq!(routes(&a.place, "eth0", "main"), [""; 0]);
    let reported = json!([
        {"dst": "0.0.0.0/0", "gw": "10.1.0.1", "table": 1},
        {"dst": "::/0", "gw": "fd00:1::1", "table": 1}
    ]);
    assert_eq!(result["routes"], reported);
    network.check(&a).expect("CHECK");

    // Packets: the container answers in its VRF, and speaks there; outside of it, it has no way.
    node.outside.sh("ip route add 10.1.0.0/16 via 192.0.2.2");
    node.outside.sh("ip route add fd00:1::/64 via 2001:db8::2");
    for ip in ["10.1.0.2", "fd00:1::2"] {
        eventually("the outside reaches the container", || node.outside.ping(ip.parse().unwrap()));
    }
    for ip in ["192.0.2.1", "2001:db8::1"] {
        let from_vrf = || a.place.try_sh(&format!("ping -n -q -c 1 -W 3 -I red {ip}")).is_ok();
        eventually("the container reaches the outside by its VRF", from_vrf);
        assert!(a.place.is_unreachable(ip.parse().unwrap()), "without the VRF there is no route");
    }
    network.del(&a).expect("DEL");
    assert!(a.place.find_link("red").is_none());
    node.assert_nothing_left(&before, &[&a]);
}

#[test]
fn routes_keep_all_their_attributes() {
    let Some(node) = node() else { return };
    let ips = json!([
        {"address": "10.1.0.5/24", "gateway": "10.1.0.1"},
        {"address": "fd00:1::5/64", "gateway": "fd00:1::1"}
    ]);
    let of_ipam = json!([
        {"dst": "10.7.0.0/16", "gw": "10.1.0.9", "mtu": 1400, "advmss": 1360, "priority": 77},
        {"dst": "10.8.0.0/16", "scope": 253},
        {"dst": "10.9.0.0/16", "gw": "10.1.0.9", "table": 1234},
        {"dst": "fd07::/64", "gw": "fd00:1::9", "mtu": 1300, "advmss": 1240, "priority": 5}
    ]);
    let mut network = network_with(&node, 1, &scripted(&ips, &of_ipam), &json!({"table": 70000}));
    network.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
    let a = node.container("a");
    let prev = bridge_only(&network, &a, &node);
    a.place.sh("ip route add 10.6.0.0/16 proto static src 10.1.0.5 window 4000 via 10.1.0.8 dev eth0");
    a.place.sh("ip route add 10.5.0.0/16 nexthop via 10.1.0.2 dev eth0 weight 3 nexthop via 10.1.0.3 dev eth0");
    let before: Vec<String> = routes(&a.place, "eth0", "main");
    let result = vrf(&network, "ADD", &a, &prev, &node).expect("ADD of vrf");
    assert_eq!(routes(&a.place, "eth0", "70000"), before);
    assert_eq!(before.len(), 6, "{before:?}");
    assert_eq!(routes(&a.place, "eth0", "1234"), ["10.9.0.0/16 via 10.1.0.9"], "another table's stays there");
    assert!(a.place.sh("ip route show table 70000").contains("nexthop via 10.1.0.2 dev eth0 weight 3"));
    let tables: Vec<_> = result["routes"].as_array().unwrap().iter().map(|route| route["table"].clone()).collect();
    assert_eq!(tables, [70000, 70000, 1234, 70000]);
    assert_eq!((&result["routes"][0]["mtu"], &result["routes"][1]["scope"]), (&json!(1400), &json!(253)));
    network.remember(&a, Some(result));
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

#[test]
fn ipv6_addresses_survive_without_the_sysctl_and_are_not_probed_again() {
    let Some(node) = node() else { return };
    for (keep, dad) in [("0", "nodad"), ("1", "nodad"), ("0", ""), ("1", "")] {
        let network = network(&node, 1, &json!({}));
        let a = node.container("a");
        let prev = bridge_only(&network, &a, &node);
        a.place.sh("ip -6 address flush dev eth0 scope global");
        a.place.sh(&format!("sysctl -q -w net.ipv6.conf.eth0.keep_addr_on_down={keep}"));
        a.place.sh(&format!("ip address add fd00:1::2/64 dev eth0 {dad}"));
        a.place.sh(&format!("ip address add fd00:2::7/128 dev eth0 noprefixroute {dad}"));
        eventually("no address is tentative", || !addresses(&a.place, "eth0").concat().contains("tentative"));
        // The flush took it.
        let _ = a.place.try_sh("ip -6 route add default via fd00:1::1 dev eth0");
        vrf(&network, "ADD", &a, &prev, &node).expect("ADD of vrf");
        let mut now = addresses(&a.place, "eth0");
        now.retain(|address| address.starts_with("fd00"));
        now.sort();
        assert_eq!(now, ["fd00:1::2/64", "fd00:2::7/128"], "keep_addr_on_down {keep}, {dad}");
        let v6: Vec<_> = routes(&a.place, "eth0", "1").into_iter().filter(|route| route.contains("fd00")).collect();
        assert_eq!(v6, ["fd00:1::/64 metric 256", "default via fd00:1::1 metric 1024"]);
        network.remember(&a, Some(prev));
        network.del(&a).expect("DEL");
    }
}

#[test]
fn two_vrfs_of_one_container_may_have_the_same_addresses() {
    let Some(node) = node() else { return };
    let ipam = scripted(&json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]), &json!([]));
    let red = network_with(&node, 1, &ipam, &json!({}));
    let blue = network_with(&node, 2, &ipam, &json!({"vrfname": "blue"}));
    // One host cannot have the gateway's address twice.
    let mut blue = blue;
    blue.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
    let a = node.container("a");
    red.add(&a).expect("ADD to red");
    blue.add(&a.clone().on("net1")).expect("ADD to blue");
    assert_eq!((table_of(&a.place, "red"), table_of(&a.place, "blue")), (Some(1), Some(2)));
    for (network, container) in [(&red, a.clone()), (&blue, a.clone().on("net1"))] {
        network.check(&container).expect("CHECK");
        network.del(&container).expect("DEL");
    }
    assert!(a.place.find_link("red").is_none() && a.place.find_link("blue").is_none());
}
