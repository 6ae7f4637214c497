//! A host whose chain FORWARD drops what it does not know, as Docker sets it up: containers pass all the same.

use ferrule_tests::{Firewall, Node};
use serde_json::json;

use crate::{FIREWALL, attach, auto, is_cut_off, network, reaches_outside, route_back};

/// Gives FORWARD the policy DROP by this kind of iptables.
fn drop_forwarded(node: &Node, kind: &str) {
    for family in ["iptables", "ip6tables"] {
        node.host.sh(&format!("{family}-{kind} -P FORWARD DROP"));
    }
}

#[test]
fn containers_pass_a_forward_chain_that_drops() {
    for (firewall, kind) in [(Firewall::IptablesNft, "nft"), (Firewall::IptablesLegacy, "legacy")] {
        let Some(node) = Node::start_with(firewall) else { return };
        route_back(&node);
        let network = auto(&node, 1);
        let before = node.snapshot();
        drop_forwarded(&node, kind);
        let (web, stranger) = (node.container("web"), node.container("stranger"));
        let ips = attach(&node, &network, &web);
        assert_eq!(reaches_outside(&node, &web), [true; 2], "{kind}: and is answered");
        assert!(node.outside.is_unreachable(ips[0]), "{kind}: nobody asked for that");
        assert!(node.outside.is_unreachable(ips[1]), "{kind}: nobody asked for that");
        network.check(&web).expect("CHECK");
        // One that only the bridge plugin knows stays outside.
        network.invocation("ADD", 0, Some(&stranger), &json!(null)).run(&node.host).reply().expect("bridge");
        assert!(is_cut_off(&node, &stranger), "{kind}");

        network.del(&web).expect("DEL");
        network.del(&stranger).expect("DEL");
        node.assert_nothing_left(&before, &[&web, &stranger]);
    }
}

#[test]
fn a_docker_that_starts_later_finds_containers_let_through() {
    let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
    route_back(&node);
    let network = auto(&node, 1);
    let web = node.container("web");
    attach(&node, &network, &web);
    drop_forwarded(&node, "nft");
    assert_eq!(reaches_outside(&node, &web), [true; 2]);
    network.check(&web).expect("CHECK");
}

#[test]
fn iptables_reads_and_changes_what_netlink_wrote() {
    let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
    let network = auto(&node, 1);
    let web = node.container("web");
    network.add(&web).expect("ADD");
    let saved = node.host.sh("iptables-nft -S");
    let wanted = "-P INPUT ACCEPT
-P FORWARD ACCEPT
-P OUTPUT ACCEPT
-N CNI-ADMIN
-N CNI-FORWARD
-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD
-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN
-A CNI-FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment \"containers in inet ferrule_firewall\" -j ACCEPT
";
    assert_eq!(saved, wanted);
    // The administrator adds, Docker sets the policy, and somebody restores what was saved.
    node.host.sh("iptables-nft -A CNI-ADMIN -s 10.99.0.0/16 -j DROP");
    drop_forwarded(&node, "nft");
    network.check(&web).expect("CHECK");
    network.add(&node.container("second")).expect("ADD");
    let again = node.host.sh("iptables-nft -S");
    assert_eq!(again.lines().count(), wanted.lines().count() + 1, "nothing is made twice: {again}");
}

#[test]
fn a_drop_of_another_table_is_told_with_the_cure() {
    let Some(node) = Node::start() else { return };
    route_back(&node);
    let web = node.container("web");
    let network = auto(&node, 1);
    for (drop, rule) in [("policy drop", ""), ("policy accept", "nft add rule inet mine forward counter drop")] {
        node.host.sh("nft add table inet mine");
        node.host.sh(&format!("nft add chain inet mine forward {{ type filter hook forward priority 0; {drop}; }}"));
        if !rule.is_empty() {
            node.host.sh(rule);
        }
        let result = network.invocation("ADD", 0, Some(&web), &json!(null)).run(&node.host).reply().expect("bridge");
        let output = network.invocation("ADD", FIREWALL, Some(&web), &result).run(&node.host);
        let warning = "firewall: chain forward of table inet mine drops what it does not accept";
        assert!(output.stderr.starts_with(warning), "{output:?}");
        let status = network.invocation("STATUS", FIREWALL, None, &json!(null)).run(&node.host);
        assert!(status.status.success() && status.stderr.starts_with(warning), "{status:?}");
        network.remember(&web, Some(result.clone()));
        assert!(is_cut_off(&node, &web), "{drop}");

        let hint = output.stderr.split("hint: ").nth(1).expect("a hint").trim().trim_end_matches(')');
        node.host.sh(hint);
        assert_eq!(reaches_outside(&node, &web), [true; 2], "{hint}");
        let output = network.invocation("ADD", FIREWALL, Some(&web), &result).run(&node.host);
        assert_eq!(output.stderr, "", "the cure is known");
        network.del(&web).expect("DEL");
        node.host.sh("nft delete table inet mine");
    }
}

#[test]
fn the_mark_is_gone_behind_the_hook_and_one_brought_along_says_nothing() {
    let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
    route_back(&node);
    let network = auto(&node, 1);
    let (web, stranger) = (node.container("web"), node.container("stranger"));
    attach(&node, &network, &web);
    drop_forwarded(&node, "nft");
    network.invocation("ADD", 0, Some(&stranger), &json!(null)).run(&node.host).reply().expect("bridge");
    node.host.sh("nft add table inet spy");
    node.host.sh("nft add chain inet spy seen { type filter hook postrouting priority 0; }");
    node.host.sh("nft add rule inet spy seen meta mark & 0x1000 == 0x1000 counter drop");
    node.host.sh("nft add chain inet spy forge { type filter hook prerouting priority 0; }");
    node.host.sh("nft add rule inet spy forge meta mark set 0x1001");
    assert!(is_cut_off(&node, &stranger));
    // The outside's answers leave nowhere; the container's requests must get out.
    assert!(node.outside_address().is_ipv4());
    assert_eq!(reaches_outside(&node, &web), [true; 2]);
}

#[test]
fn the_administrators_chain_is_asked_and_never_touched() {
    let Some(node) = Node::start() else { return };
    route_back(&node);
    let network = network(&node, 1, &json!({}));
    let web = node.container("web");
    attach(&node, &network, &web);
    node.host.sh("nft add rule inet ferrule_firewall admin ip daddr 192.0.2.1 drop");
    assert_eq!(reaches_outside(&node, &web), [false, true]);
    // What is damaged is made anew, but for that.
    node.host.sh("nft flush chain inet ferrule_firewall forward");
    assert!(network.check(&web).expect_err("damaged").msg.contains("a rule of chain forward"));
    network.add(&node.container("next")).expect("ADD repairs");
    network.check(&web).expect("CHECK");
    assert_eq!(reaches_outside(&node, &web), [false, true]);
    node.host.sh("nft flush chain inet ferrule_firewall admin");
    assert_eq!(reaches_outside(&node, &web), [true; 2]);
}
