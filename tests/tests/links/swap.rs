//! Plugins replaced under running containers: what the Go plugin attached, ours checks and detaches, and back.

use ferrule_tests::{Firewall, Swap};
use serde_json::{Value, json};

use crate::{Kind, dual_stack};

fn start(kind: Kind, keys: &Value) -> Option<Swap> {
    let mut swap = Swap::of(Firewall::Nftables, &kind.plugin(keys))?;
    swap.node.plug_lan();
    swap.before = swap.node.snapshot();
    Some(swap)
}

/// The keys that the Go plugin can do, in its ways of the plugin.
fn ways(kind: Kind) -> Vec<Value> {
    let with = |keys: Value| {
        let mut all = dual_stack();
        ferrule_tests::bed::merge(&mut all, &keys);
        all
    };
    match kind {
        Kind::Macvlan => {
            vec![with(json!({"mode": "private", "mtu": 1400})), with(json!({"mode": "passthru"})), json!({})]
        }
        Kind::Ipvlan => vec![with(json!({"mode": "l3", "mtu": 1400})), with(json!({}))],
        Kind::Vlan => vec![with(json!({"mtu": 1400})), with(json!({}))],
        Kind::Dummy => vec![with(json!({}))],
    }
}

#[test]
fn ours_takes_over_from_the_reference() {
    for kind in Kind::ALL {
        if !kind.is_there() {
            continue;
        }
        for keys in ways(kind) {
            let Some(swap) = start(kind, &keys) else { return };
            let a = swap.attach(&swap.theirs, "a");
            swap.ours.check(&a.container).unwrap_or_else(|e| panic!("CHECK of {kind:?} {keys}: {e:?}"));
            swap.ours.gc(&[&a.container]).expect("GC");
            swap.ours.check(&a.container).expect("CHECK after GC");
            swap.ours.del(&a.container).expect("DEL");
            assert!(a.place().find_link("eth0").is_none());
            let b = swap.attach(&swap.theirs, "b");
            swap.node.kill(&b.container);
            swap.ours.del(&b.container.clone().without_netns()).expect("DEL without the namespace");
            swap.node.assert_nothing_left(&swap.before, &[&a.container, &b.container]);
        }
    }
}

#[test]
fn the_reference_takes_over_from_ours() {
    for kind in Kind::ALL {
        if !kind.is_there() {
            continue;
        }
        for keys in ways(kind) {
            let Some(swap) = start(kind, &keys) else { return };
            let a = swap.attach(&swap.ours, "a");
            swap.theirs.check(&a.container).unwrap_or_else(|e| panic!("CHECK of {kind:?} {keys}: {e:?}"));
            swap.theirs.del(&a.container).expect("DEL");
            assert!(a.place().find_link("eth0").is_none());
            swap.node.assert_nothing_left(&swap.before, &[&a.container]);
        }
    }
}

/// What both give for the same: the results are the same but for what is random.
#[test]
fn both_report_the_same() {
    for kind in Kind::ALL {
        if !kind.is_there() {
            continue;
        }
        for keys in ways(kind) {
            let Some(swap) = start(kind, &keys) else { return };
            let result = |network| {
                let pod = swap.attach(network, "a");
                swap.ours.del(&pod.container).expect("DEL");
                let mut result = pod.result;
                // host-local goes on with the next address.
                std::fs::remove_dir_all(swap.node.data_dir()).ok();
                for key in ["mac", "sandbox", "mtu"] {
                    result["interfaces"][0].as_object_mut().unwrap().remove(key);
                }
                result
            };
            let (theirs, ours) = (result(&swap.theirs), result(&swap.ours));
            assert_eq!(ours, theirs, "{kind:?} {keys}");
        }
    }
}
