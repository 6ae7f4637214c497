//! CHECK: silent right after ADD and after what others may do; after each damage a sentence that names the thing.

use ferrule_tests::{Feature, Firewall, require};
use serde_json::{Value, json};

use crate::{Bed, Pod, host_local, text, words};

fn keys() -> Value {
    json!({
        "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": host_local(&["10.1.0.0/24", "fd00:1::/64"])
    })
}

/// What CHECK says after `damage`. Afterwards everything can still be removed.
fn complaint(firewall: Firewall, keys: &Value, damage: impl FnOnce(&Bed, &Pod)) -> Option<String> {
    let bed = crate::start_with(firewall, keys)?;
    let a = bed.attach("a");
    bed.network.check(&a.container).expect("CHECK right after ADD");
    damage(&bed, &a);
    let failure = bed.network.check(&a.container).expect_err("CHECK must complain");
    bed.end(&[&a]);
    Some(words(&failure))
}

/// After `damage`, CHECK says these things.
#[track_caller]
fn complains(words: &[&str], damage: impl FnOnce(&Bed, &Pod)) {
    complains_of(&keys(), words, damage);
}

#[track_caller]
fn complains_of(keys: &Value, words: &[&str], damage: impl FnOnce(&Bed, &Pod)) {
    let Some(complaint) = complaint(Firewall::Nftables, keys, damage) else { return };
    for word in words {
        assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
    }
}

#[test]
fn an_address_is_removed() {
    complains(&["eth0", "does not have address 10.1.0.2/24"], |_, a| {
        a.place().sh("ip address del 10.1.0.2/24 dev eth0");
    });
}

#[test]
fn a_route_is_removed() {
    complains(&["route 0.0.0.0/0 via 10.1.0.1", "is missing"], |_, a| {
        a.place().sh("ip route del default");
    });
}

#[test]
fn a_route_goes_another_way() {
    complains(&["route ::/0 via fd00:1::1", "there is ::/0 via fd00:1::7"], |_, a| {
        a.place().sh("ip -6 route replace default via fd00:1::7");
    });
}

#[test]
fn the_containers_interface_is_down() {
    complains(&["interface eth0 is down"], |_, a| {
        a.place().sh("ip link set eth0 down");
    });
}

#[test]
fn the_containers_interface_is_renamed() {
    let Some(bed) = crate::start(&keys()) else { return };
    let a = bed.attach("a");
    a.place().sh("ip link set eth0 down");
    a.place().sh("ip link set eth0 name eth7");
    let failure = bed.network.check(&a.container).expect_err("CHECK must complain");
    assert_eq!(failure.msg, "interface eth0 is not in the container");
    bed.end(&[&a]);
    assert!(a.place().find_link("eth7").is_none(), "removed by the host's end");
}

#[test]
fn the_containers_interface_is_another_one() {
    complains(&["interface eth0 in the container is no veth but \"macvlan\""], |_, a| {
        a.place().sh("ip link set eth0 down");
        a.place().sh("ip link set eth0 name eth1");
        a.place().sh("ip link set eth1 up");
        a.place().sh("ip link add eth0 link eth1 type macvlan");
    });
}

#[test]
fn the_containers_mac_is_changed() {
    complains(&["eth0", "has MAC address 02:00:00:00:00:99, not"], |_, a| {
        a.place().sh("ip link set eth0 address 02:00:00:00:00:99");
    });
}

#[test]
fn the_port_is_detached() {
    complains(&["is no port of bridge br0", "veth"], |bed, a| {
        bed.host().sh(&format!("ip link set {} nomaster", crate::port(a)));
    });
}

#[test]
fn the_port_is_down() {
    complains(&["bridge port veth", "is down"], |bed, a| {
        bed.host().sh(&format!("ip link set {} down", crate::port(a)));
    });
}

#[test]
fn the_bridge_is_deleted() {
    complains(&["bridge br0 is gone"], |bed, _| {
        bed.host().sh("ip link del br0");
    });
}

#[test]
fn the_bridge_is_down() {
    complains(&["bridge br0 is down"], |bed, _| {
        bed.host().sh("ip link set br0 down");
    });
}

#[test]
fn the_gateways_address_is_removed() {
    complains(&["gateway address 10.1.0.1/24 is not on br0"], |bed, _| {
        bed.host().sh("ip address del 10.1.0.1/24 dev br0");
    });
}

#[test]
fn hairpin_mode_is_off() {
    complains(&["hairpin mode of bridge port veth", "is off"], |bed, a| {
        bed.host().sh(&format!("bridge link set dev {} hairpin off", crate::port(a)));
    });
}

