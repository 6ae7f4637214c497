//! DEL, in every state of the world, and GC; STATUS.

use ferrule_tests::{Container, Feature, Network, require};
use serde_json::{Value, json};

use crate::{Bed, Pod, host_local, scripted};

fn keys(subnet: &str) -> Value {
    json!({"isGateway": true, "ipMasq": true, "ipam": host_local(&[subnet])})
}

fn bed() -> Option<Bed> {
    crate::start(&keys("10.1.0.0/24"))
}

#[test]
fn del_twice() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.end(&[&a]);
    bed.end(&[&a]);
}

#[test]
fn del_of_what_was_never_added() {
    let Some(bed) = bed() else { return };
    let before = bed.node.snapshot();
    let container = bed.node.container("a");
    bed.network.del(&container).expect("DEL");
    bed.network.del(&container.without_netns()).expect("DEL without a namespace");
    assert!(bed.host().find_link("br0").is_none());
    assert_eq!(bed.node.snapshot().left_since(&before, &[]), [] as [&str; 0]);
}

#[test]
fn del_without_a_previous_result() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.network.remember(&a.container, None);
    bed.end(&[&a]);
}

#[test]
fn del_without_the_name_of_the_namespace() {
    let Some(bed) = bed() else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    bed.network.remember(&a.container, None);
    bed.network.del(&a.container.clone().without_netns()).expect("DEL");
    // The namespace lives on; its interface went by the host's end.
    assert!(a.place().find_link("eth0").is_none());
    bed.network.check(&b.container).expect("the other is unharmed");
    bed.end(&[&b]);
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn del_after_the_namespace_is_gone() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.node.kill(&a.container);
    bed.network.del(&a.container).expect("DEL with the path of what is gone");
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn del_after_the_bridge_is_gone() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.host().sh("ip link del br0");
    bed.end(&[&a]);
}

#[test]
fn del_goes_on_after_a_failure_of_ipam_and_tells_it() {
    let mut ipam = scripted(&json!([{"address": "10.1.0.5/24"}]), &json!([]));
    ipam["errors"] = json!({"DEL": {"cniVersion": "1.1.0", "code": 111, "msg": "the pool is on fire"}});
    let Some(bed) = crate::start(&json!({"ipMasq": true, "ipam": ipam})) else { return };
    let a = bed.attach("a");
    let failure = bed.network.del(&a.container).expect_err("DEL");
    assert_eq!((failure.code, failure.msg.as_str()), (111, "the pool is on fire"));
    assert!(a.place().find_link("eth0").is_none());
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn del_of_a_container_whose_namespace_is_the_hosts_touches_nothing() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    let before = bed.node.snapshot();
    let mut confused = a.container.clone().on(&crate::port(&a));
    confused.netns.clone_from(&bed.host().netns);
    for outcome in [bed.network.add(&confused).map(drop), bed.network.del(&confused)] {
        let failure = outcome.expect_err("the host's namespace");
        assert_eq!(failure.code, 8);
    }
    bed.assert_unchanged_since(&before);
    bed.end(&[&a]);
}

/// Three containers, of which the second is gone without DEL, beside one of another network on the same bridge.
struct Garbage {
    bed: Bed,
    other_network: Network,
    other: Pod,
    kept: Pod,
    gone: Pod,
}

impl Garbage {
    fn make() -> Option<Self> {
        let bed = bed()?;
        // As a network that keeps its gateway elsewhere.
        let other_network =
            crate::second_network(&bed, "pods2", &json!({"ipMasq": true, "ipam": host_local(&["10.2.0.0/24"])}));
        let other = bed.attach_to(&other_network, bed.node.container("other"));
        let (kept, gone) = (bed.attach("kept"), bed.attach("gone"));
        Some(Self { bed, other_network, other, kept, gone })
    }

    /// Everything that names the container.
    fn traces_of(&self, pod: &Pod) -> Vec<String> {
        let port = crate::port(pod);
        let mut traces: Vec<String> = self.bed.node.snapshot().lines().into_iter().map(str::to_owned).collect();
        let ip = format!("/{}", pod.ip(0));
        traces.retain(|line| line.contains(&pod.container.id) || line.contains(&port) || line.ends_with(&ip));
        traces
    }

    fn end(self) {
        self.other_network.check(&self.other.container).expect("the other network is unharmed");
        self.other_network.del(&self.other.container).expect("DEL");
        self.bed.end(&[&self.kept, &self.gone]);
    }
}

