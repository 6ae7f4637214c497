//! CHECK, DEL and GC, on what ADD made and on what is left of it; STATUS; what is refused.

use ferrule_tests::{Container, Firewall, Node, eventually};
use serde_json::{Value, json};

use crate::{LAYOUTS, PORTMAP, dual_stack, dual_stack_with, other_network};

fn web(node: &Node) -> Container {
    node.container("web").publish("tcp", 8080, 80).publish_on("192.0.2.2", "udp", 53, 53)
}

#[test]
fn without_mappings_nothing_is_touched() {
    let Some(node) = Node::start() else { return };
    let network = dual_stack(&node);
    let plain = node.container("plain");
    network.add(&plain).expect("ADD");
    network.check(&plain).expect("CHECK");
    assert_eq!(node.host.sh("nft list ruleset"), "");
    network.del(&plain).expect("DEL");
    network.gc(&[]).expect("GC");
    assert_eq!(node.host.sh("nft list ruleset"), "");
}

#[test]
fn check_tells_what_is_damaged() {
    let damages: &[(Firewall, &str, &str)] = &[
        (Firewall::Nftables, "nft flush map inet ferrule_portmap hostports4", "tcp . 8080"),
        (Firewall::Nftables, "nft flush map inet ferrule_portmap hostip_hostports4", "192.0.2.2 . udp . 53"),
        (Firewall::Nftables, "nft flush set inet ferrule_portmap hairpin6", "hairpin6"),
        (Firewall::Nftables, "nft flush set inet ferrule_portmap localhost4", "localhost4"),
        (Firewall::Nftables, "nft flush chain inet ferrule_portmap prerouting", "chains"),
        (Firewall::Nftables, "nft flush chain inet ferrule_portmap postrouting", "chains"),
        (Firewall::Nftables, "nft flush ruleset", "missing"),
        (Firewall::IptablesNft, "iptables-nft -t nat -F CNI-HOSTPORT-DNAT", "no jump from CNI-HOSTPORT-DNAT"),
        (Firewall::IptablesNft, "ip6tables-nft -t nat -F PREROUTING", "no jump from PREROUTING"),
        (Firewall::IptablesNft, "nft flush ruleset", "not found in iptables table nat"),
        (Firewall::IptablesLegacy, "iptables-legacy -t nat -D OUTPUT 1", "no jump from OUTPUT"),
    ];
    for (firewall, damage, told) in damages {
        let Some(node) = Node::start_with(*firewall) else { return };
        let network = dual_stack(&node);
        let web = web(&node);
        network.add(&web).expect("ADD");
        network.check(&web).expect("CHECK");
        node.host.sh(damage);
        let failure = network.check(&web).expect_err(damage);
        assert!(failure.msg.contains(told), "{damage}: {failure:?}");
        network.del(&web).expect("DEL of what is damaged");
        network.add(&node.container("next").publish("tcp", 8080, 80)).expect("ADD repairs");
    }
}

#[test]
fn check_tells_a_mapping_that_leads_elsewhere() {
    let Some(node) = Node::start() else { return };
    let network = dual_stack(&node);
    let web = web(&node);
    network.add(&web).expect("ADD");
    node.host.sh("nft delete element inet ferrule_portmap hostports4 { tcp . 8080 }");
    node.host.sh(&format!(
        "nft add element inet ferrule_portmap hostports4 {{ tcp . 8080 comment \"dual {} eth0\" : 10.88.0.77 . 80 }}",
        web.id
    ));
    let failure = network.check(&web).expect_err("another target");
    assert!(failure.msg.contains("tcp . 8080 of hostports4 leads elsewhere"), "{failure:?}");
}

