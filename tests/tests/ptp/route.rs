//! Addresses and routes: everything goes by the host, in every constellation of addresses and gateways.

use ferrule_tests::bed::{host_local, scripted, text};
use ferrule_tests::{Firewall, Pod};
use serde_json::{Value, json};

use crate::{host_end, start, start_with};

/// The lines of `ip route` for the container's interface.
fn routes(pod: &Pod, family: &str) -> Vec<String> {
    let shown = pod.place().sh(&format!("ip {family} route show dev eth0"));
    shown.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.starts_with("fe80::")).collect()
}

fn dual_stack() -> Value {
    let mut ipam = host_local(&["10.1.0.0/24", "fd00:1::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    json!({ "ipam": ipam })
}

#[test]
fn neighbours_are_reached_by_the_host() {
    let Some(bed) = start(&dual_stack()) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    bed.host().assert_link_local_at_once(&host_end(&b));
    b.place().assert_link_local_at_once("eth0");
    assert_eq!(bed.host().sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(bed.host().sysctl("net/ipv6/conf/all/forwarding"), "1");
    for number in [0, 1] {
        let gateway = text(&a.result, &format!("/ips/{number}/gateway"));
        assert!(a.place().ping(gateway.parse().unwrap()), "the gateway {gateway}");
        assert!(a.place().ping(b.ip(number)), "the neighbour {}", b.ip(number));
        assert!(bed.host().ping(a.ip(number)), "the container from the host");
        let way = a.place().sh(&format!("ip route get {}", b.ip(number)));
        assert!(way.contains(&format!("via {gateway} dev eth0")), "{way}");
    }
    // A hop is counted: it was the host that passed it on.
    let one_hop = format!("ping -n -q -c 1 -W 3 -t 1 {}", b.ip(0));
    assert!(a.place().try_sh(&one_hop).is_err());
    for pod in [&a, &b] {
        bed.network.check(&pod.container).expect("CHECK");
    }
    bed.end(&[&a, &b]);
}

#[test]
fn the_gateway_alone_is_on_the_link() {
    let Some(bed) = start(&dual_stack()) else { return };
    let a = bed.attach("a");
    let expected =
        ["default via 10.1.0.1", "10.1.0.0/24 via 10.1.0.1 src 10.1.0.2", "10.1.0.1 scope link src 10.1.0.2"];
    assert_eq!(routes(&a, "-4"), expected);
    let v6 = routes(&a, "-6");
    for start in ["fd00:1::/64 via fd00:1::1 src fd00:1::2", "fd00:1::1 src fd00:1::2", "default via fd00:1::1"] {
        assert!(v6.iter().any(|line| line.starts_with(start)), "{start:?} in {v6:#?}");
    }
    assert_eq!(v6.iter().filter(|line| line.starts_with("fd00:1::/64")).count(), 1, "{v6:#?}");
    let port = host_end(&a);
    let on_host = bed.host().sh(&format!("ip -4 route show dev {port}"));
    assert_eq!(on_host.trim_end(), "10.1.0.2 scope host");
    assert!(bed.host().sh(&format!("ip -6 route show dev {port}")).contains("fd00:1::2 "));
    assert!(bed.host().sh(&format!("ip address show dev {port}")).contains("inet 10.1.0.1/32 "));
    bed.end(&[&a]);
}

#[test]
fn addresses_that_share_a_gateway() {
    let ips = json!([
        {"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "10.1.0.6/24", "gateway": "10.1.0.1"},
        {"address": "fd00:1::5/64", "gateway": "fd00:1::1"}, {"address": "fd00:1::6/64", "gateway": "fd00:1::1"}
    ]);
    let Some(bed) = start(&json!({"ipam": scripted(&ips, &json!([{"dst": "0.0.0.0/0"}]))})) else { return };
    let a = bed.attach("a");
    for number in 0..4 {
        assert!(bed.host().ping(a.ip(number)), "address {number}");
    }
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn an_address_without_a_gateway_reaches_its_host() {
    let ips = json!([{"address": "10.1.0.5/24"}, {"address": "fd00:1::5/64"}]);
    let Some(bed) = start(&json!({"ipam": scripted(&ips, &json!([]))})) else { return };
    bed.host().sh("ip address add 10.1.0.99/32 dev lo");
    bed.host().sh("ip route del default");
    bed.host().sh("ip address del 192.0.2.2/24 dev uplink");
    let before = bed.node.snapshot();
    let a = bed.attach("a");
    assert_eq!(routes(&a, "-4"), ["10.1.0.0/24 proto kernel scope link src 10.1.0.5"]);
    assert!(bed.host().ping(a.ip(0)), "from an address of its subnet");
    assert!(a.place().ping("10.1.0.99".parse().unwrap()));
    assert!(a.result["ips"][0].get("gateway").is_none());
    bed.network.check(&a.container).expect("CHECK");
    bed.network.del(&a.container).expect("DEL");
    bed.node.assert_nothing_left(&before, &[&a.container]);
}

#[test]
fn single_addresses_with_a_gateway_from_elsewhere() {
    let ips = json!([
        {"address": "10.1.0.5/32", "gateway": "169.254.1.1"}, {"address": "fd00:1::5/128", "gateway": "fe80::1"}
    ]);
    let ipam = scripted(&ips, &json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]));
    let Some(bed) = start(&json!({"ipMasq": true, "ipam": ipam})) else { return };
    let a = bed.attach("a");
    assert_eq!(routes(&a, "-4"), ["default via 169.254.1.1", "169.254.1.1 scope link src 10.1.0.5"]);
    assert!(a.place().ping(bed.node.outside_address()), "the world outside");
    assert!(a.place().ping(bed.node.outside_address_v6()), "the world outside, IPv6");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn attributes_are_in_the_kernel_and_in_the_result() {
    let of_ipam = json!([{"dst": "10.7.0.0/16", "mtu": 1400, "advmss": 1360, "priority": 77, "table": 1234}]);
    let ips = json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]);
    let Some(bed) = start(&json!({"ipam": scripted(&ips, &of_ipam)})) else { return };
    let a = bed.attach("a");
    assert_eq!(a.result["routes"], of_ipam);
    let shown = a.place().sh("ip route show table 1234");
    assert_eq!(shown.trim_end(), "10.7.0.0/16 via 10.1.0.1 dev eth0 metric 77 mtu 1400 advmss 1360");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_route_to_a_former_holder_of_the_address_gives_way() {
    let ips =
        json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64", "gateway": "fd00:1::1"}]);
    let Some(bed) = start(&json!({"ipam": scripted(&ips, &json!([]))})) else { return };
    let (former, now) = (bed.attach("former"), bed.attach("now"));
    let service = now.place().serve_tcp(80);
    for number in [0, 1] {
        assert_eq!(bed.host().fetch_tcp(now.ip(number), 80).expect("an answer").from, "now");
    }
    drop(service);
    bed.network.del(&former.container).expect("DEL of the former");
    bed.network.check(&now.container).expect("CHECK");
    assert!(bed.host().ping(now.ip(0)), "and keeps its route");
    bed.end(&[&now]);
}

fn hides_containers(firewall: Firewall) {
    let mut keys = dual_stack();
    keys["ipMasq"] = json!(true);
    let Some(bed) = start_with(firewall, &keys) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let outside = bed.node.outside.serve_udp(7000);
    let seen = |address| a.place().fetch_udp(address, 7000).expect("an answer").saw;
    assert_eq!(seen(bed.node.outside_address()), bed.node.address(), "outside");
    assert_eq!(seen(bed.node.outside_address_v6()), bed.node.address_v6(), "outside, IPv6");
    drop(outside);
    let inside = b.place().serve_udp(7000);
    for number in [0, 1] {
        assert_eq!(seen(b.ip(number)), a.ip(number), "subnet {number}");
    }
    drop(inside);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a, &b]);
}

#[test]
fn masquerade_by_nftables() {
    hides_containers(Firewall::Nftables);
}

#[test]
fn masquerade_by_iptables_nft() {
    hides_containers(Firewall::IptablesNft);
}

#[test]
fn masquerade_by_iptables_legacy() {
    hides_containers(Firewall::IptablesLegacy);
}
