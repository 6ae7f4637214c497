//! Ingress policies: who reaches the containers of a bridge, under each backend, and how long.

use std::net::IpAddr;

use ferrule_tests::{Container, Feature, Firewall, Network, Node, require};
use serde_json::{Value, json};

use crate::{FIREWALL, attach, network, reaches_outside, route_back, rules};

/// A container of a network, and its addresses.
struct Attached {
    network: Network,
    container: Container,
    ips: [IpAddr; 2],
}

impl Attached {
    fn to(node: &Node, network: &Network, name: &str) -> Self {
        let container = node.container(name);
        let ips = attach(node, network, &container);
        Self { network: network.clone(), container, ips }
    }

    /// Asserts that it reaches another, or that it does not, by both families.
    #[track_caller]
    fn assert_reaches(&self, other: &Self, expected: bool, why: impl std::fmt::Display) {
        let place = &self.container.place;
        for ip in other.ips {
            let reached = if expected { place.ping(ip) } else { !place.is_unreachable(ip) };
            assert_eq!(reached, expected, "{} to {} {ip}: {why}", place.name, other.container.place.name);
        }
    }

    fn detach(&self) {
        self.network.del(&self.container).expect("DEL");
    }
}

fn with_policy(node: &Node, number: u8, policy: &str) -> Network {
    network(node, number, &json!({"ingressPolicy": policy}))
}

/// Lets frames between the ports of a bridge pass unseen by tables for packets.
fn without_bridge_netfilter(node: &Node) {
    for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        // Absent where the kernel has no bridge netfilter: then it is off.
        let _ = node.host.try_sh(&format!("sysctl -w net.bridge.{key}=0"));
    }
}

/// The lines of a host's firewall that keep somebody from `bridge`.
fn lines_about(node: &Node, bridge: &str) -> Vec<String> {
    rules(node).into_iter().filter(|line| line.contains(bridge)).collect()
}

#[test]
fn each_policy_keeps_away_whom_it_says() {
    for firewall in Firewall::ALL {
        for policy in ["open", "same-bridge", "isolated"] {
            let Some(node) = Node::start_with(firewall) else { return };
            route_back(&node);
            let before = node.snapshot();
            let (one, two) = (with_policy(&node, 1, policy), with_policy(&node, 2, policy));
            let open = with_policy(&node, 3, "open");
            let (a, b) = (Attached::to(&node, &one, "a"), Attached::to(&node, &one, "b"));
            let (c, d) = (Attached::to(&node, &two, "c"), Attached::to(&node, &open, "d"));
            let said = format!("{firewall:?} {policy}");
            a.assert_reaches(&b, policy != "isolated", format_args!("{said}: the same bridge"));
            a.assert_reaches(&c, policy == "open", format_args!("{said}: another bridge with a policy"));
            d.assert_reaches(&a, true, format_args!("{said}: a bridge without a policy"));
            assert_eq!(reaches_outside(&node, &a.container), [true; 2], "{said}: the outside");
            assert!(node.outside.ping(a.ips[0]) && node.outside.ping(a.ips[1]), "{said}: from the outside");
            assert!(node.host.ping(a.ips[0]), "{said}: from the host");
            for attached in [&a, &b, &c, &d] {
                attached.network.check(&attached.container).expect("CHECK");
            }
            for attached in [&a, &b, &c, &d] {
                attached.detach();
            }
            node.assert_nothing_left(&before, &[&a.container, &b.container, &c.container, &d.container]);
        }
    }
}

#[test]
fn isolated_needs_no_bridge_netfilter() {
    if !require(Feature::BridgeNftables) {
        return;
    }
    let Some(node) = Node::start() else { return };
    without_bridge_netfilter(&node);
    let network = with_policy(&node, 1, "isolated");
    let (a, b) = (Attached::to(&node, &network, "a"), Attached::to(&node, &network, "b"));
    a.assert_reaches(&b, false, "isolated");
    assert!(a.container.place.ping([10, 81, 0, 1].into()), "the gateway is no neighbour");
    network.check(&a.container).expect("CHECK");
    node.host.sh("nft flush set bridge ferrule_firewall ports");
    let failure = network.check(&a.container).expect_err("damaged");
    assert!(failure.msg.contains("of set ports in table bridge ferrule_firewall is missing"), "{failure:?}");
    a.detach();
    b.detach();
    assert_eq!(lines_about(&node, "\"cni1\""), [""; 0]);
    // Where the last one went, the next is not isolated.
    let open = with_policy(&node, 1, "open");
    Attached::to(&node, &open, "c").assert_reaches(&Attached::to(&node, &open, "d"), true, "open");
}

