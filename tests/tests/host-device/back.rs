//! The device comes back under its own name and with its own state, whatever happened to it inside.

use ferrule_tests::bed::{scripted, words};
use ferrule_tests::{Bed, Pod};
use serde_json::{Value, json};

use crate::{State, keys, plugin, pristine, start, state};

/// After `changes` inside (command lines of `ip`), DEL gives `dev0` back as it was.
#[track_caller]
fn comes_back(changes: &[&str]) {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    for change in changes {
        a.place().sh(&format!("ip {change}"));
    }
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine(), "{changes:?}");
    assert!(bed.link("dev0")["addr_info"].as_array().is_none_or(Vec::is_empty));
}

#[test]
fn after_its_settings_were_changed() {
    let changes = ["link set eth0 mtu 1300", "link set eth0 address 02:00:00:00:00:99", "link set eth0 promisc on"];
    comes_back(&changes);
}

#[test]
fn after_it_was_renamed() {
    comes_back(&["link set eth0 down", "link set eth0 name inside7", "link set inside7 up"]);
}

#[test]
fn after_its_alias_was_changed() {
    comes_back(&["link set eth0 alias mine"]);
    comes_back(&["link set eth0 alias mine", "link set eth0 down", "link set eth0 name inside7"]);
}

#[test]
fn when_the_container_has_a_link_of_its_name() {
    comes_back(&["link add dev0 type veth peer name other"]);
}

#[test]
fn a_device_that_was_down_and_promiscuous_is_so_again() {
    let Some(bed) = start(&keys()) else { return };
    bed.host().sh("ip link set dev0 down promisc on");
    let a = bed.attach("a");
    a.place().sh("ip link set eth0 promisc off");
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), State { is_up: false, is_promiscuous: true, ..pristine() });
}

#[test]
fn names_of_host_and_container_may_be_the_same() {
    let Some(bed) = start(&keys()) else { return };
    bed.host().sh("ip link add eth0 type veth peer name eth1");
    let container = bed.node.container("a");
    container.place.sh("ip link add dev0 type veth peer name dev1");
    let a = bed.attach_to(&bed.network, container);
    assert!(a.place().ping("10.1.0.1".parse().unwrap()));
    assert!(a.place().find_link("dev0").is_some() && bed.host().find_link("eth0").is_some());
    bed.network.del(&a.container).expect("DEL");
    assert_eq!(state(&bed, "dev0"), pristine());
    assert!(bed.host().find_link("eth0").is_some() && a.place().find_link("dev0").is_some());
}

#[test]
fn into_the_same_name() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach_to(&bed.network, bed.node.container("a").on("dev0"));
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

/// `dev0`, whose name somebody takes while it is in the container, after DEL.
fn name_taken() -> Option<(Bed, Pod, String)> {
    let bed = start(&keys())?;
    let a = bed.attach("a");
    bed.host().sh("ip link add dev0 type veth peer name thief");
    let del = bed.network.invocation("DEL", 0, Some(&a.container), &a.result).run(bed.host());
    assert!(del.stderr.contains("the name dev0 is taken on the host: the device is there as dev"), "{del:?}");
    del.reply().expect("DEL");
    assert!(a.place().find_link("eth0").is_none());
    let links = bed.host().json("ip -j link show");
    let it = links.as_array().unwrap().iter().find(|link| link["ifalias"] == "dev0").expect("not lost");
    let name = it["ifname"].as_str().unwrap().to_owned();
    Some((bed, a, name))
}

#[test]
fn a_device_whose_name_is_taken_is_not_lost() {
    let Some((bed, a, name)) = name_taken() else { return };
    let expected = State { alias: Some("dev0".into()), alternative_names: 1, ..pristine() };
    assert_eq!(state(&bed, &name), expected, "{name}");
    bed.node.assert_nothing_left(&bed.node.snapshot(), &[&a.container]);
    bed.host().sh("ip link del thief");
    bed.network.gc(&[]).expect("GC, which gives it its name");
    assert_eq!(state(&bed, "dev0"), pristine());
    bed.node.assert_nothing_left(&bed.before, &[&a.container]);
}

#[test]
fn a_device_whose_name_was_taken_is_renamed_by_a_second_del() {
    let Some((bed, a, _)) = name_taken() else { return };
    bed.host().sh("ip link del thief");
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

#[test]
fn a_device_under_another_name_can_be_attached_anew() {
    let Some((bed, _, name)) = name_taken() else { return };
    let network = bed.node.network_of("other", &plugin(&json!({ "device": name })));
    let b = bed.attach_to(&network, bed.node.container("b"));
    network.check(&b.container).expect("CHECK");
    network.del(&b.container).expect("DEL");
    let expected = State { alternative_names: 0, ..pristine() };
    assert_eq!(state(&bed, &name), expected, "it is nobody else's any more");
}

#[test]
fn after_a_failed_add() {
    let ips = json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]);
    let mut no_addresses = scripted(&ips, &json!([]));
    no_addresses["errors"] = json!({"ADD": {"cniVersion": "1.1.0", "code": 11, "msg": "the pool is empty"}});
    let no_route = scripted(&ips, &json!([{"dst": "10.7.0.0/16", "gw": "172.16.0.1"}]));
    for (ipam, expected) in [(no_addresses, "the pool is empty"), (no_route, "cannot add route 10.7.0.0/16")] {
        let Some(bed) = start(&json!({"device": "dev0", "ipam": ipam})) else { return };
        let container = bed.node.container("a");
        let failure = bed.refused(&container);
        assert!(words(&failure).contains(expected), "{failure:?}");
        assert_eq!(state(&bed, "dev0"), pristine());
        assert!(container.place.find_link("eth0").is_none());
        bed.network.del(&container).expect("DEL after a failed ADD");
    }
}

#[test]
fn after_a_second_add() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    let failure = bed.network.add(&a.container).expect_err("ADD again");
    assert!(failure.msg.contains("the container has an interface eth0 already"), "{failure:?}");
    let failure = bed.network.add(&bed.node.container("b")).expect_err("ADD for another");
    assert!(failure.msg.contains("no link with the name dev0") && failure.msg.contains("hint"), "{failure:?}");
    bed.network.check(&a.container).expect("CHECK of the first");
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

#[test]
fn what_cannot_be_moved_stays_as_it_was() {
    let Some(bed) = start(&json!({"device": "lo"})) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert_eq!(failure.msg, "failed to move link");
    assert!(failure.details.contains("EINVAL"), "{failure:?}");
    assert_eq!(bed.link("lo")["altnames"], Value::Null);
    assert!(bed.host().ping("127.0.0.1".parse().unwrap()));
}
