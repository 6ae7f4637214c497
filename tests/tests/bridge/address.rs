//! Layer 3: addresses, the gateway on the bridge, forwarding.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{Bed, Pod, address, all, host_local, text};

/// Two containers reach each other and the gateway by the addresses of this number.
fn reach_each_other(bed: &Bed, a: &Pod, b: &Pod, number: usize) {
    assert_ne!(a.ip(number), b.ip(number));
    assert!(a.place().ping(b.ip(number)), "a to b");
    assert!(b.place().ping(a.ip(number)), "b to a");
    let gateway: IpAddr = text(&a.result, &format!("/ips/{number}/gateway")).parse().unwrap();
    assert!(a.place().ping(gateway), "to the gateway");
    assert!(bed.host().ping(a.ip(number)), "from the host");
}

#[test]
fn ipv4() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["10.1.0.0/16"])})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    reach_each_other(&bed, &a, &b, 0);
    assert_eq!(bed.host().sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(bed.host().sysctl("net/ipv6/conf/all/forwarding"), "0", "the other family is left alone");
    let shown = a.place().json("ip -j address show eth0");
    assert_eq!(text(&shown, "/0/addr_info/0/broadcast"), "10.1.255.255");
    assert_eq!(a.place().sysctl("net/ipv4/conf/eth0/arp_notify"), "1");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a, &b]);
}

#[test]
fn ipv6() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["fd00:1::/64"])})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    bed.host().assert_link_local_at_once("br0");
    b.place().assert_link_local_at_once("eth0");
    reach_each_other(&bed, &a, &b, 0);
    assert_eq!(bed.host().sysctl("net/ipv6/conf/all/forwarding"), "1");
    assert_eq!(bed.host().sysctl("net/ipv4/ip_forward"), "0", "the other family is left alone");
    assert_eq!(bed.host().sysctl("net/ipv6/conf/br0/accept_ra"), "0");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a, &b]);
}

#[test]
fn ipv6_where_it_was_disabled() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["fd00:1::/64"])})) else { return };
    let container = bed.node.container("a");
    container.place.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    let a = bed.attach_to(&bed.network, container);
    assert!(a.place().ping(address("fd00:1::1")));
    bed.end(&[&a]);
}

#[test]
fn both_families_and_two_subnets_of_each() {
    let subnets = ["10.1.0.0/24", "fd00:1::/64", "10.2.0.0/24", "fd00:2::/64"];
    let Some(bed) = crate::start(&json!({"isDefaultGateway": true, "ipam": host_local(&subnets)})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    for number in 0..subnets.len() {
        reach_each_other(&bed, &a, &b, number);
    }
    let on_bridge = bed.host().json("ip -j address show br0");
    let on_bridge = all(on_bridge.pointer("/0/addr_info").unwrap(), "local");
    for gateway in ["10.1.0.1", "10.2.0.1", "fd00:1::1", "fd00:2::1"] {
        assert!(on_bridge.contains(&gateway.to_owned()), "{gateway} is not in {on_bridge:?}");
    }
    // One default route for each family.
    let defaults: Vec<String> = all(&a.result["routes"], "gw");
    assert_eq!(defaults, ["10.1.0.1", "fd00:1::1"]);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a, &b]);
}

#[test]
fn without_a_gateway_the_host_has_no_address() {
    let Some(bed) = crate::start(&json!({"ipam": host_local(&["10.1.0.0/16"])})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    assert!(a.place().ping(b.ip(0)));
    let on_bridge = bed.host().json("ip -j -4 address show br0");
    assert_eq!(on_bridge.pointer("/0/addr_info").unwrap_or(&json!([])), &json!([]));
    assert_eq!(bed.host().sysctl("net/ipv4/ip_forward"), "0");
    bed.end(&[&a, &b]);
}

#[test]
fn the_gateway_that_ipam_says_is_taken() {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/16", "gateway": "10.1.0.254"}]]});
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": ipam})) else { return };
    let a = bed.attach("a");
    assert_eq!(text(&a.result, "/ips/0/gateway"), "10.1.0.254");
    assert!(a.place().ping(address("10.1.0.254")));
    bed.end(&[&a]);
}

#[test]
fn an_address_asked_for_by_capability() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["10.1.0.0/16"])})) else { return };
    let container = bed.node.container("a").with_capability("ips", json!(["10.1.7.7/16"]));
    let a = bed.attach_to(&bed.network, container);
    assert_eq!(a.ip(0), address("10.1.7.7"));
    assert!(bed.host().ping(a.ip(0)));
    bed.end(&[&a]);
}

