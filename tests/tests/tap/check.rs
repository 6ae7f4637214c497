//! CHECK: silent right after ADD; after each damage a sentence that names the thing.

use ferrule_tests::bed::host_local;
use ferrule_tests::{Bed, Pod};
use serde_json::{Value, json};

use crate::start;

fn keys() -> Value {
    let mut ipam = host_local(&["10.1.0.0/24"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    json!({"mtu": 1400, "ipam": ipam})
}

/// After `damage`, CHECK says these things, and all can still be removed.
#[track_caller]
fn complains(keys: &Value, words: &[&str], damage: impl FnOnce(&mut Bed, &Pod)) {
    let Some(mut bed) = start(keys) else { return };
    let a = bed.attach("a");
    bed.network.check(&a.container).expect("CHECK right after ADD");
    damage(&mut bed, &a);
    let complaint = bed.complaint(&a);
    for word in words {
        assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
    }
    bed.end(&[&a]);
}

fn inside(lines: &'static [&'static str]) -> impl FnOnce(&mut Bed, &Pod) {
    move |_, a| lines.iter().for_each(|line| drop(a.place().sh(line)))
}

#[test]
fn its_addresses_and_routes() {
    let damage = inside(&["ip address del 10.1.0.2/24 dev eth0"]);
    complains(&keys(), &["does not have address 10.1.0.2/24"], damage);
    complains(&keys(), &["route 0.0.0.0/0", "is missing"], inside(&["ip route del default"]));
}

#[test]
fn its_settings() {
    complains(&keys(), &["interface eth0 is down"], inside(&["ip link set eth0 down"]));
    let damage = inside(&["ip link set eth0 address 02:00:00:00:00:99"]);
    complains(&keys(), &["02:00:00:00:00:99"], damage);
    complains(&keys(), &["interface eth0 has MTU 1300, not 1400"], inside(&["ip link set eth0 mtu 1300"]));
}

#[test]
fn it_is_renamed_or_another_link() {
    let rename = &["ip link set eth0 down", "ip link set eth0 name inside7"];
    complains(&keys(), &["interface eth0 is not in the container"], inside(rename));
    let damage = inside(&["ip link del eth0", "ip link add eth0 type veth peer name other", "ip link set eth0 up"]);
    complains(&keys(), &["interface eth0 in the container is no tun but \"veth\""], damage);
}

#[test]
fn another_device_has_its_name() {
    for (line, expected) in [
        ("ip tuntap add mode tap name eth0 multi_queue", "interface eth0 has more than one queue"),
        ("ip tuntap add mode tap name eth0 user 0", "interface eth0 has group another, not 0"),
        ("ip tuntap add mode tap name eth0 group 0", "interface eth0 has owner another, not 0"),
    ] {
        complains(&json!({"owner": 0, "group": 0, "mac": "02:00:00:00:00:07"}), &[expected], |_, a| {
            a.place().sh("ip link del eth0");
            a.place().sh(line);
            a.place().sh("ip link set eth0 address 02:00:00:00:00:07 up");
        });
    }
}

#[test]
fn it_is_taken_from_its_bridge() {
    let Some(bed) = start(&json!({"bridge": "br0"})) else { return };
    let container = bed.node.container("a");
    container.place.sh("ip link add br0 type bridge");
    let a = bed.attach_to(&bed.network, container);
    a.place().sh("ip link set eth0 nomaster");
    assert!(bed.complaint(&a).contains("interface eth0 is no port of bridge br0"));
    bed.end(&[&a]);
}

#[test]
fn the_configuration_has_changed() {
    complains(&keys(), &["interface eth0 has only one queue"], |bed, _| {
        bed.network.conflist["plugins"][0]["multiQueue"] = json!(true);
    });
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
