//! What is vlan's own: the number, and a master that must be up.

use ferrule_tests::Bed;
use ferrule_tests::bed::{host_local, words};
use serde_json::{Value, json};

use crate::{Kind, address};

fn bed(keys: &Value) -> Option<Bed> {
    if Kind::Vlan.is_there() { Kind::Vlan.bed(keys) } else { None }
}

#[test]
fn frames_have_the_tag() {
    let Some(bed) = bed(&json!({"vlanId": 7, "ipam": host_local(&["10.7.0.0/24", "fd00:7::/64"])})) else { return };
    let outside = &bed.node.outside;
    for command in [
        "link add link lan name lan.7 type vlan id 7",
        "address add 10.7.0.254/24 dev lan.7",
        "address add fd00:7::fe/64 dev lan.7 nodad",
        "link set lan.7 up",
        "address add 10.8.0.254/24 dev lan",
    ] {
        outside.sh(&format!("ip {command}"));
    }
    let a = bed.attach("a");
    assert_eq!(a.interface()["linkinfo"]["info_data"]["id"], 7);
    assert!(a.place().ping(address("10.7.0.254")) && a.place().ping(address("fd00:7::fe")));
    assert!(outside.ping(a.ip(0)) && outside.ping(a.ip(1)));
    // Another VLAN, and no VLAN, are other networks.
    let other = Kind::Vlan.network(&bed, "other", &json!({"vlanId": 8, "ipam": host_local(&["10.8.0.0/24"])}));
    let b = bed.attach_to(&other, bed.node.container("b"));
    assert!(b.place().is_unreachable(address("10.8.0.254")));
    other.del(&b.container).expect("DEL");
    bed.end(&[&a]);
}

#[test]
fn a_vlan_of_a_master_is_one_link() {
    let Some(bed) = bed(&json!({})) else { return };
    let a = bed.attach("a");
    let before = bed.node.snapshot();
    let failure = bed.network.add(&bed.node.container("b")).expect_err("ADD");
    let expected = "cannot create VLAN 7 of lan as eth0: lan has a link of this VLAN already";
    assert!(words(&failure).contains(expected), "{failure:?}");
    bed.assert_unchanged_since(&before);
    bed.network.check(&a.container).expect("CHECK of the first");
    bed.end(&[&a]);
}

#[test]
fn check_tells_another_vlan() {
    let Some(bed) = bed(&json!({})) else { return };
    let a = bed.attach("a");
    let other = Kind::Vlan.network(&bed, "pods", &json!({"vlanId": 8}));
    other.remember(&a.container, Some(a.result.clone()));
    let told = words(&other.check(&a.container).expect_err("CHECK"));
    assert!(told.contains("interface eth0 has VLAN ID 7, not 8"), "{told}");
    bed.end(&[&a]);
}

#[test]
fn the_numbers_are_0_to_4094() {
    let Some(bed) = bed(&json!({})) else { return };
    for id in [0, 1, 4094] {
        let network = Kind::Vlan.network(&bed, "pods", &json!({ "vlanId": id }));
        let a = bed.attach_to(&network, bed.node.container("a"));
        assert_eq!(a.interface()["linkinfo"]["info_data"]["id"], id);
        network.check(&a.container).expect("CHECK");
        network.del(&a.container).expect("DEL");
    }
    for id in [4095, 65543] {
        let network = Kind::Vlan.network(&bed, "pods", &json!({ "vlanId": id }));
        let failure = network.add(&bed.node.container("a")).expect_err("ADD");
        let expected = format!("vlanId: invalid VLAN ID {id} (must be between 0 and 4094)");
        assert!(failure.code == 7 && words(&failure).contains(&expected), "{failure:?}");
    }
}

#[test]
fn a_master_that_is_down_is_told() {
    let Some(mut bed) = bed(&json!({})) else { return };
    bed.host().sh("ip link set lan down");
    bed.before = bed.node.snapshot();
    let failure = bed.refused(&bed.node.container("a"));
    let expected = "master \"lan\" is down (hint: ip link set lan up)";
    assert!(words(&failure).contains(expected), "{failure:?}");
    let status = bed.network.status().expect_err("STATUS");
    assert!(status.code == 50 && status.msg.contains(expected), "{status:?}");
}

#[test]
fn a_master_must_be_named() {
    let Some(bed) = bed(&json!({"master": null})) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert_eq!(failure.code, 7);
    assert!(failure.msg.contains("\"master\" field is required"), "{failure:?}");
}