#[test]
fn del_needs_nothing_but_the_name() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let web = web(&node);
        let result = network.add(&web).expect("ADD");
        let del = |container: &Container, result: &Value| {
            network.invocation("DEL", PORTMAP, Some(container), result).run(&node.host).reply().expect("DEL");
            let left = node.snapshot();
            let left: Vec<_> = left.since(&before).into_iter().filter(|l| l.contains("8080")).collect();
            assert!(left.is_empty(), "{left:?}");
        };
        let add = || network.invocation("ADD", PORTMAP, Some(&web), &result).run(&node.host).reply().expect("ADD");
        let forgotten = Container { capabilities: json!({}), ..web.clone().without_netns() };
        del(&forgotten, &Value::Null);
        add();
        del(&forgotten, &result);
        add();
        del(&web, &Value::Null);
        add();
        let garbled = Container { capabilities: json!({}), ..web.clone() }.publish("icmp", 0, 0);
        del(&garbled, &result);
        network.del(&web).expect("DEL");
        network.del(&web.clone().without_netns()).expect("DEL again");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn del_removes_elements_in_every_way_that_kernels_have() {
    for way in ["expire", "destroy", "delete"] {
        let Some(node) = Node::start() else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let web = web(&node);
        let result = network.add(&web).expect("ADD");
        let del = || network.invocation("DEL", PORTMAP, Some(&web), &result).env("FERRULE_NFT_REMOVAL", way);
        for _ in 0..2 {
            del().run(&node.host).reply().expect("DEL");
            // At once, though the kernel may not have swept the elements away.
            network.invocation("ADD", PORTMAP, Some(&web), &result).run(&node.host).reply().expect("ADD");
            network.check(&web).expect("CHECK");
        }
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn gc_removes_what_is_not_valid_and_nothing_of_others() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let (network, other) = (dual_stack(&node), other_network(&node));
        let live = node.container("live").publish("tcp", 8080, 80);
        let dead = node.container("dead").publish("tcp", 8081, 80).publish_on("192.0.2.2", "udp", 53, 53);
        let foreign = node.container("foreign").publish("tcp", 8082, 80);
        network.add(&live).expect("ADD");
        network.add(&dead).expect("ADD");
        other.add(&foreign).expect("ADD");
        let mut config = network.conflist["plugins"][PORTMAP].clone();
        config["name"] = json!("dual");
        config["cniVersion"] = json!("1.1.0");
        let gc = |valid: Value| {
            let mut config = config.clone();
            config["cni.dev/valid-attachments"] = valid;
            network.invocation("GC", PORTMAP, None, &Value::Null).config(&config).run(&node.host).reply().expect("GC");
        };
        gc(json!([{"containerID": live.id, "ifname": "eth0"}]));
        network.check(&live).expect("the valid one stays");
        other.check(&foreign).expect("another network stays");
        assert!(network.check(&dead).is_err());
        let is_there = |container: &Container| {
            let rules =
                ["nft list ruleset", "iptables-nft-save", "iptables-legacy-save"].map(|line| node.host.try_sh(line));
            rules.into_iter().flatten().any(|rules| rules.contains(&container.id))
        };
        eventually("the dead one's mappings are gone", || !is_there(&dead));
        assert!(is_there(&live));
        gc(Value::Null);
        eventually("null: nothing is valid", || !is_there(&live));
        other.check(&foreign).expect("another network stays");
    }
}

#[test]
fn another_backend_than_now_is_checked_and_removed() {
    for (then, now) in [("nftables", "iptables"), ("iptables", "nftables")] {
        let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
        let with = |backend: &str| {
            let mut network = dual_stack(&node);
            network.conflist["plugins"][PORTMAP]["backend"] = json!(backend);
            network
        };
        let before = node.snapshot();
        let web = web(&node);
        let result = with(then).add(&web).expect("ADD");
        let network = with(now);
        network.remember(&web, Some(result));
        network.check(&web).expect("CHECK");
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn what_is_refused_names_its_field_and_changes_nothing() {
    let Some(node) = Node::start() else { return };
    let web = node.container("web").publish("tcp", 8080, 80);
    let plain = dual_stack(&node);
    let result = plain.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
    let before = node.snapshot();
    for (settings, told) in [
        (("backend", json!("ipfw")), "backend: unrecognized backend \"ipfw\""),
        (("markMasqBit", json!(32)), "MasqMarkBit must be between 0 and 31"),
        (
            ("conditionsV4", json!(["-s", "1.2.3.4"])),
            "nftables backend was requested but configuration contains iptables-specific options [conditionsV4]",
        ),
        (("snat", json!("yes")), "snat: invalid value \"yes\", expected a boolean"),
    ] {
        let network = dual_stack_with(&node, &[settings]);
        for verb in ["ADD", "CHECK"] {
            let failure =
                network.invocation(verb, PORTMAP, Some(&web), &result).run(&node.host).reply().expect_err(told);
            assert_eq!(failure.code, 7, "{failure:?}");
            assert!(failure.details.contains(told), "{failure:?}");
        }
    }
    let unchained = plain.invocation("ADD", PORTMAP, Some(&web), &Value::Null).run(&node.host).reply();
    assert!(unchained.expect_err("no prevResult").msg.starts_with("must be called as chained plugin"));
    let unchecked = plain.invocation("CHECK", PORTMAP, Some(&web), &Value::Null).run(&node.host).reply();
    assert_eq!(unchecked.expect_err("no prevResult").msg, "Required prevResult missing");
    let after = node.snapshot();
    let rules = |line: &&str| line.starts_with("nft") || line.starts_with("iptables");
    assert!(!after.since(&before).iter().any(rules), "{:?}", after.since(&before));
    for firewall in LAYOUTS {
        let network = dual_stack_with(&node, &[("backend", json!(firewall.setting()))]);
        network.status().expect("STATUS");
    }
}
