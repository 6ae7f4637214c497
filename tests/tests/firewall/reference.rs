//! The Go plugin before and after ours, on running containers.

use ferrule_tests::{Binaries, Container, Firewall, Network, Node};
use serde_json::{Value, json};

use crate::{FIREWALL, network, rules};

/// One verb of `firewall` alone, by these binaries.
fn run(node: &Node, network: &Network, by: &Binaries, verb: &str, container: &Container) -> Result<Value, String> {
    let invocation = network.served_by(by).invocation(verb, FIREWALL, Some(container), &network.result(container));
    invocation.run(&node.host).reply().map_err(|failure| format!("{}: {}", failure.msg, failure.details))
}

/// A container attached by the plugins before `firewall`.
fn attached(node: &Node, network: &Network, name: &str) -> Container {
    let container = node.container(name);
    let result = network.invocation("ADD", 0, Some(&container), &Value::Null).run(&node.host).reply().expect("bridge");
    network.remember(&container, Some(result));
    container
}

#[test]
fn what_the_go_plugin_attached_is_checked_and_removed() {
    let Some((ours, go)) = Binaries::both() else { return };
    for firewall in [Firewall::IptablesNft, Firewall::IptablesLegacy] {
        for (policy, now) in [("open", "iptables"), ("isolated", "nftables"), ("same-bridge", "")] {
            let Some(node) = Node::start_with(firewall) else { return };
            let with = |backend: &str| network(&node, 1, &json!({"backend": backend, "ingressPolicy": policy}));
            let (theirs, network) = (with("iptables"), with(now));
            let before = node.snapshot();
            let (a, b) = (attached(&node, &theirs, "a"), attached(&node, &theirs, "b"));
            for container in [&a, &b] {
                network.remember(container, Some(theirs.result(container)));
                run(&node, &theirs, &go, "ADD", container).expect("ADD by Go");
            }
            run(&node, &network, &ours, "CHECK", &a).expect("CHECK by ours");
            run(&node, &network, &ours, "DEL", &a).expect("DEL by ours");
            run(&node, &network, &ours, "CHECK", &b).expect("CHECK by ours: the policy stays with the other");
            assert!(run(&node, &network, &ours, "CHECK", &a).is_err());
            // One more by ours beside it.
            run(&node, &network, &ours, "ADD", &a).expect("ADD by ours");
            run(&node, &network, &ours, "DEL", &a).expect("DEL by ours");
            node.kill(&b);
            network.del(&b.clone().without_netns()).expect("DEL by ours without the namespace");
            network.del(&a).expect("DEL by ours");
            node.assert_nothing_left(&before, &[&a, &b]);
        }
    }
}

#[test]
fn the_go_plugin_checks_and_removes_ours_in_iptables() {
    let Some((ours, go)) = Binaries::both() else { return };
    for firewall in [Firewall::IptablesNft, Firewall::IptablesLegacy] {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = network(&node, 1, &json!({"ingressPolicy": "isolated"}));
        let web = attached(&node, &network, "web");
        run(&node, &network, &ours, "ADD", &web).expect("ADD by ours");
        run(&node, &network, &go, "CHECK", &web).expect("CHECK by Go");
        let made = rules(&node);
        run(&node, &network, &go, "ADD", &web).expect("ADD by Go");
        let added: Vec<_> = rules(&node).into_iter().filter(|line| !made.contains(line)).collect();
        // Its policy's comment says which of the two: one rule with another text.
        assert!(added.len() <= 1, "Go finds its own rules: {added:#?}");
        run(&node, &network, &go, "DEL", &web).expect("DEL by Go");
        let accepts =
            rules(&node).into_iter().filter(|line| line.contains("CNI-FORWARD") && line.contains("10.81.0.2"));
        assert_eq!(accepts.collect::<Vec<_>>(), [""; 0]);
        // It leaves its policy and our tag; our GC takes them.
        network.gc(&[]).expect("GC");
        let left: Vec<_> = rules(&node).into_iter().filter(|l| l.contains("10.81.0.2") || l.contains("cni1")).collect();
        assert_eq!(left, [""; 0]);
    }
}

#[test]
fn a_way_made_by_ours_is_the_go_plugins_too() {
    let Some((ours, go)) = Binaries::both() else { return };
    let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
    let mine = network(&node, 1, &json!({"backend": "nftables"}));
    let theirs = network(&node, 1, &json!({"backend": "iptables"}));
    let web = attached(&node, &mine, "web");
    theirs.remember(&web, Some(mine.result(&web)));
    run(&node, &mine, &ours, "ADD", &web).expect("ADD by ours");
    run(&node, &theirs, &go, "ADD", &web).expect("ADD by Go");
    run(&node, &theirs, &go, "CHECK", &web).expect("CHECK by Go");
    let saved = node.host.sh("iptables-nft -S");
    assert_eq!(saved.matches("-j CNI-FORWARD").count(), 1, "{saved}");
    assert_eq!(saved.matches("-j CNI-ADMIN").count(), 1, "{saved}");
    run(&node, &mine, &ours, "DEL", &web).expect("DEL by ours of both");
    let left: Vec<_> = rules(&node).into_iter().filter(|line| line.contains("10.81.0.2")).collect();
    assert_eq!(left, [""; 0]);
}
