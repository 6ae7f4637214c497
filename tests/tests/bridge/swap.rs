//! Plugins replaced under running containers: what the Go plugin attached, ours checks and detaches, and back.

use ferrule_tests::{Feature, Firewall, Swap, require};
use serde_json::{Value, json};

use crate::host_local;

/// Ours checks, detaches in each way, and works beside.
fn from_the_reference(firewall: Firewall, keys: &Value) {
    let Some(swap) = Swap::of(firewall, &crate::plugin(keys)) else { return };
    let pods = ["del", "nameless", "gone", "cacheless"].map(|name| swap.attach(&swap.theirs, name));
    let [del, nameless, gone, cacheless] = &pods;
    for pod in &pods {
        swap.ours.check(&pod.container).unwrap_or_else(|e| panic!("CHECK of {}: {e:?}", pod.place().name));
    }
    let own = swap.attach(&swap.ours, "own");
    assert!(own.place().ping(del.ip(0)), "side by side");
    swap.ours.del(&del.container).expect("DEL");
    // A runtime that has lost the name of the namespace ends it all the same; only so does the veth go.
    swap.node.kill(&nameless.container);
    swap.ours.del(&nameless.container.clone().without_netns()).expect("DEL without the name of the namespace");
    swap.node.kill(&gone.container);
    swap.ours.del(&gone.container).expect("DEL after the namespace is gone");
    swap.ours.remember(&cacheless.container, None);
    swap.ours.del(&cacheless.container).expect("DEL without a previous result");
    swap.ours.check(&own.container).expect("CHECK of ours");
    swap.ours.del(&own.container).expect("DEL of ours");
    let all: Vec<_> = pods.iter().map(|pod| &pod.container).collect();
    swap.node.assert_nothing_left(&swap.before, &all);
}

/// The Go plugin detaches; what it does not know, our GC takes.
fn to_the_reference(firewall: Firewall, keys: &Value) {
    let Some(swap) = Swap::of(firewall, &crate::plugin(keys)) else { return };
    let pod = swap.attach(&swap.ours, "a");
    swap.theirs.check(&pod.container).expect("CHECK by the reference");
    swap.theirs.del(&pod.container).expect("DEL by the reference");
    let left = swap.node.left_since(&swap.before, &[&pod.container]);
    assert!(left.iter().all(|line| line.contains("ferrule_")), "only in our own tables: {left:#?}");
    swap.ours.gc(&[]).expect("GC");
    swap.node.assert_nothing_left(&swap.before, &[&pod.container]);
}

fn masquerade() -> Value {
    json!({"isDefaultGateway": true, "ipMasq": true, "ipam": host_local(&["10.1.0.0/24", "fd00:1::/64"])})
}

#[test]
fn masquerade_by_nftables() {
    from_the_reference(Firewall::Nftables, &masquerade());
    to_the_reference(Firewall::Nftables, &masquerade());
}

#[test]
fn masquerade_by_iptables_nft() {
    from_the_reference(Firewall::IptablesNft, &masquerade());
    to_the_reference(Firewall::IptablesNft, &masquerade());
}

#[test]
fn masquerade_by_iptables_legacy() {
    from_the_reference(Firewall::IptablesLegacy, &masquerade());
    to_the_reference(Firewall::IptablesLegacy, &masquerade());
}

#[test]
fn spoof_check() {
    if !require(Feature::BridgeNftables) {
        return;
    }
    from_the_reference(Firewall::Nftables, &crate::spoof::keys());
    to_the_reference(Firewall::Nftables, &crate::spoof::keys());
}

#[test]
fn vlan_with_a_gateway() {
    if !require(Feature::BridgeVlans) {
        return;
    }
    let keys = json!({"vlan": 7, "isGateway": true, "ipam": host_local(&["10.1.0.0/24"])});
    from_the_reference(Firewall::Nftables, &keys);
}