#[test]
fn isolation_is_off() {
    complains_of(&json!({"portIsolation": true}), &["isolation of bridge port veth", "is off"], |bed, a| {
        bed.host().sh(&format!("bridge link set dev {} isolated off", crate::port(a)));
    });
}

#[test]
fn promiscuous_mode_is_off() {
    complains_of(&json!({"promiscMode": true}), &["bridge br0 is not in promiscuous mode"], |bed, _| {
        bed.host().sh("ip link set br0 promisc off");
    });
}

#[test]
fn the_masquerade_is_removed_from_nftables() {
    for damage in ["nft flush ruleset", "nft flush map inet ferrule_masq sources4"] {
        complains(&["10.1.0.2/24 is not masqueraded", "missing"], |bed, _| {
            bed.host().sh(damage);
        });
    }
}

#[test]
fn the_masquerade_is_removed_from_iptables() {
    let damage = |bed: &Bed, _: &Pod| drop(bed.host().sh("iptables-nft -t nat -F POSTROUTING"));
    let Some(complaint) = complaint(Firewall::IptablesNft, &keys(), damage) else { return };
    assert!(complaint.contains("10.1.0.2/24 is not masqueraded"), "{complaint}");
}

#[test]
fn the_spoof_check_is_removed() {
    if !require(Feature::BridgeNftables) {
        return;
    }
    for damage in ["nft delete table bridge ferrule_spoof", "nft flush set bridge ferrule_spoof ports"] {
        complains_of(&crate::spoof::keys(), &["the MAC spoof check of bridge port veth", "is missing"], |bed, _| {
            bed.host().sh(damage);
        });
    }
}

#[test]
fn the_reservation_is_lost() {
    let Some(bed) = crate::start(&keys()) else { return };
    let a = bed.attach("a");
    std::fs::remove_file(bed.node.data_dir().join(crate::NETWORK).join("10.1.0.2")).unwrap();
    let failure = bed.network.check(&a.container).expect_err("CHECK must complain");
    assert!(failure.msg.contains(&a.container.id), "{failure:?}");
    bed.end(&[&a]);
}

#[test]
fn what_others_may_do_is_no_difference() {
    let Some(bed) = crate::start(&keys()) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let check = |what: &str| bed.network.check(&a.container).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let host = |line: &str| drop(bed.host().sh(line));
    host("ip link set br0 promisc on");
    check("somebody captures packets on the bridge");
    host(&format!("ip link set {} address 02:00:00:00:00:88", crate::port(&a)));
    check("udev set the MAC address of the host's end");
    host("ip link set br0 address 02:00:00:00:00:89");
    check("the bridge has another MAC address");
    host(&format!("bridge link set dev {} cost 7", crate::port(&a)));
    host("ip address add 10.9.0.1/24 dev br0");
    check("the bridge has another address, too");
    let port = crate::port(&a);
    host(&format!("ip link set {port} down"));
    host(&format!("ip link set {port} name renamed0"));
    host("ip link set renamed0 up");
    check("udev renamed the host's end");
    let inside = |line: &str| drop(a.place().sh(line));
    inside("ip address add 10.1.0.200/24 dev eth0");
    inside("ip route add 10.77.0.0/16 via 10.1.0.1");
    inside("ip route add default via 10.1.0.1 table 100");
    inside("ip rule add from 10.1.0.2 table 100");
    inside("ip link add extra type veth peer name extra1");
    inside("ip address add 10.99.0.1/24 dev extra");
    check("more addresses and routes");
    bed.network.check(&b.container).expect("the other");
    bed.network.del(&a.container).expect("DEL of what was renamed");
    bed.network.del(&b.container).expect("DEL");
    bed.node.assert_nothing_left(&bed.before, &[&a.container, &b.container]);
}

#[test]
fn without_a_previous_result() {
    let Some(bed) = crate::start(&keys()) else { return };
    let a = bed.attach("a");
    bed.network.remember(&a.container, None);
    let failure = bed.network.check(&a.container).expect_err("CHECK must complain");
    assert_eq!((failure.code, failure.msg.as_str()), (7, "Required prevResult missing"));
    bed.end(&[&a]);
}

#[test]
fn a_previous_result_of_somebody_else() {
    let Some(bed) = crate::start(&keys()) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    bed.network.remember(&a.container, Some(b.result.clone()));
    let failure = bed.network.check(&a.container).expect_err("CHECK must complain");
    assert!(failure.msg.contains("eth0"), "{failure:?}");
    assert_ne!(text(&a.result, "/interfaces/2/mac"), text(&b.result, "/interfaces/2/mac"));
    bed.end(&[&a, &b]);
}
