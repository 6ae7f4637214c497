//! 200 ADDs at once and 200 DELs at once on one network: no failure, no address twice, nothing left.
#![expect(clippy::expect_used, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::Mutex;

use ferrule_tests::{Container, Firewall, Network, Node, fixture};
use serde_json::{Value, json};

/// How many; fewer on one CPU, which has nothing at once but only one after another.
fn count() -> u16 {
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) { 200 } else { 20 }
}

/// `verb` for all containers at once.
fn at_once(containers: &[Container], verb: impl Fn(&Container) + Sync) {
    std::thread::scope(|scope| {
        for container in containers {
            scope.spawn(|| verb(container));
        }
    });
}

/// Attaches all at once; the addresses are all different, and each is the container's own.
fn attach(network: &Network, containers: &[Container]) {
    let addresses = Mutex::new(BTreeSet::new());
    at_once(containers, |container| {
        let result = network.add(container).expect("ADD");
        let address = result.pointer("/ips/0/address").expect("an address").to_string();
        assert!(addresses.lock().expect("addresses").insert(address.clone()), "{address} twice");
    });
    assert_eq!(addresses.lock().expect("addresses").len(), containers.len());
}

fn stress(chain: Value, firewall: Firewall) {
    let Some(node) = Node::start_with(firewall) else { return };
    let network = node.network(chain);
    let containers: Vec<Container> =
        (0..count()).map(|number| node.container("pod").publish("tcp", 20_000 + number, 80)).collect();
    let before = node.snapshot();

    attach(&network, &containers);
    let last = containers.last().expect("containers");
    let service = last.place.serve_tcp(80);
    let answer = node.outside.fetch_tcp(node.address(), 20_000 + count() - 1).expect("published port");
    assert_eq!(answer.from, "pod");
    drop(service);

    at_once(&containers, |container| network.del(container).expect("DEL"));
    let all: Vec<&Container> = containers.iter().collect();
    node.assert_nothing_left(&before, &all);

    // ADDs and DELs among each other.
    at_once(&containers, |container| {
        network.add(container).expect("ADD");
        network.del(container).expect("DEL");
    });
    node.assert_nothing_left(&before, &all);
}

#[test]
fn two_hundred_at_once_with_nftables() {
    stress(fixture("bridge-portmap.conflist"), Firewall::Nftables);
}

#[test]
fn two_hundred_at_once_with_iptables() {
    stress(fixture("bridge-portmap.conflist"), Firewall::IptablesNft);
}

#[test]
fn two_hundred_of_the_long_chain_at_once_with_nftables() {
    stress(fixture("long.conflist"), Firewall::Nftables);
}

/// Whether a bridge still needs its policy depends on all attachments.
#[test]
fn two_hundred_at_once_with_a_policy() {
    let mut chain = fixture("bridge-portmap.conflist");
    let plugins = chain.pointer_mut("/plugins").and_then(Value::as_array_mut).expect("plugins");
    plugins.push(json!({"type": "firewall", "ingressPolicy": "same-bridge"}));
    stress(chain, Firewall::Nftables);
}
