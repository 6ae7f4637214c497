//! The choice of the table, and VRFs that several interfaces share.

use serde_json::json;

use crate::{bridge_only, master_of, network, node, routes, table_of, vrf, words};

#[test]
fn tables_that_anybody_uses_are_passed_over() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    a.place.sh("ip route add 10.7.0.0/16 dev lo table 1");
    a.place.sh("ip -6 route add unreachable fd07::/64 table 2");
    a.place.sh("ip rule add from 10.9.0.0/16 lookup 3");
    a.place.sh("ip link add green type vrf table 4");
    network.add(&a).expect("ADD");
    assert_eq!(table_of(&a.place, "red"), Some(5));
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
    assert!(a.place.find_link("green").is_some(), "somebody else's");
}

#[test]
fn the_kernels_tables_are_not_for_vrfs() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    // All but the last few, as rules: 252 of them.
    let batch: String = (1..=252).map(|table| format!("rule add from 10.9.0.0/16 lookup {table}\n")).collect();
    let file = node.dir().join("rules");
    std::fs::File::create(&file).and_then(|mut f| std::io::Write::write_all(&mut f, batch.as_bytes())).unwrap();
    a.place.sh(&format!("ip -batch {}", file.display()));
    network.add(&a).expect("ADD");
    assert_eq!(table_of(&a.place, "red"), Some(256));
    assert_eq!(routes(&a.place, "eth0", "256").len(), 4);
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

#[test]
fn interfaces_share_a_vrf() {
    let Some(node) = node() else { return };
    let (first, second) = (network(&node, 1, &json!({"table": 1001})), network(&node, 2, &json!({})));
    let mut second = second;
    second.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
    let a = node.container("a");
    let net1 = a.clone().on("net1");
    first.add(&a).expect("ADD");
    second.add(&net1).expect("ADD of another interface");
    assert_eq!(master_of(&a.place, "net1").as_deref(), Some("red"));
    assert_eq!(routes(&a.place, "net1", "1001").len(), 2, "both subnets");
    first.check(&a).expect("CHECK");
    second.check(&net1).expect("CHECK of the other");
    first.del(&a).expect("DEL");
    assert_eq!(table_of(&a.place, "red"), Some(1001), "it still has a member");
    second.check(&net1).expect("CHECK after the first is gone");
    second.del(&net1).expect("DEL of the last");
    assert!(a.place.find_link("red").is_none());
}

#[test]
fn a_vrf_with_another_table_is_refused() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({"table": 1001}));
    let a = node.container("a");
    a.place.sh("ip link add red type vrf table 1002");
    let prev = bridge_only(&network, &a, &node);
    let failure = vrf(&network, "ADD", &a, &prev, &node).expect_err("another table");
    assert_eq!(failure.code, 7);
    assert!(
        failure.msg.starts_with("VRF red already exist with different routing table 1002, not 1001"),
        "{failure:?}"
    );
    assert_eq!(master_of(&a.place, "eth0"), None);
    assert_eq!(table_of(&a.place, "red"), Some(1002));
    let is_up = || a.place.find_link("red").unwrap()["flags"].to_string().contains("\"UP\"");
    assert!(!is_up(), "left as it was");
    a.place.sh("ip link del red");
    a.place.sh("ip link add red type vrf table 1001");
    vrf(&network, "ADD", &a, &prev, &node).expect("ADD to a VRF that is down");
    assert!(is_up());
    let failure = vrf(&network, "ADD", &a, &prev, &node).expect_err("twice");
    assert_eq!(failure.msg, "interface eth0 has already a master set: red");
}

#[test]
fn another_kind_of_link_is_refused() {
    let Some(node) = node() else { return };
    let network = network(&node, 1, &json!({"vrfname": "lo"}));
    let a = node.container("a");
    let prev = bridge_only(&network, &a, &node);
    let failure = vrf(&network, "ADD", &a, &prev, &node).expect_err("lo");
    assert!(words(&failure).starts_with("Netlink lo is not a VRF"), "{failure:?}");
    vrf(&network, "DEL", &a, &prev, &node).expect("DEL");
}

#[test]
fn several_at_once_have_tables_of_their_own() {
    let Some(node) = node() else { return };
    let a = node.container("a");
    let colours = ["red", "green", "blue", "cyan"];
    let prepared: Vec<_> = colours
        .iter()
        .zip(1..)
        .map(|(colour, number)| {
            let mut network = network(&node, number, &json!({"vrfname": colour}));
            network.conflist["plugins"][0]["isDefaultGateway"] = json!(false);
            let container = a.clone().on(&format!("net{number}"));
            let prev = bridge_only(&network, &container, &node);
            (network, container, prev)
        })
        .collect();
    std::thread::scope(|scope| {
        for (network, container, prev) in &prepared {
            let node = &node;
            scope.spawn(move || {
                let result = vrf(network, "ADD", container, prev, node).expect("ADD of vrf");
                network.remember(container, Some(result));
            });
        }
    });
    let mut tables: Vec<_> = colours.iter().filter_map(|colour| table_of(&a.place, colour)).collect();
    tables.sort_unstable();
    assert_eq!(tables, [1, 2, 3, 4]);
    for (network, container, _) in &prepared {
        network.check(container).expect("CHECK");
        network.del(container).expect("DEL");
    }
}
