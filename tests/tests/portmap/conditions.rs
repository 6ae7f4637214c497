//! Conditions, marks, and marks of others.

use std::path::Path;

use ferrule_tests::{Firewall, Invocation, Network, Node};
use serde_json::{Value, json};

use crate::{LOCALHOST, PORTMAP, await_ipv6, dual_stack, dual_stack_with};

fn only_from_outside(firewall: Firewall) -> (Value, Value) {
    match firewall {
        Firewall::Nftables => (json!(["ip saddr", "192.0.2.1"]), json!(["ip6 saddr 2001:db8::1"])),
        Firewall::IptablesNft | Firewall::IptablesLegacy => (json!(["-s", "192.0.2.1"]), json!(["-s", "2001:db8::1"])),
    }
}

fn conditional(node: &Node, firewall: Firewall) -> Network {
    let (v4, v6) = only_from_outside(firewall);
    dual_stack_with(node, &[("conditionsV4", v4), ("conditionsV6", v6)])
}

#[test]
fn a_condition_is_for_the_mappings_that_have_it() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let (restricted, open) = (conditional(&node, firewall), dual_stack(&node));
        let before = node.snapshot();
        let secret = node.container("secret").publish("tcp", 8443, 443);
        let public = node.container("public").publish("tcp", 8080, 80);
        await_ipv6(&node, &restricted.add(&secret).expect("ADD with conditions"));
        open.add(&public).expect("ADD without");
        let _services = (secret.place.serve_tcp(443), public.place.serve_tcp(80));
        for address in [node.address(), node.address_v6()] {
            assert_eq!(node.outside.fetch_tcp(address, 8443).expect("outside").from, "secret");
            assert!(node.host.is_closed_tcp(address, 8443), "the condition keeps others out");
            assert_eq!(node.host.fetch_tcp(address, 8080).expect("host").from, "public");
        }
        restricted.check(&secret).expect("CHECK");
        restricted.del(&secret).expect("DEL");
        assert!(node.outside.is_closed_tcp(node.address(), 8443));
        open.del(&public).expect("DEL");
        if firewall != Firewall::Nftables {
            node.assert_nothing_left(&before, &[&secret, &public]);
        }
        assert!(node.snapshot().since(&before).iter().all(|line| !line.contains("c0ffee")));
    }
}

#[test]
fn del_finds_mappings_made_under_another_condition() {
    let Some(node) = Node::start() else { return };
    let (restricted, open) = (conditional(&node, Firewall::Nftables), dual_stack(&node));
    let secret = node.container("secret").publish("tcp", 8443, 443);
    restricted.add(&secret).expect("ADD");
    open.remember(&secret, Some(restricted.result(&secret)));
    open.del(&secret).expect("DEL after the configuration was changed");
    assert!(!node.host.sh("nft list ruleset").contains("c0ffee"));
}

#[test]
fn a_condition_that_nft_refuses_leaves_nothing() {
    let Some(node) = Node::start() else { return };
    let network = dual_stack_with(&node, &[("conditionsV4", json!(["ip saddr", "nonsense here"]))]);
    let web = node.container("web").publish("tcp", 8080, 80);
    let failure = network.add(&web).expect_err("a wrong condition");
    assert_eq!(failure.code, 7, "{failure:?}");
    assert!(failure.msg.contains("ip saddr nonsense here"), "{failure:?}");
    assert!(!node.host.sh("nft list ruleset").contains("c0ffee"));
    network.del(&web).expect("DEL");
}

#[test]
fn status_says_what_a_condition_lacks() {
    let Some(node) = Node::start() else { return };
    let network = conditional(&node, Firewall::Nftables);
    let mut config = network.conflist["plugins"][PORTMAP].clone();
    (config["name"], config["cniVersion"]) = (json!("dual"), json!("1.1.0"));
    let status = |script: &str| {
        // In a mount namespace of its own, where programs can be hidden.
        Invocation::new(Path::new("/usr/bin/unshare"))
            .arg("-m")
            .arg("sh")
            .arg("-c")
            .arg(script)
            .arg(network.binaries.plugin("portmap"))
            .env("CNI_COMMAND", "STATUS")
            .config(&config)
            .run(&node.host)
            .reply()
    };
    assert_eq!(status("exec $0"), Ok(Value::Null));
    let failure = status("mount -t tmpfs none /usr/sbin && exec $0").expect_err("no nft");
    assert_eq!(failure.code, 50, "{failure:?}");
    assert!(failure.details.contains("cannot find nft (hint: "), "{failure:?}");
}

#[test]
fn another_bit_marks_and_another_chain_can() {
    for firewall in [Firewall::IptablesNft, Firewall::IptablesLegacy] {
        let Some(node) = Node::start_with(firewall) else { return };
        let legacy = if firewall == Firewall::IptablesLegacy { "legacy" } else { "nft" };
        let network = dual_stack_with(&node, &[("markMasqBit", json!(7))]);
        let web = node.container("web").publish("tcp", 8080, 80);
        network.add(&web).expect("ADD");
        let rules = node.host.sh(&format!("iptables-{legacy}-save -t nat"));
        assert!(rules.contains("-A CNI-HOSTPORT-SETMARK -m comment --comment \"CNI portfwd masquerade mark\" -j MARK --set-xmark 0x80/0x80"), "{rules}");
        assert!(rules.contains("-A CNI-HOSTPORT-MASQ -m mark --mark 0x80/0x80 -j MASQUERADE"), "{rules}");
        let _service = web.place.serve_tcp(80);
        assert_eq!(node.host.fetch_tcp(LOCALHOST, 8080).expect("127.0.0.1").from, "web");
        network.del(&web).expect("DEL");

        for family in ["iptables", "ip6tables"] {
            node.host.sh(&format!("{family}-{legacy} -t nat -N KUBE-MARK-MASQ"));
        }
        let network = dual_stack_with(&node, &[("externalSetMarkChain", json!("KUBE-MARK-MASQ"))]);
        let db = node.container("db").publish("tcp", 5432, 5432);
        network.add(&db).expect("ADD");
        let rules = node.host.sh(&format!("iptables-{legacy}-save -t nat"));
        assert!(rules.contains("--dport 5432 -j KUBE-MARK-MASQ"), "{rules}");
        network.check(&db).expect("CHECK");
        network.del(&db).expect("DEL");
    }
}
