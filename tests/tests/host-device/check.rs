//! CHECK: silent right after ADD and after what others may do; after each damage a sentence that names the thing.

use ferrule_tests::{Bed, Pod};
use serde_json::json;

use crate::{keys, pristine, start, state};

/// After `damage`, CHECK says these things, and the device can still be brought back.
#[track_caller]
fn complains(words: &[&str], damage: impl FnOnce(&Bed, &Pod)) {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    bed.network.check(&a.container).expect("CHECK right after ADD");
    damage(&bed, &a);
    let complaint = bed.complaint(&a);
    for word in words {
        assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
    }
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

fn inside(line: &'static str) -> impl FnOnce(&Bed, &Pod) {
    move |_, a| drop(a.place().sh(line))
}

#[test]
fn an_address_is_removed() {
    complains(&["eth0", "does not have address 10.1.0.2/24"], inside("ip address del 10.1.0.2/24 dev eth0"));
}

#[test]
fn a_route_is_removed() {
    complains(&["route 0.0.0.0/0 via 10.1.0.1", "is missing"], inside("ip route del default"));
}

#[test]
fn it_is_down() {
    complains(&["interface eth0 is down"], inside("ip link set eth0 down"));
}

#[test]
fn its_mac_address_is_changed() {
    complains(&["eth0", "02:00:00:00:00:99"], inside("ip link set eth0 address 02:00:00:00:00:99"));
}

#[test]
fn it_is_renamed() {
    complains(&["interface eth0 is not in the container"], |_, a| {
        a.place().sh("ip link set eth0 down");
        a.place().sh("ip link set eth0 name inside7");
    });
}

#[test]
fn something_else_has_its_name() {
    let Some(bed) = start(&json!({"device": "dev0"})) else { return };
    let a = bed.attach("a");
    a.place().sh("ip link set eth0 down");
    a.place().sh("ip link set eth0 name inside7");
    a.place().sh(&format!("ip link add eth0 address {} type veth peer name other", crate::MAC));
    a.place().sh("ip link set eth0 alias nonsense-of-more-than-15-bytes up");
    bed.network.remember(&a.container, {
        let mut result = a.result.clone();
        result["interfaces"][0]["mac"] = json!("");
        Some(result)
    });
    assert!(bed.complaint(&a).contains("interface eth0 in the container is no device of the host"));
    a.place().sh("ip link del eth0");
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

#[test]
fn the_configuration_means_another_device() {
    let Some(mut bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    bed.network.conflist["plugins"][0]["device"] = json!("dev7");
    assert!(bed.complaint(&a).contains("interface eth0 in the container is device dev0, not dev7"));
    bed.end(&[&a]);
}

#[test]
fn what_others_may_do_is_no_difference() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    for line in ["ip link set eth0 mtu 1300", "ip link set eth0 promisc on", "ip link set eth0 alias mine"] {
        a.place().sh(line);
        bed.network.check(&a.container).unwrap_or_else(|e| panic!("{line}: {e:?}"));
    }
    bed.end(&[&a]);
}

#[test]
fn without_a_previous_result() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    bed.network.remember(&a.container, None);
    let failure = bed.network.check(&a.container).expect_err("CHECK must complain");
    assert_eq!((failure.code, failure.msg.as_str()), (7, "Required prevResult missing"));
    bed.end(&[&a]);
}
