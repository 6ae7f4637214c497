//! Plugins replaced under running containers: what the Go plugin took, ours checks and brings back, and the other way.

use ferrule_tests::{Firewall, Swap};
use serde_json::json;

use crate::{MAC, keys, make_device, plugin};

fn start() -> Option<Swap> {
    let mut swap = Swap::of(Firewall::Nftables, &plugin(&keys()))?;
    make_device(&swap.node.host);
    swap.before = swap.node.snapshot();
    Some(swap)
}

/// The device is on the host under its own name, without a trace.
#[track_caller]
fn assert_back(swap: &Swap) {
    let link = swap.node.host.find_link("dev0").expect("dev0 is back");
    assert_eq!((&link["address"], &link["mtu"]), (&json!(MAC), &json!(1400)));
    assert!(link["ifalias"].is_null(), "{link}");
    swap.node.assert_nothing_left(&swap.before, &[]);
}

#[test]
fn from_the_reference() {
    let Some(swap) = start() else { return };
    for changes in [
        &[] as &[&str],
        &["link set eth0 down", "link set eth0 name inside7", "link set inside7 up"],
        &["link set eth0 alias mine"],
        &["link set eth0 alias nonsense-of-more-than-15-bytes"],
    ] {
        let pod = swap.attach(&swap.theirs, "a");
        swap.ours.check(&pod.container).expect("CHECK");
        for change in changes {
            pod.place().sh(&format!("ip {change}"));
        }
        if changes == ["link set eth0 alias mine"] {
            // It is a name as any other, as far as anybody can know.
            swap.ours.del(&pod.container).expect("DEL");
            swap.node.host.sh("ip link set mine name dev0 up");
            continue;
        }
        swap.ours.del(&pod.container).unwrap_or_else(|e| panic!("{changes:?}: {e:?}"));
        assert_back(&swap);
    }
}

#[test]
fn from_the_reference_after_the_namespace_is_gone() {
    let Some(swap) = start() else { return };
    let pod = swap.attach(&swap.theirs, "a");
    // As the kernel does with hardware.
    let host = swap.node.host.netns.display().to_string();
    pod.place().sh(&format!("ip link set eth0 netns {host}"));
    swap.node.kill(&pod.container);
    swap.ours.del(&pod.container.clone().without_netns()).expect("DEL");
    assert_back(&swap);
}

#[test]
fn to_the_reference_and_again() {
    let Some(swap) = start() else { return };
    let pod = swap.attach(&swap.ours, "a");
    swap.theirs.check(&pod.container).expect("CHECK by the reference");
    swap.theirs.del(&pod.container).expect("DEL by the reference");
    assert_back(&swap);
    swap.ours.gc(&[]).expect("GC");
    assert!(swap.node.host.find_link("dev0").expect("dev0")["altnames"].is_null(), "the mark is gone by GC");
    let pod = swap.attach(&swap.ours, "b");
    swap.theirs.del(&pod.container).expect("DEL by the reference");
    // Without GC between: a device with an old mark is taken all the same.
    let pod = swap.attach(&swap.ours, "c");
    swap.ours.check(&pod.container).expect("CHECK");
    swap.ours.del(&pod.container).expect("DEL");
    assert_back(&swap);
    assert!(swap.node.host.find_link("dev0").expect("dev0")["altnames"].is_null());
}
