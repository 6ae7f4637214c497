//! Plugins replaced under running containers: what the Go plugin made, ours checks and removes, and the other way.

use ferrule_tests::bed::host_local;
use ferrule_tests::{Firewall, Swap};
use serde_json::{Value, json};

use crate::plugin;

/// By the programs that the Go plugin starts, and by its ioctl.
fn ways() -> [Value; 2] {
    let ipam = host_local(&["10.1.0.0/24", "fd00:1::/64"]);
    [json!({"mtu": 1400, "multiQueue": true, "ipam": ipam}), json!({"owner": 0, "group": 0, "ipam": ipam})]
}

#[test]
fn from_the_reference() {
    for keys in ways() {
        let Some(swap) = Swap::of(Firewall::Nftables, &plugin(&keys)) else { return };
        let pods = ["del", "gone", "cacheless"].map(|name| swap.attach(&swap.theirs, name));
        let [del, gone, cacheless] = &pods;
        for pod in &pods {
            swap.ours.check(&pod.container).unwrap_or_else(|e| panic!("CHECK of {}: {e:?}", pod.place().name));
        }
        swap.ours.del(&del.container).expect("DEL");
        swap.node.kill(&gone.container);
        swap.ours.del(&gone.container.clone().without_netns()).expect("DEL after the namespace is gone");
        swap.ours.remember(&cacheless.container, None);
        swap.ours.del(&cacheless.container).expect("DEL without a previous result");
        for pod in [del, cacheless] {
            assert!(pod.place().find_link("eth0").is_none());
        }
        swap.node.assert_nothing_left(&swap.before, &[&del.container, &gone.container, &cacheless.container]);
    }
}

#[test]
fn to_the_reference() {
    for keys in ways() {
        let Some(swap) = Swap::of(Firewall::Nftables, &plugin(&keys)) else { return };
        let pod = swap.attach(&swap.ours, "a");
        swap.theirs.check(&pod.container).expect("CHECK by the reference");
        swap.theirs.del(&pod.container).expect("DEL by the reference");
        assert!(pod.place().find_link("eth0").is_none());
        swap.node.assert_nothing_left(&swap.before, &[&pod.container]);
    }
}