#[test]
fn gc_removes_what_is_not_listed() {
    let Some(garbage) = Garbage::make() else { return };
    let (bed, gone) = (&garbage.bed, &garbage.gone);
    assert!(garbage.traces_of(gone).len() >= 3, "link, element, file");
    bed.network.gc(&[&garbage.kept.container]).expect("GC");
    ferrule_tests::eventually("the element is expired", || garbage.traces_of(gone).is_empty());
    assert!(gone.place().find_link("eth0").is_none());
    bed.network.check(&garbage.kept.container).expect("CHECK of the valid one");
    assert!(bed.host().ping(garbage.kept.ip(0)));
    garbage.end();
}

#[test]
fn gc_after_the_namespace_is_gone() {
    let Some(garbage) = Garbage::make() else { return };
    garbage.bed.node.kill(&garbage.gone.container);
    garbage.bed.network.gc(&[&garbage.kept.container]).expect("GC");
    ferrule_tests::eventually("nothing is left of it", || garbage.traces_of(&garbage.gone).is_empty());
    let Garbage { bed, other_network, other, kept, .. } = garbage;
    other_network.check(&other.container).expect("CHECK of the other network");
    other_network.del(&other.container).expect("DEL");
    bed.end(&[&kept]);
}

#[test]
fn gc_with_an_empty_list_removes_all_of_this_network() {
    let Some(garbage) = Garbage::make() else { return };
    garbage.bed.network.gc(&[]).expect("GC");
    for pod in [&garbage.kept, &garbage.gone] {
        ferrule_tests::eventually("nothing is left", || garbage.traces_of(pod).is_empty());
    }
    garbage.end();
}

#[test]
fn gc_with_null_or_no_list_removes_nothing() {
    let Some(garbage) = Garbage::make() else { return };
    let network = &garbage.bed.network;
    let mut config = network.plugins()[0].clone();
    crate::merge(&mut config, &json!({"name": crate::NETWORK, "cniVersion": "1.1.0"}));
    // No list at all: nothing is known to be invalid.
    let gc = |config: &Value| network.invocation("GC", 0, None, &Value::Null).config(config);
    gc(&config).run(garbage.bed.host()).reply().expect("GC without a list");
    network.check(&garbage.gone.container).expect("all is still there");
    // Go writes an empty list as null: then everything goes.
    config["cni.dev/valid-attachments"] = Value::Null;
    gc(&config).run(garbage.bed.host()).reply().expect("GC with null");
    garbage.end();
}

#[test]
fn gc_removes_spoof_checks() {
    if !require(Feature::BridgeNftables) {
        return;
    }
    let Some(bed) = crate::start(&crate::spoof::keys()) else { return };
    let (kept, gone) = (bed.attach("kept"), bed.attach("gone"));
    let other_network = crate::second_network(&bed, "pods2", &json!({"macspoofchk": true}));
    let other = bed.attach_to(&other_network, bed.node.container("other"));
    bed.network.gc(&[&kept.container]).expect("GC");
    ferrule_tests::eventually("the elements are gone", || {
        !bed.host().sh("nft list ruleset").contains(&gone.container.id)
    });
    bed.network.check(&kept.container).expect("CHECK of the valid one");
    other_network.check(&other.container).expect("CHECK of the other network");
    other_network.del(&other.container).expect("DEL");
    bed.end(&[&kept, &gone]);
}

#[test]
fn gc_and_status_are_passed_on_to_ipam() {
    let Some(node) = ferrule_tests::Node::start() else { return };
    let log = node.dir().join("calls");
    let mut ipam = scripted(&json!([]), &json!([]));
    ipam["log"] = json!(log);
    let network = node.network_of("pods", &crate::plugin(&json!({ "ipam": ipam })));
    network.gc(&[]).expect("GC");
    network.status().expect("STATUS");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "GC\nSTATUS\n");
}

#[test]
fn status_passes_on_why_ipam_cannot() {
    for code in [50, 51] {
        let mut ipam = scripted(&json!([]), &json!([]));
        ipam["errors"] = json!({"STATUS": {"cniVersion": "1.1.0", "code": code, "msg": "the pool is empty"}});
        let Some(bed) = crate::start(&json!({ "ipam": ipam })) else { return };
        let failure = bed.network.status().expect_err("STATUS");
        assert_eq!((failure.code, failure.msg.as_str()), (code, "the pool is empty"));
    }
}

#[test]
fn status_of_an_exhausted_pool() {
    // One address and the gateway.
    let Some(bed) = crate::start(&json!({"ipam": host_local(&["10.1.0.0/30"])})) else { return };
    bed.network.status().expect("STATUS");
    let a = bed.attach("a");
    let failure = bed.network.status().expect_err("STATUS");
    assert!([50, 51].contains(&failure.code), "{failure:?}");
    let unlucky: Container = bed.node.container("unlucky");
    bed.network.add(&unlucky).expect_err("ADD");
    assert!(bed.network.add(&unlucky).expect_err("ADD").msg.contains("no IP addresses available"));
    bed.end(&[&a]);
}
