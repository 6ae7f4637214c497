//! The choice of tables: it sees all that are used, and two at once do not choose the same.

use ferrule_tests::Node;
use serde_json::json;

use crate::{network, routes, rules};

#[test]
fn tables_that_anybody_uses_are_passed_over() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, 1, &json!({}));
    let a = node.container("a");
    // No rule leads to any of the first three, which the Go plugin would fill.
    a.place.sh("ip route add 10.7.0.0/16 dev lo table 100");
    a.place.sh("ip -6 route add unreachable fd07::/64 table 101");
    a.place.sh("ip route add blackhole 10.8.0.0/16 table 103");
    a.place.sh("ip rule add from 10.9.0.0/16 lookup 104");
    a.place.sh("ip -6 rule add fwmark 7 lookup 105");
    network.add(&a).expect("ADD");
    let own = rules(&a.place);
    for rule in ["from 10.1.0.2 lookup 102", "from fd00:1::2 lookup 106"] {
        assert!(own.iter().any(|line| line == rule), "{own:?}");
    }
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
    assert!(a.place.sh("ip route show table 100").contains("10.7.0.0/16"));
}

#[test]
fn attachments_of_one_container_have_tables_of_their_own() {
    let Some(node) = Node::start() else { return };
    let a = node.container("a");
    let networks: Vec<_> = (1..=6).map(|number| network(&node, number, &json!({}))).collect();
    // sbr alone at once: the interfaces are there already.
    let prepared: Vec<_> = networks
        .iter()
        .zip(1..)
        .map(|(network, number)| {
            let container = a.clone().on(&format!("net{number}"));
            let mut prev = crate::bridge_only(network, &container, &node);
            // Only one of them can have the default route of the main table.
            for gateway in ["-4", "-6"] {
                a.place.sh(&format!("ip {gateway} route del default"));
            }
            prev["routes"] = json!([]);
            (network, container, prev)
        })
        .collect();
    let results: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = prepared
            .iter()
            .map(|(network, container, prev)| {
                let node = &node;
                scope.spawn(move || crate::sbr(network, "ADD", container, prev, node).expect("ADD of sbr"))
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut tables: Vec<String> =
        rules(&a.place).iter().map(|rule| rule.rsplit(' ').next().unwrap().to_owned()).collect();
    tables.sort();
    assert_eq!(tables, (100..112).map(|table| table.to_string()).collect::<Vec<_>>());
    for ((network, container, _), result) in prepared.iter().zip(&results) {
        network.remember(container, Some(result.clone()));
        network.check(container).expect("CHECK");
        assert_eq!(routes(&a.place, &container.ifname, "main"), [""; 0]);
        network.del(container).expect("DEL");
    }
    assert_eq!(rules(&a.place), [""; 0]);
}
