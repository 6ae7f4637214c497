//! Plugins replaced under running containers: what the Go plugin attached, ours checks and detaches, and back.

use ferrule_tests::bed::host_local;
use ferrule_tests::{Firewall, Place, Pod, Swap};
use serde_json::{Value, json};

use crate::{host_end, plugin};

fn keys() -> Value {
    let mut ipam = host_local(&["10.1.0.0/24", "fd00:1::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    plugin(&json!({"ipMasq": true, "ipam": ipam}))
}

/// Ours checks, detaches in each way, and works beside.
fn from_the_reference(firewall: Firewall) {
    let Some(swap) = Swap::of(firewall, &keys()) else { return };
    let pods = ["del", "nameless", "gone", "cacheless"].map(|name| swap.attach(&swap.theirs, name));
    let [del, nameless, gone, cacheless] = &pods;
    for pod in &pods {
        swap.ours.check(&pod.container).unwrap_or_else(|e| panic!("CHECK of {}: {e:?}", pod.place().name));
    }
    let own = swap.attach(&swap.ours, "own");
    assert!(own.place().ping(del.ip(0)) && del.place().ping(own.ip(1)), "side by side");
    swap.ours.del(&del.container).expect("DEL");
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

/// Ours collects what the Go plugin made, once the namespace is gone.
fn collected_from_the_reference(firewall: Firewall) {
    let Some(swap) = Swap::of(firewall, &keys()) else { return };
    let (kept, gone) = (swap.attach(&swap.theirs, "kept"), swap.attach(&swap.theirs, "gone"));
    swap.node.kill(&gone.container);
    swap.ours.gc(&[&kept.container]).expect("GC");
    let now = swap.node.snapshot();
    let left: Vec<_> = now.since(&swap.before).into_iter().filter(|line| line.contains(&gone.container.id)).collect();
    assert!(left.is_empty(), "{left:#?}");
    swap.ours.check(&kept.container).expect("CHECK of the valid one");
    swap.ours.del(&kept.container).expect("DEL");
    swap.ours.gc(&[]).expect("GC");
    swap.node.assert_nothing_left(&swap.before, &[&kept.container, &gone.container]);
}

/// The Go plugin checks and detaches; what it does not know, our GC takes.
fn to_the_reference(firewall: Firewall) {
    let Some(swap) = Swap::of(firewall, &keys()) else { return };
    let pod = swap.attach(&swap.ours, "a");
    swap.theirs.check(&pod.container).expect("CHECK by the reference");
    swap.theirs.del(&pod.container).expect("DEL by the reference");
    let left = swap.node.left_since(&swap.before, &[&pod.container]);
    assert!(left.iter().all(|line| line.contains("ferrule_")), "only in our own tables: {left:#?}");
    swap.ours.gc(&[]).expect("GC");
    swap.node.assert_nothing_left(&swap.before, &[&pod.container]);
}

#[test]
fn masquerade_by_nftables() {
    from_the_reference(Firewall::Nftables);
    to_the_reference(Firewall::Nftables);
    collected_from_the_reference(Firewall::Nftables);
}

#[test]
fn masquerade_by_iptables_nft() {
    from_the_reference(Firewall::IptablesNft);
    to_the_reference(Firewall::IptablesNft);
    collected_from_the_reference(Firewall::IptablesNft);
}

#[test]
fn masquerade_by_iptables_legacy() {
    from_the_reference(Firewall::IptablesLegacy);
    to_the_reference(Firewall::IptablesLegacy);
    collected_from_the_reference(Firewall::IptablesLegacy);
}

/// Flags of addresses in which the two differ: ours bring no route along and are not probed for duplicates.
const FLAGS: [&str; 3] = ["noprefixroute", "nodad", "tentative"];

/// Addresses and routes of a link, without what differs from one attachment to the next.
fn configuration(place: &Place, link: &str, pod: &Pod) -> Vec<String> {
    let mut lines = Vec::new();
    for what in ["-4 route show dev", "-6 route show dev", "-4 address show dev", "-6 address show scope global dev"] {
        let shown = place.sh(&format!("ip -o {what} {link}"));
        lines.extend(shown.lines().map(|line| {
            // A line of addresses begins with the number of the link.
            let line = line.replace('\\', " ");
            let words = line.split_whitespace().filter(|word| !word.ends_with(':') && !FLAGS.contains(word));
            words.map(|word| anonymous(word, link, pod)).collect::<Vec<_>>().join(" ")
        }));
    }
    lines.retain(|line| !line.contains("fe80::"));
    lines.sort();
    lines
}

fn anonymous(word: &str, link: &str, pod: &Pod) -> String {
    let (address, prefix) = word.split_once('/').unwrap_or((word, ""));
    match address {
        address if address == link => "LINK".to_owned(),
        address if address == pod.ip(0).to_string() => format!("IP4/{prefix}"),
        address if address == pod.ip(1).to_string() => format!("IP6/{prefix}"),
        _ => word.to_owned(),
    }
}

#[test]
fn addresses_and_routes_are_the_references() {
    let Some(swap) = Swap::of(Firewall::Nftables, &keys()) else { return };
    let (ours, theirs) = (swap.attach(&swap.ours, "ours"), swap.attach(&swap.theirs, "theirs"));
    let inside = |pod: &Pod| configuration(pod.place(), "eth0", pod);
    assert_eq!(inside(&ours), inside(&theirs));
    let outside = |pod: &Pod| configuration(&swap.node.host, &host_end(pod), pod);
    assert_eq!(outside(&ours), outside(&theirs));
    for pod in [&ours, &theirs] {
        swap.ours.del(&pod.container).expect("DEL");
    }
    swap.node.assert_nothing_left(&swap.before, &[&ours.container, &theirs.container]);
}