#[test]
fn a_policy_goes_with_the_last_attachment_that_wanted_it() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let (one, two) = (with_policy(&node, 1, "isolated"), with_policy(&node, 2, "same-bridge"));
        let other = Attached::to(&node, &two, "other");
        let (a, b) = (Attached::to(&node, &one, "a"), Attached::to(&node, &one, "b"));
        a.detach();
        b.assert_reaches(&other, false, format_args!("{firewall:?}: b wants it still"));
        b.network.check(&b.container).expect("CHECK");
        // The last one is forgotten by its runtime.
        node.kill(&b.container);
        b.network.gc(&[]).expect("GC");
        assert_eq!(lines_about(&node, "\"cni1\""), [""; 0], "{firewall:?}");
        assert_eq!(lines_about(&node, " cni1 "), [""; 0], "{firewall:?}");
        let plain = Attached::to(&node, &with_policy(&node, 1, "open"), "plain");
        plain.assert_reaches(&other, true, format_args!("{firewall:?}: nobody wants it any more"));
        other.network.check(&other.container).expect("the other bridge keeps its own");
    }
}

#[test]
fn the_strictest_policy_of_a_bridge_holds_and_may_be_changed() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let before = node.snapshot();
        let (mild, strict) = (with_policy(&node, 1, "same-bridge"), with_policy(&node, 1, "isolated"));
        let (a, b) = (Attached::to(&node, &mild, "a"), Attached::to(&node, &strict, "b"));
        a.assert_reaches(&b, false, format_args!("{firewall:?}: b is isolated"));
        mild.check(&a.container).expect("CHECK of the milder");
        // ADD again, with another setting: b's wish is replaced.
        let add = |network: &Network| {
            let invocation = network.invocation("ADD", FIREWALL, Some(&b.container), &strict.result(&b.container));
            invocation.run(&node.host).reply().expect("ADD again");
        };
        add(&mild);
        a.assert_reaches(&b, true, format_args!("{firewall:?}: nobody is isolated any more"));
        mild.remember(&b.container, Some(strict.result(&b.container)));
        mild.check(&b.container).expect("CHECK of the new setting");
        assert!(strict.check(&b.container).is_err(), "{firewall:?}: CHECK of the old setting");
        add(&strict);
        a.assert_reaches(&b, false, format_args!("{firewall:?}: b is isolated again"));
        add(&with_policy(&node, 1, "open"));
        a.assert_reaches(&b, true, format_args!("{firewall:?}: b is open"));
        a.detach();
        assert_eq!(lines_about(&node, "same_bridge4: "), [""; 0]);
        b.detach();
        node.assert_nothing_left(&before, &[&a.container, &b.container]);
    }
}

#[test]
fn check_tells_what_a_policy_lacks() {
    let damages: &[(Firewall, &str, &str)] = &[
        (Firewall::Nftables, "nft flush set inet ferrule_firewall bridges", "element \"cni1\" of set bridges"),
        (Firewall::Nftables, "nft flush map inet ferrule_firewall bridge_pairs", "bridge cni1 is not isolated"),
        (Firewall::Nftables, "nft flush map inet ferrule_firewall isolated6", "of map isolated6"),
        (Firewall::IptablesNft, "iptables-nft -F CNI-ISOLATION-STAGE-1", "-i cni1 -o cni1 -j DROP"),
        (Firewall::IptablesNft, "ip6tables-nft -F CNI-ISOLATION-STAGE-2", "-o cni1 -j DROP"),
        (Firewall::IptablesLegacy, "iptables-legacy -D FORWARD 1", "from FORWARD to CNI-ISOLATION-STAGE-1"),
    ];
    for (firewall, damage, told) in damages {
        let Some(node) = Node::start_with(*firewall) else { return };
        let network = with_policy(&node, 1, "isolated");
        let web = node.container("web");
        network.add(&web).expect("ADD");
        network.check(&web).expect("CHECK");
        node.host.sh(damage);
        let broken = rules(&node);
        let failure = network.check(&web).expect_err(damage);
        assert!(failure.msg.contains(told), "{damage}: {failure:?}");
        assert_eq!(rules(&node), broken, "CHECK changes nothing");
        let result = network.result(&web);
        network.invocation("ADD", FIREWALL, Some(&web), &result).run(&node.host).reply().expect("ADD again");
        network.check(&web).expect("ADD repairs");
    }
}

#[test]
fn a_policy_without_a_bridge_is_refused_before_anything_is_done() {
    let Some(node) = Node::start() else { return };
    let network = with_policy(&node, 1, "same-bridge");
    let web = node.container("web");
    let before = rules(&node);
    let ips = json!([{"address": "10.81.0.2/16"}]);
    for (interfaces, told) in [
        (json!([]), "interface needs to be set for ingress policy \"same-bridge\""),
        (json!([{"name": ""}]), "got empty bridge name"),
        (json!([{"name": "eth0", "sandbox": "/run/netns/a"}]), "the first interface of prevResult is \"eth0\""),
    ] {
        let result: Value = json!({"cniVersion": "1.1.0", "interfaces": interfaces, "ips": ips});
        let failure = network.invocation("ADD", FIREWALL, Some(&web), &result).run(&node.host).reply();
        let failure = failure.expect_err(told);
        assert!(failure.code == 7 && failure.msg.contains(told), "{failure:?}");
    }
    assert_eq!(rules(&node), before);
}
