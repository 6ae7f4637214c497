//! CHECK tells each difference in what the plugin made, and none in what it did not.

use ferrule_tests::bed::{merge, scripted, words};
use ferrule_tests::{Bed, Pod};
use serde_json::{Value, json};

use crate::{Kind, dual_stack, each};

/// With addresses and a route.
fn keys() -> Value {
    let ips = json!([{"address": "10.5.0.9/24", "gateway": "10.5.0.254"}, {"address": "fd00:5::9/64"}]);
    json!({"mtu": 1400, "ipam": scripted(&ips, &json!([{"dst": "198.51.100.0/24"}]))})
}

#[track_caller]
fn assert_told(bed: &Bed, pod: &Pod, expected: &str) {
    let told = bed.complaint(pod);
    assert!(told.contains(expected), "{expected:?} is not in {told:?}");
}

#[test]
fn differences_of_the_interface() {
    each(&Kind::ALL, &keys(), |kind, bed| {
        let a = bed.attach("a");
        let own = a.interface()["address"].as_str().unwrap().to_owned();
        bed.network.check(&a.container).expect("CHECK");
        let undone = [
            (
                "address del 10.5.0.9/24 dev eth0",
                "does not have address 10.5.0.9/24",
                "address add 10.5.0.9/24 dev eth0",
            ),
            ("route del 198.51.100.0/24", "route 198.51.100.0/24", "route add 198.51.100.0/24 via 10.5.0.254"),
        ];
        for (break_it, told, mend_it) in undone {
            a.place().sh(&format!("ip {break_it}"));
            assert_told(bed, &a, told);
            // The route goes with its address.
            a.place().sh(&format!("ip {mend_it}"));
            let _ = a.place().try_sh("ip route add 198.51.100.0/24 via 10.5.0.254");
            bed.network.check(&a.container).expect("CHECK of what is mended");
        }
        if kind != Kind::Ipvlan {
            a.place().sh("ip link set eth0 address 0a:58:0a:05:00:99");
            assert_told(bed, &a, "interface eth0 has MAC address 0a:58:0a:05:00:99, not ");
            a.place().sh(&format!("ip link set eth0 address {own}"));
            bed.network.check(&a.container).expect("CHECK of what is mended");
        }
        if kind != Kind::Dummy {
            a.place().sh("ip link set eth0 mtu 1300");
            assert_told(bed, &a, "interface eth0 has MTU 1300, not 1400");
            a.place().sh("ip link set eth0 mtu 1400");
        }
        a.place().sh("ip link set eth0 down");
        assert_told(bed, &a, "interface eth0 is down");
        bed.end(&[&a]);
    });
}

#[test]
fn an_interface_that_is_gone_or_another() {
    each(&Kind::ALL, &json!({}), |kind, bed| {
        let a = bed.attach("a");
        a.place().sh("ip link del eth0");
        assert_told(bed, &a, "interface eth0 is not in the container");
        a.place().sh("ip link add eth0 type veth peer name other");
        assert_told(bed, &a, &format!("interface eth0 in the container is no {} but \"veth\"", kind.name()));
        bed.end(&[&a]);
    });
}

#[test]
fn the_master_is_another_or_gone() {
    each(&Kind::UPPER, &json!({}), |kind, bed| {
        let a = bed.attach("a");
        let told = |master: &str, keys: &Value| {
            let mut keys = keys.clone();
            merge(&mut keys, &json!({ "master": master }));
            let other = kind.network(bed, "pods", &keys);
            other.remember(&a.container, Some(a.result.clone()));
            words(&other.check(&a.container).expect_err("CHECK"))
        };
        let elsewhere = told("uplink", &json!({}));
        assert!(elsewhere.contains("interface eth0 is not on uplink of the host"), "{elsewhere}");
        let gone = told("eth7", &json!({}));
        assert!(gone.contains("failed to lookup master \"eth7\": the host has no such interface"), "{gone}");
        a.place().sh("ip link add lan type veth peer name other");
        let inside = told("lan", &json!({"linkInContainer": true}));
        assert!(inside.contains("interface eth0 is not on lan of the container"), "{inside}");
        bed.end(&[&a]);
    });
}

#[test]
fn another_mode() {
    for (kind, other) in [(Kind::Macvlan, "private"), (Kind::Ipvlan, "l3")] {
        each(&[kind], &json!({}), |kind, bed| {
            let a = bed.attach("a");
            a.place().sh(&format!("ip link set eth0 type {} mode {other}", kind.name()));
            assert_told(bed, &a, &format!("interface eth0 has mode {other}, not "));
            bed.end(&[&a]);
        });
    }
}

#[test]
fn what_others_add_is_no_difference() {
    each(&Kind::ALL, &dual_stack(), |kind, bed| {
        let a = bed.attach("a");
        a.place().sh("ip address add 10.6.0.1/24 dev eth0");
        a.place().sh("ip route add 203.0.113.0/24 dev eth0");
        a.place().sh("ip link set eth0 promisc on");
        bed.network.check(&a.container).expect("CHECK");
        if kind == Kind::Dummy {
            return;
        }
        // A later plugin of the chain that changes the MTU says so.
        a.place().sh("ip link set eth0 mtu 1300");
        let mut result = a.result.clone();
        result["interfaces"][0]["mtu"] = json!(1300);
        bed.network.remember(&a.container, Some(result));
        bed.network.check(&a.container).expect("CHECK after a change of MTU");
    });
}

#[test]
fn nothing_to_compare_with() {
    each(&Kind::ALL, &dual_stack(), |_, bed| {
        let a = bed.attach("a");
        bed.network.remember(&a.container, None);
        assert_told(bed, &a, "Required prevResult missing");
        bed.network.remember(&a.container, Some(json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth9"}]})));
        assert_told(bed, &a, "prevResult has no interface eth0 in a sandbox");
        bed.end(&[&a]);
    });
}

#[test]
fn ipam_is_asked() {
    let mut keys = keys();
    keys["ipam"]["errors"] = json!({"CHECK": {"cniVersion": "1.1.0", "code": 123, "msg": "not mine"}});
    each(&Kind::ALL, &keys, |_, bed| {
        let a = bed.attach("a");
        let failure = bed.network.check(&a.container).expect_err("CHECK");
        assert_eq!((failure.code, failure.msg.as_str()), (123, "not mine"));
        bed.end(&[&a]);
    });
}
