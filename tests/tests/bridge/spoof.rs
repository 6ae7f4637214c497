//! `macspoofchk`, with frames.

use ferrule_tests::{Feature, require};
use serde_json::{Value, json};

use crate::{Bed, Pod, host_local, text};

fn bed() -> Option<Bed> {
    if !require(Feature::BridgeNftables) {
        return None;
    }
    crate::start(&keys())
}

pub(crate) fn keys() -> Value {
    json!({"isGateway": true, "macspoofchk": true, "ipam": host_local(&["10.1.0.0/24"])})
}

/// Changes the address under the running interface; neighbours are told nothing.
fn set_mac(pod: &Pod, mac: &str) {
    pod.place().sh(&format!("ip link set eth0 address {mac}"));
    // What the bridge and the neighbours learned is of no use for the new address.
    pod.place().sh("ip neigh flush all");
}

#[test]
fn frames_with_another_source_are_dropped() {
    let Some(bed) = bed() else { return };
    let (honest, liar) = (bed.attach("honest"), bed.attach("liar"));
    let gateway = crate::address("10.1.0.1");
    assert!(liar.place().ping(honest.ip(0)) && liar.place().ping(gateway), "honest frames pass");
    let own = text(&liar.interface(), "/address");
    for stolen in [text(&honest.interface(), "/address"), "02:00:00:00:00:99".to_owned()] {
        set_mac(&liar, &stolen);
        assert!(liar.place().is_unreachable(gateway), "as {stolen}");
    }
    assert!(honest.place().ping(gateway), "the other is not disturbed");
    bed.host().sh("ip neigh flush all");
    set_mac(&liar, &own);
    assert!(liar.place().ping(gateway), "honest again");
    bed.network.check(&liar.container).expect("CHECK");
    bed.end(&[&honest, &liar]);
}

#[test]
fn each_attachment_has_its_own_check() {
    let Some(bed) = bed() else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    bed.network.del(&a.container).expect("DEL of a");
    bed.network.check(&b.container).expect("CHECK of b");
    set_mac(&b, "02:00:00:00:00:99");
    assert!(b.place().is_unreachable(crate::address("10.1.0.1")));
    bed.end(&[&b]);
}

#[test]
fn del_without_the_namespace_takes_the_check() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.node.kill(&a.container);
    bed.network.del(&a.container.clone().without_netns()).expect("DEL");
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn a_second_add_does_not_take_the_check_of_the_first() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    bed.network.add(&a.container).expect_err("ADD again");
    bed.network.check(&a.container).expect("CHECK");
    set_mac(&a, "02:00:00:00:00:99");
    assert!(a.place().is_unreachable(crate::address("10.1.0.1")));
    bed.end(&[&a]);
}
