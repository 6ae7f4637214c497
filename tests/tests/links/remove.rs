//! DEL, in every state of the world, and GC; STATUS.

use ferrule_tests::bed::{host_local, merge, scripted};
use ferrule_tests::{Bed, Container, Network};
use serde_json::{Value, json};

use crate::{Kind, dual_stack, each};

/// The addresses that host-local keeps for `network`.
fn reservations(bed: &Bed, network: &Network) -> usize {
    let name = network.conflist["name"].as_str().unwrap();
    let prefix = format!("file {name}/");
    let is_address =
        |line: &&str| line.strip_prefix(&prefix).is_some_and(|file| file.parse::<std::net::IpAddr>().is_ok());
    bed.node.snapshot().lines().iter().filter(|line| is_address(line)).count()
}

#[test]
fn del_twice_and_of_what_was_never_added() {
    each(&Kind::ALL, &dual_stack(), |_, bed| {
        let a = bed.attach("a");
        bed.end(&[&a]);
        bed.end(&[&a]);
        let never = bed.node.container("never");
        bed.network.del(&never).expect("DEL");
        bed.network.del(&never.without_netns()).expect("DEL without a namespace");
    });
}

/// DEL of an attachment that the runtime has no result of, in this state of the world.
fn del_when(kinds: &[Kind], keys: &Value, break_it: impl Fn(&Bed, &mut Container)) {
    let mut keys = keys.clone();
    merge(&mut keys, &dual_stack());
    each(kinds, &keys, |_, bed| {
        let mut container = bed.attach("a").container;
        assert_eq!(reservations(bed, &bed.network), 2);
        bed.network.remember(&container, None);
        break_it(bed, &mut container);
        bed.network.del(&container).expect("DEL");
        assert_eq!(reservations(bed, &bed.network), 0);
        assert!(!container.netns.exists() || container.place.find_link("eth0").is_none());
        bed.network.del(&container).expect("DEL again");
    });
}

#[test]
fn del_without_a_previous_result() {
    del_when(&Kind::ALL, &json!({}), |_, _| ());
}

#[test]
fn del_after_the_namespace_is_gone() {
    del_when(&Kind::ALL, &json!({}), |bed, container| bed.node.kill(container));
}

#[test]
fn del_without_the_name_of_the_namespace() {
    del_when(&Kind::ALL, &json!({}), |_, container| *container = container.clone().without_netns());
}

#[test]
fn del_after_the_master_is_gone() {
    del_when(&Kind::UPPER, &json!({}), |bed, _| drop(bed.host().sh("ip link del lan")));
}

#[test]
fn del_after_the_default_routes_are_gone() {
    del_when(&[Kind::Macvlan, Kind::Ipvlan], &json!({"master": null}), |bed, _| {
        bed.host().sh("ip route flush exact 0.0.0.0/0");
        bed.host().sh("ip -6 route flush exact ::/0");
    });
}

#[test]
fn del_with_a_configuration_that_is_no_longer_right() {
    each(&Kind::ALL, &dual_stack(), |_, bed| {
        let a = bed.attach("a");
        let plugin = &mut bed.network.conflist["plugins"][0];
        for (key, value) in
            [("mode", json!("nonsense")), ("mtu", json!(1)), ("vlanId", json!(9999)), ("master", json!("/"))]
        {
            plugin[key] = value;
        }
        bed.end(&[&a]);
    });
}

#[test]
fn del_goes_on_after_a_failure_of_ipam_and_tells_it() {
    let mut ipam = scripted(&json!([{"address": "10.5.0.9/24"}]), &json!([]));
    ipam["errors"] = json!({"DEL": {"cniVersion": "1.1.0", "code": 111, "msg": "the pool is on fire"}});
    each(&Kind::ALL, &json!({ "ipam": ipam }), |_, bed| {
        let a = bed.attach("a");
        let failure = bed.network.del(&a.container).expect_err("DEL");
        assert_eq!((failure.code, failure.msg.as_str()), (111, "the pool is on fire"));
        assert!(a.place().find_link("eth0").is_none());
    });
}

#[test]
fn del_in_the_hosts_namespace_touches_nothing() {
    each(&Kind::ALL, &dual_stack(), |_, bed| {
        let before = bed.node.snapshot();
        let mut confused = bed.node.container("a").on("lan");
        confused.netns.clone_from(&bed.host().netns);
        for outcome in [bed.network.add(&confused).map(drop), bed.network.del(&confused)] {
            assert_eq!(outcome.expect_err("the host's namespace").code, 8);
        }
        bed.assert_unchanged_since(&before);
    });
}

#[test]
fn gc_frees_what_is_not_listed() {
    let keys = json!({"ipam": host_local(&["10.5.0.0/24"])});
    each(&Kind::ALL, &keys, |kind, bed| {
        let other = kind.network(bed, "others", &json!({"vlanId": 9, "ipam": host_local(&["10.9.0.0/24"])}));
        let kept_elsewhere = bed.attach_to(&other, bed.node.container("other"));
        let gone = bed.attach("gone");
        bed.node.kill(&gone.container);
        ferrule_tests::eventually("the VLAN is free again", || {
            let kept = bed.node.container("kept");
            let done = bed.network.add(&kept).is_ok();
            if done {
                bed.network.gc(&[&kept]).expect("GC");
                bed.network.check(&kept).expect("CHECK of the valid one");
                assert_eq!(reservations(bed, &bed.network), 1);
                bed.network.gc(&[]).expect("GC of all");
                assert_eq!(reservations(bed, &bed.network), 0);
                bed.network.del(&kept).expect("DEL");
            }
            done
        });
        assert_eq!(reservations(bed, &other), 1, "another network is another's");
        other.check(&kept_elsewhere.container).expect("CHECK of the other network");
        other.del(&kept_elsewhere.container).expect("DEL");
    });
}

#[test]
fn gc_and_status_are_passed_on_to_ipam() {
    each(&Kind::ALL, &json!({"ipam": scripted(&Value::Null, &Value::Null)}), |_, bed| {
        let log = bed.node.dir().join("calls");
        let mut list = bed.network.conflist.clone();
        list["plugins"][0]["ipam"]["log"] = json!(log);
        list["plugins"][0]["ipam"]["errors"] = json!({"STATUS": {"cniVersion": "1.1.0", "code": 50, "msg": "full"}});
        let network = bed.node.network(list);
        network.gc(&[]).expect("GC");
        assert_eq!(network.status().map_err(|e| (e.code, e.msg)), Err((50, "full".into())));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "GC\nSTATUS\n");
    });
}
