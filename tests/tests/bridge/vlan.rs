//! VLANs: the container's port, and the gateway `<bridge>.<vlan>`.

use ferrule_tests::{Feature, require};
use serde_json::{Value, json};

use crate::{Bed, Pod, address, host_local, text};

fn bed(keys: &Value) -> Option<Bed> {
    if !require(Feature::BridgeVlans) {
        return None;
    }
    crate::start(keys)
}

fn gateway_keys(vlan: u16) -> Value {
    json!({"vlan": vlan, "isGateway": true, "ipam": host_local(&["10.1.0.0/24"])})
}

/// The VLANs of a port: `["1 PVID Egress Untagged", "7"]`.
fn vlans(bed: &Bed, port: &str) -> Vec<String> {
    let shown = bed.host().json("bridge -j vlan show");
    let members = shown.as_array().unwrap().iter().find(|link| link["ifname"] == port);
    let list = members.and_then(|m| m["vlans"].as_array()).cloned().unwrap_or_default();
    let mut vlans = Vec::new();
    for vlan in list {
        let flags = vlan["flags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let last = vlan["vlanEnd"].as_u64().unwrap_or_else(|| vlan["vlan"].as_u64().unwrap());
        let flags: Vec<&str> = flags.collect();
        for id in vlan["vlan"].as_u64().unwrap()..=last {
            vlans.push(format!("{id} {}", flags.join(" ")).trim().to_owned());
        }
    }
    vlans
}

fn is_filtering(bed: &Bed) -> bool {
    bed.link("br0")["linkinfo"]["info_data"]["vlan_filtering"] == 1
}

#[test]
fn an_access_port() {
    let Some(bed) = bed(&json!({"vlan": 7, "ipam": host_local(&["10.1.0.0/24"])})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let other = crate::second_network(&bed, "pods8", &json!({"vlan": 8, "ipam": host_local(&["10.1.0.128/25"])}));
    let c = bed.attach_to(&other, bed.node.container("c"));
    assert!(is_filtering(&bed));
    assert_eq!(vlans(&bed, &crate::port(&a)), ["7 PVID Egress Untagged"]);
    assert!(a.place().ping(b.ip(0)), "same VLAN");
    c.place().sh("ip address add 10.1.0.200/24 dev eth0");
    assert!(a.place().is_unreachable(address("10.1.0.200")), "another VLAN");
    bed.network.check(&a.container).expect("CHECK");
    other.del(&c.container).expect("DEL");
    bed.end(&[&a, &b]);
}

#[test]
fn an_access_port_that_keeps_the_default_vlan() {
    let Some(bed) = bed(&json!({"vlan": 7, "preserveDefaultVlan": true})) else { return };
    let a = bed.attach("a");
    assert_eq!(vlans(&bed, &crate::port(&a)), ["1 Egress Untagged", "7 PVID Egress Untagged"]);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_trunk_port_has_a_native_vlan() {
    let Some(bed) = bed(&json!({"vlanTrunk": [{"minID": 100, "maxID": 102}, {"id": 50}]})) else { return };
    let a = bed.attach("a");
    assert_eq!(vlans(&bed, &crate::port(&a)), ["1 PVID Egress Untagged", "50", "100", "101", "102"]);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_trunk_port_with_an_access_vlan() {
    let Some(bed) = bed(&json!({"vlan": 7, "vlanTrunk": [{"id": 50}, {"id": 7}]})) else { return };
    let a = bed.attach("a");
    assert_eq!(vlans(&bed, &crate::port(&a)), ["7 PVID Egress Untagged", "50"]);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_trunk_of_everything_and_an_empty_one() {
    let Some(bed) = bed(&json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]})) else { return };
    let a = bed.attach("a");
    assert_eq!(vlans(&bed, &crate::port(&a)).len(), 4094);
    bed.network.check(&a.container).expect("CHECK");
    let empty = crate::second_network(&bed, "empty", &json!({"vlanTrunk": []}));
    let b = bed.attach_to(&empty, bed.node.container("b"));
    assert_eq!(vlans(&bed, &crate::port(&b)), ["1 PVID Egress Untagged"]);
    empty.del(&b.container).expect("DEL");
    bed.end(&[&a]);
}

#[test]
fn a_trunk_carries_tagged_frames() {
    let Some(bed) = bed(&json!({"vlanTrunk": [{"id": 50}]})) else { return };
    let a = bed.attach("a");
    let access = crate::second_network(&bed, "access", &json!({"vlan": 50}));
    let b = bed.attach_to(&access, bed.node.container("b"));
    a.place().sh("ip link add link eth0 name eth0.50 type vlan id 50");
    a.place().sh("ip link set eth0.50 up");
    a.place().sh("ip address add 10.5.0.1/24 dev eth0.50");
    b.place().sh("ip address add 10.5.0.2/24 dev eth0");
    assert!(a.place().ping(address("10.5.0.2")));
    access.del(&b.container).expect("DEL");
    bed.end(&[&a]);
}

#[test]
fn filtering_is_switched_on_on_a_bridge_that_exists() {
    let Some(bed) = bed(&gateway_keys(7)) else { return };
    bed.host().sh("ip link add br0 type bridge");
    assert!(!is_filtering(&bed));
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    assert!(is_filtering(&bed));
    assert!(a.place().ping(b.ip(0)) && a.place().ping(address("10.1.0.1")));
    bed.end(&[&a, &b]);
}

#[test]
fn without_vlans_the_bridge_does_not_filter() {
    let Some(bed) = bed(&json!({})) else { return };
    let a = bed.attach("a");
    assert!(!is_filtering(&bed));
    bed.end(&[&a]);
}

#[test]
fn the_gateway_of_a_vlan_is_shared_and_goes_with_the_last() {
    let Some(bed) = bed(&gateway_keys(7)) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    for pod in [&a, &b] {
        assert_eq!(text(&pod.result, "/interfaces/3/name"), "br0.7");
        assert_eq!(text(&pod.result, "/interfaces/3/mac"), text(&bed.link("br0.7"), "/address"));
        assert!(pod.place().ping(address("10.1.0.1")));
        bed.network.check(&pod.container).expect("CHECK");
    }
    bed.network.del(&a.container).expect("DEL of the first");
    assert!(b.place().ping(address("10.1.0.1")), "still there");
    bed.network.check(&b.container).expect("CHECK of the second");
    bed.end(&[&b]);
    assert!(bed.host().find_link("br0.7").is_none());
    // And again.
    let c = bed.attach("c");
    assert!(c.place().ping(address("10.1.0.1")));
    bed.end(&[&c]);
}

#[test]
fn the_gateway_of_a_vlan_is_one_for_each() {
    let Some(bed) = bed(&gateway_keys(7)) else { return };
    let other = crate::second_network(
        &bed,
        "pods8",
        &json!({"vlan": 8, "isGateway": true, "ipMasq": true, "ipam": host_local(&["10.8.0.0/24", "fd00:8::/64"])}),
    );
    let a = bed.attach("a");
    let b = bed.attach_to(&other, bed.node.container("b"));
    bed.host().assert_link_local_at_once("br0.8");
    assert!(a.place().ping(address("10.1.0.1")));
    assert!(b.place().ping(address("10.8.0.1")) && b.place().ping(address("fd00:8::1")));
    other.check(&b.container).expect("CHECK");
    bed.network.del(&a.container).expect("DEL");
    assert!(bed.host().find_link("br0.7").is_none() && bed.host().find_link("br0.8").is_some());
    bed.node.kill(&b.container);
    other.gc(&[]).expect("GC");
    bed.node.assert_nothing_left(&bed.before, &[&a.container, &b.container]);
}

#[test]
fn the_gateway_of_a_vlan_does_not_stay_after_a_failed_add() {
    // The second gateway cannot be an address of an interface; by then the interface is there.
    let ips = json!([
        {"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64", "gateway": "ff02::1"}
    ]);
    let keys = json!({"vlan": 7, "isGateway": true, "ipam": crate::scripted(&ips, &json!([]))});
    let Some(bed) = bed(&keys) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert!(failure.msg.contains("add address ff02::1/64 to br0.7"), "{failure:?}");
}

#[test]
fn check_names_what_is_missing_of_vlans() {
    let Some(bed) = bed(&gateway_keys(7)) else { return };
    let a = bed.attach("a");
    let complaint = |a: &Pod| bed.network.check(&a.container).expect_err("CHECK").msg;
    let port = crate::port(&a);
    bed.host().sh(&format!("bridge vlan del vid 7 dev {port}"));
    assert_eq!(complaint(&a), format!("bridge port {port} is no member of VLAN 7"));
    bed.host().sh(&format!("bridge vlan add vid 7 pvid untagged dev {port}"));
    bed.host().sh("ip link set br0 type bridge vlan_filtering 0");
    assert_eq!(complaint(&a), "bridge br0 does not filter VLANs");
    bed.host().sh("ip link set br0 type bridge vlan_filtering 1");
    bed.host().sh("ip address del 10.1.0.1/24 dev br0.7");
    assert_eq!(complaint(&a), "gateway address 10.1.0.1/24 is not on br0.7");
    bed.host().sh("ip link del br0.7");
    assert_eq!(complaint(&a), "gateway interface br0.7 is gone");
    bed.end(&[&a]);
}

#[test]
fn a_kernel_without_vlans_says_so() {
    let Some(bed) = crate::start(&json!({"vlan": 7})) else { return };
    let container = bed.node.container("a");
    // Where the kernel can, there is nothing to see.
    if let Err(failure) = bed.network.add(&container) {
        assert!(failure.msg.contains("br0") || failure.msg.contains("VLAN"), "{failure:?}");
        bed.node.assert_nothing_left(&bed.before, &[&container]);
    }
}
