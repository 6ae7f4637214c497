//! Plugins replaced under running containers: flannel's own plugin by ours, and back. (Both delegate to plugins of their
//! own kind.)

use std::fs;

use ferrule_tests::bed::NETWORK;
use ferrule_tests::{Binaries, Network, Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{DUAL_STACK, cache, cache_dir, plugin, write_subnet};

struct Flannel {
    node: Node,
    before: Snapshot,
    ours: Network,
    theirs: Network,
}

/// A node of flannel; `None`, with a printed SKIP, outside the sandbox or without its plugin.
fn start() -> Option<Flannel> {
    let (ours, reference) = Binaries::both()?;
    let node = Node::start()?;
    write_subnet(&node, DUAL_STACK);
    let delegate = json!({"hairpinMode": true, "isDefaultGateway": true, "ipMasqBackend": "nftables"});
    let plugin = plugin(&node, "flannel", &json!({"delegate": delegate}));
    // The newest version that flannel's plugin knows.
    let list = json!({"cniVersion": "0.4.0", "name": NETWORK, "plugins": [plugin]});
    let theirs = node.network_by(list, &reference);
    let ours = theirs.served_by(&ours);
    let before = node.snapshot();
    Some(Flannel { node, before, ours, theirs })
}

impl Flannel {
    fn attach(&self, network: &Network, name: &str) -> Pod {
        let container = self.node.container(name);
        let result = network.add(&container).unwrap_or_else(|e| panic!("ADD of {name}: {e:?}"));
        Pod { container, result }
    }

    /// Our network, in the version that has GC.
    fn newest(&self) -> Network {
        let mut network = self.ours.clone();
        network.conflist["cniVersion"] = json!("1.1.0");
        network
    }

    fn cached(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(cache_dir(&self.node).join(name)).expect(name)).unwrap()
    }
}

#[test]
fn the_delegate_gets_the_same() {
    let Some(flannel) = start() else { return };
    let (ours, theirs) = (flannel.attach(&flannel.ours, "ours"), flannel.attach(&flannel.theirs, "theirs"));
    assert_eq!(flannel.cached(&ours.container.id), flannel.cached(&theirs.container.id));
    assert!(ours.place().ping(theirs.ip(0)) && theirs.place().ping(ours.ip(1)), "side by side");
    flannel.ours.del(&ours.container).expect("DEL");
    flannel.ours.del(&theirs.container).expect("DEL");
    flannel.node.assert_nothing_left(&flannel.before, &[&ours.container, &theirs.container]);
}

#[test]
fn what_flannel_attached_ours_checks_and_detaches() {
    let Some(flannel) = start() else { return };
    let pods = ["del", "nameless", "gone", "resultless"].map(|name| flannel.attach(&flannel.theirs, name));
    let [del, nameless, gone, resultless] = &pods;
    for pod in &pods {
        flannel.ours.check(&pod.container).unwrap_or_else(|e| panic!("CHECK of {}: {e:?}", pod.place().name));
    }
    flannel.ours.del(&del.container).expect("DEL");
    flannel.node.kill(&nameless.container);
    flannel.ours.del(&nameless.container.clone().without_netns()).expect("DEL without the name of the namespace");
    flannel.node.kill(&gone.container);
    flannel.ours.del(&gone.container).expect("DEL after the namespace is gone");
    flannel.ours.remember(&resultless.container, None);
    flannel.ours.del(&resultless.container).expect("DEL without a previous result");
    assert_eq!(cache(&flannel.node), [] as [&str; 0]);
    let all: Vec<_> = pods.iter().map(|pod| &pod.container).collect();
    flannel.node.assert_nothing_left(&flannel.before, &all);
}

#[test]
fn what_flannel_attached_ours_collects() {
    let Some(flannel) = start() else { return };
    let (kept, gone) = (flannel.attach(&flannel.theirs, "kept"), flannel.attach(&flannel.theirs, "gone"));
    flannel.node.kill(&gone.container);
    let ours = flannel.newest();
    ours.gc(&[&kept.container]).expect("GC");
    assert_eq!(cache(&flannel.node), std::slice::from_ref(&kept.container.id));
    flannel.ours.check(&kept.container).expect("CHECK of the valid one");
    flannel.ours.del(&kept.container).expect("DEL");
    ours.gc(&[]).expect("GC");
    flannel.node.assert_nothing_left(&flannel.before, &[&kept.container, &gone.container]);
}

#[test]
fn what_ours_attached_flannel_detaches() {
    let Some(flannel) = start() else { return };
    let pod = flannel.attach(&flannel.ours, "a");
    flannel.theirs.del(&pod.container).expect("DEL by flannel");
    assert!(pod.place().find_link("eth0").is_none());
    assert_eq!(cache(&flannel.node), [format!("{}:eth0", pod.container.id)], "what flannel does not know");
    flannel.newest().gc(&[]).expect("GC");
    assert_eq!(cache(&flannel.node), [] as [&str; 0]);
    flannel.node.assert_nothing_left(&flannel.before, &[&pod.container]);
}