#[test]
fn another_address_of_the_bridge_is_in_the_way() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["10.1.0.0/16"])})) else { return };
    bed.host().sh("ip link add br0 type bridge");
    bed.host().sh("ip address add 10.9.0.1/16 dev br0");
    let container = bed.node.container("a");
    let failure = bed.refused(&container);
    assert_eq!(failure.code, 7);
    assert!(failure.msg.contains("\"br0\" already has an IP address different from 10.1.0.1/16: 10.9.0.1/16"));
    assert!(failure.msg.contains("forceAddress"), "the cure is named: {}", failure.msg);
    assert_eq!(gateways(&bed), ["10.9.0.1"], "the bridge is as it was");
}

#[test]
fn another_address_of_the_bridge_is_replaced_by_force() {
    let keys = json!({"isGateway": true, "forceAddress": true, "ipam": host_local(&["10.1.0.0/16", "fd00:1::/64"])});
    let Some(bed) = crate::start(&keys) else { return };
    bed.host().sh("ip link add br0 type bridge");
    for other in ["10.9.0.1/16", "fd00:1::9/64", "fd00:9::1/64"] {
        bed.host().sh(&format!("ip address add {other} dev br0 nodad"));
    }
    let a = bed.attach("a");
    assert!(a.place().ping(address("10.1.0.1")) && a.place().ping(address("fd00:1::1")));
    let mut left = gateways(&bed);
    left.sort();
    assert_eq!(left, ["10.1.0.1", "fd00:1::1", "fd00:9::1"], "what does not overlap stays");
    bed.end(&[&a]);
}

/// The bridge's addresses, without the link-local one.
fn gateways(bed: &Bed) -> Vec<String> {
    let shown: Value = bed.host().json("ip -j address show br0 scope global");
    all(&shown[0]["addr_info"], "local")
}

#[test]
fn duplicate_address_detection() {
    let keys = json!({"isGateway": true, "enabledad": true, "ipam": host_local(&["fd00:1::/64"])});
    let Some(bed) = crate::start(&keys) else { return };
    let a = bed.attach("a");
    // ADD waited for it: the address is in use.
    let shown = a.place().json("ip -j -6 address show dev eth0 scope global tentative");
    assert_eq!(shown[0]["addr_info"].as_array().map_or(0, Vec::len), 0, "{shown}");
    assert!(a.place().ping(address("fd00:1::1")));
    bed.end(&[&a]);
}

#[test]
fn a_duplicate_address_is_an_error() {
    let keys = json!({"enabledad": true, "ipam": host_local(&["fd00:1::/64"])});
    let Some(bed) = crate::start(&keys) else { return };
    // Somebody on the link has the address that comes next.
    bed.host().sh("ip link add br0 type bridge");
    bed.host().sh("ip address add fd00:1::2/64 dev br0 nodad");
    bed.host().sh("ip link set br0 up");
    let failure = bed.refused(&bed.node.container("a"));
    assert!(failure.msg.contains("address fd00:1::2/64 of eth0 is a duplicate"), "{failure:?}");
}

#[test]
fn without_enabledad_a_duplicate_is_nobodys_concern() {
    let Some(bed) = crate::start(&json!({"ipam": host_local(&["fd00:1::/64"])})) else { return };
    bed.host().sh("ip link add br0 type bridge");
    bed.host().sh("ip address add fd00:1::2/64 dev br0 nodad");
    let a = bed.attach("a");
    let shown = a.place().json("ip -j -6 address show dev eth0 scope global");
    assert!(shown[0]["addr_info"][0]["tentative"].is_null(), "{shown}");
    bed.end(&[&a]);
}
