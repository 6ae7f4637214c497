//! ADD that cannot work: an error that says why, and nothing left.

use ferrule_tests::Bed;
use ferrule_tests::bed::{scripted, words};
use serde_json::{Value, json};

use crate::{Kind, dual_stack, each};

/// A container that the network refuses without leaving anything in it or on the host.
#[track_caller]
fn refused(bed: &Bed, expected: &str) {
    let container = bed.node.container("a");
    let failure = bed.refused(&container);
    assert!(words(&failure).contains(expected), "{expected:?} is not in {failure:?}");
    let links = container.place.json("ip -j link show");
    assert_eq!(links.as_array().map(Vec::len), Some(1), "only lo: {links}");
}

#[test]
fn ipam_fails() {
    let mut ipam = scripted(&json!([]), &json!([]));
    ipam["errors"] = json!({"ADD": {"cniVersion": "1.1.0", "code": 123, "msg": "no", "details": "never"}});
    each(&Kind::ALL, &json!({ "ipam": ipam }), |_, bed| refused(bed, "no: never"));
}

#[test]
fn ipam_gives_nothing_or_what_cannot_be_set() {
    let nothing = scripted(&json!([]), &json!([]));
    each(&Kind::ALL, &json!({ "ipam": nothing }), |_, bed| {
        refused(bed, "IPAM plugin \"scripted\" returned missing IP config");
    });
    let unreachable = scripted(&json!([{"address": "10.5.0.9/24"}]), &json!([{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}]));
    each(&Kind::ALL, &json!({ "ipam": unreachable }), |_, bed| {
        refused(bed, "cannot add route 0.0.0.0/0 via 10.9.0.1 dev eth0");
    });
}

#[test]
fn what_ipam_gave_is_given_back() {
    let mut ipam = scripted(&json!([{"address": "10.5.0.9/24"}]), &json!([{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}]));
    ipam["log"] = json!("/run/links-calls");
    each(&Kind::ALL, &json!({ "ipam": ipam }), |_, bed| {
        let log = bed.node.dir().join("calls");
        let mut list = bed.network.conflist.clone();
        list["plugins"][0]["ipam"]["log"] = json!(log);
        bed.node.network(list).add(&bed.node.container("a")).expect_err("ADD");
        assert_eq!(std::fs::read_to_string(log).unwrap(), "ADD\nDEL\n");
    });
}

#[test]
fn a_second_add_leaves_the_first_attachment_intact() {
    each(&Kind::ALL, &dual_stack(), |_, bed| {
        let a = bed.attach("a");
        let before = bed.node.snapshot();
        let failure = bed.network.add(&a.container).expect_err("ADD again");
        assert!(failure.msg.contains("the container has an interface eth0 already"), "{failure:?}");
        bed.assert_unchanged_since(&before);
        bed.network.remember(&a.container, Some(a.result.clone()));
        bed.network.check(&a.container).expect("CHECK of the first");
        bed.end(&[&a]);
    });
}

#[test]
fn the_namespace_is_none() {
    each(&Kind::ALL, &dual_stack(), |_, bed| {
        let mut container = bed.node.container("a");
        container.netns = "/etc/passwd".into();
        let failure = bed.refused(&container);
        assert!(failure.code == 4 && words(&failure).contains("is no network namespace"), "{failure:?}");
    });
}

#[test]
fn a_result_that_the_version_cannot_say_leaves_nothing() {
    each(&Kind::ALL, &json!({}), |_, bed| {
        bed.network.conflist["cniVersion"] = json!("0.2.0");
        let container = bed.node.container("a");
        let failure = bed.refused(&container);
        assert!(words(&failure).contains("no valid IP addresses"), "{failure:?}");
        assert!(container.place.find_link("eth0").is_none());
    });
}

#[test]
fn the_mtu_is_at_most_the_masters() {
    each(&Kind::UPPER, &dual_stack(), |kind, bed| {
        bed.host().sh("ip link set lan mtu 1450");
        for (mtu, expected) in [(1400, 1400), (1450, 1450), (0, 1450)] {
            let network = kind.network(bed, "mtu", &json!({ "mtu": mtu }));
            let a = bed.attach_to(&network, bed.node.container("a"));
            assert_eq!(
                (&a.interface()["mtu"], &a.result["interfaces"][0]["mtu"]),
                (&json!(expected), &json!(expected))
            );
            network.check(&a.container).expect("CHECK");
            network.del(&a.container).expect("DEL");
        }
        let network = kind.network(bed, "mtu", &json!({"mtu": 1451}));
        let failure = network.add(&bed.node.container("a")).expect_err("ADD");
        assert_eq!(failure.code, 7);
        assert!(failure.msg.contains("invalid MTU 1451, must be [0, master MTU(1450)]"), "{failure:?}");
        bed.network.conflist["plugins"][0]["mtu"] = Value::Null;
        assert_eq!(network.status().map_err(|e| e.code), Err(50));
    });
}
