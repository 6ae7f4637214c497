//! CHECK: silent right after ADD and after what others may do; after each damage a sentence that names the thing.

use ferrule_tests::bed::host_local;
use ferrule_tests::{Bed, Firewall, Pod};
use serde_json::{Value, json};

use crate::{host_end, start, start_with};

fn keys() -> Value {
    let mut ipam = host_local(&["10.1.0.0/24", "fd00:1::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    json!({"ipMasq": true, "ipam": ipam})
}

/// After `damage`, CHECK says these things, and all can still be removed.
#[track_caller]
fn complains(words: &[&str], damage: impl FnOnce(&Bed, &Pod)) {
    complains_with(Firewall::Nftables, words, damage);
}

#[track_caller]
fn complains_with(firewall: Firewall, words: &[&str], damage: impl FnOnce(&Bed, &Pod)) {
    let Some(bed) = start_with(firewall, &keys()) else { return };
    let a = bed.attach("a");
    bed.network.check(&a.container).expect("CHECK right after ADD");
    damage(&bed, &a);
    let complaint = bed.complaint(&a);
    for word in words {
        assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
    }
    bed.end(&[&a]);
}

fn inside(line: &'static str) -> impl FnOnce(&Bed, &Pod) {
    move |_, a| drop(a.place().sh(line))
}

fn on_host(line: &'static str) -> impl FnOnce(&Bed, &Pod) {
    move |bed, a| drop(bed.host().sh(&line.replace("HOST_END", &host_end(a))))
}

#[test]
fn an_address_is_removed() {
    complains(&["eth0", "does not have address 10.1.0.2/24"], inside("ip address del 10.1.0.2/24 dev eth0"));
}

#[test]
fn a_route_of_ipam_is_removed() {
    complains(&["route 0.0.0.0/0 via 10.1.0.1", "is missing"], inside("ip route del default"));
}

#[test]
fn the_route_to_the_gateway_is_removed() {
    complains(&["route 10.1.0.1/32", "eth0 of the container is missing"], inside("ip route del 10.1.0.1"));
}

#[test]
fn the_route_to_the_subnet_goes_past_the_gateway() {
    let damage = inside("ip route replace 10.1.0.0/24 dev eth0");
    complains(&["route 10.1.0.0/24 via 10.1.0.1", "eth0 of the container is missing"], damage);
}

#[test]
fn the_containers_interface_is_down() {
    complains(&["interface eth0 is down"], inside("ip link set eth0 down"));
}

#[test]
fn the_containers_mac_is_changed() {
    complains(&["eth0", "02:00:00:00:00:99"], inside("ip link set eth0 address 02:00:00:00:00:99"));
}

#[test]
fn the_containers_interface_is_another_one() {
    complains(&["interface eth0 in the container is no veth but \"macvlan\""], |_, a| {
        for line in ["set eth0 down", "set eth0 name eth1", "set eth1 up", "add eth0 link eth1 type macvlan"] {
            a.place().sh(&format!("ip link {line}"));
        }
    });
}

#[test]
fn the_hosts_end_is_down() {
    complains(&["the host's end veth", "is down"], on_host("ip link set HOST_END down"));
}

#[test]
fn the_gateways_address_is_removed() {
    let damage = on_host("ip address del 10.1.0.1/32 dev HOST_END");
    complains(&["gateway address 10.1.0.1/32 is not on veth"], damage);
    let damage = on_host("ip address del fd00:1::1/128 dev HOST_END");
    complains(&["gateway address fd00:1::1/128 is not on veth"], damage);
}

#[test]
fn the_hosts_route_is_removed() {
    complains(&["route 10.1.0.2/32", "of the host is missing"], on_host("ip route del 10.1.0.2"));
    complains(&["route fd00:1::2/128", "of the host is missing"], on_host("ip -6 route del fd00:1::2"));
}

#[test]
fn the_hosts_end_is_in_another_namespace() {
    complains(&["the host's end of eth0 is gone"], |bed, a| {
        let elsewhere = bed.node.outside.netns.display().to_string();
        bed.host().sh(&format!("ip link set {} netns {elsewhere}", host_end(a)));
    });
}

#[test]
fn the_masquerade_is_removed() {
    complains(&["10.1.0.2/24 is not masqueraded"], on_host("nft flush map inet ferrule_masq sources4"));
    let damage = on_host("iptables-nft -t nat -F POSTROUTING");
    complains_with(Firewall::IptablesNft, &["10.1.0.2/24 is not masqueraded"], damage);
}

#[test]
fn what_others_may_do_is_no_difference() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    let check = |what: &str| bed.network.check(&a.container).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let port = host_end(&a);
    bed.host().sh(&format!("ip link set {port} promisc on"));
    check("somebody captures packets");
    bed.host().sh(&format!("ip link set {port} address 02:00:00:00:00:88"));
    check("udev set the MAC address of the host's end");
    a.place().sh("ip route add 10.77.0.0/16 via 10.1.0.1");
    a.place().sh("ip address add 10.1.0.200/32 dev eth0");
    check("more addresses and routes");
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
