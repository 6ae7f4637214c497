//! The bridge and the veth pair: layer 2 alone, MTU, flags of the port, bridges that were there before.

use serde_json::{Value, json};

use crate::{Bed, Pod, host_local, text, words};

/// Gives a container of a layer 2 network an address by hand.
fn number(pod: &Pod, host: u8) {
    pod.place().sh(&format!("ip address add 10.1.0.{host}/24 dev eth0"));
}

#[test]
fn layer_2_alone() {
    let Some(bed) = crate::start(&json!({})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    assert!(a.result.get("ips").is_none(), "{}", a.result);
    assert_eq!(a.result["interfaces"].as_array().map(Vec::len), Some(3));
    number(&a, 5);
    number(&b, 6);
    assert!(a.place().ping(crate::address("10.1.0.6")));
    bed.network.check(&a.container).expect("CHECK");
    bed.network.status().expect("STATUS");
    bed.end(&[&a, &b]);
}

#[test]
fn the_result_names_the_links_as_they_are() {
    let Some(bed) = crate::start(&json!({})) else { return };
    let a = bed.attach("a");
    let shown = [bed.link("br0"), bed.link(&crate::port(&a)), a.interface()];
    for (index, link) in shown.iter().enumerate() {
        let told = &a.result["interfaces"][index];
        assert_eq!((&told["name"], &told["mac"], &told["mtu"]), (&link["ifname"], &link["address"], &link["mtu"]));
    }
    assert_eq!(text(&a.result, "/interfaces/2/sandbox"), a.container.netns.to_str().unwrap());
    assert_eq!(shown[1]["master"], "br0");
    assert_eq!(shown[1]["operstate"], "UP", "the port carries frames when ADD returns");
    assert!(text(&shown[1], "/ifalias").contains(&a.container.id), "the alias tells whose it is");
    bed.end(&[&a]);
}

#[test]
fn the_bridge_is_cni0_by_default() {
    let Some(bed) = crate::start(&json!({"bridge": null})) else { return };
    let a = bed.attach("a");
    assert_eq!(text(&bed.link(&crate::port(&a)), "/master"), "cni0");
    bed.end(&[&a]);
}

#[test]
fn mtu_of_both_ends_and_of_a_new_bridge() {
    let Some(bed) = crate::start(&json!({"mtu": 1400})) else { return };
    let a = bed.attach("a");
    for link in [bed.link("br0"), bed.link(&crate::port(&a)), a.interface()] {
        assert_eq!(link["mtu"], 1400, "{link}");
    }
    bed.end(&[&a]);
}

#[test]
fn bad_mtus_are_refused() {
    for mtu in [json!(67), json!(65536), json!(-1), json!("1500")] {
        let Some(bed) = crate::start(&json!({ "mtu": mtu })) else { return };
        let failure = bed.refused(&bed.node.container("a"));
        assert!([6, 7].contains(&failure.code) && words(&failure).contains("mtu"), "{failure:?}");
        assert!(bed.host().find_link("br0").is_none(), "nothing was done");
    }
}

#[test]
fn a_bridge_that_exists_is_used_as_it_is() {
    let Some(bed) = crate::start(&json!({"mtu": 1400, "isGateway": true, "ipam": host_local(&["10.1.0.0/24"])})) else {
        return;
    };
    bed.host().sh("ip link add br0 address 02:00:00:00:00:77 mtu 1450 type bridge");
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let bridge = bed.link("br0");
    assert_eq!(bridge["address"], "02:00:00:00:00:77");
    assert_eq!(a.interface()["mtu"], 1400);
    assert!(a.place().ping(b.ip(0)));
    bed.end(&[&a, &b]);
    assert_eq!(bed.link("br0")["address"], "02:00:00:00:00:77");
}

#[test]
fn the_mac_of_a_bridge_does_not_follow_its_ports() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["10.1.0.0/24"])})) else { return };
    // One whose address is the kernel's choice takes its lowest port's.
    bed.host().sh("ip link add br0 type bridge");
    let a = bed.attach("a");
    let mac = bed.link("br0")["address"].clone();
    bed.host().sh("ip link add low address 02:00:00:00:00:01 type veth peer name low1");
    bed.host().sh("ip link set low master br0");
    assert_eq!(bed.link("br0")["address"], mac);
    bed.host().sh("ip link delete low");
    bed.end(&[&a]);
}

#[test]
fn the_name_of_the_bridge_belongs_to_another_link() {
    let Some(bed) = crate::start(&json!({})) else { return };
    bed.host().sh("ip link add br0 type veth peer name other");
    let before = bed.node.snapshot();
    let container = bed.node.container("a");
    let failure = bed.network.add(&container).expect_err("ADD");
    assert_eq!((failure.code, failure.msg.as_str()), (7, "\"br0\" already exists but is not a bridge (it is veth)"));
    bed.assert_unchanged_since(&before);
}

#[test]
fn hairpin() {
    let Some(bed) = crate::start(&json!({"hairpinMode": true})) else { return };
    let a = bed.attach("a");
    assert_eq!(port_flag(&bed, &a, "hairpin"), true);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn without_wishes_a_port_has_no_flags() {
    let Some(bed) = crate::start(&json!({})) else { return };
    let a = bed.attach("a");
    assert_eq!(port_flag(&bed, &a, "hairpin"), false);
    assert_eq!(port_flag(&bed, &a, "isolated"), false);
    bed.end(&[&a]);
}

fn port_flag(bed: &Bed, pod: &Pod, flag: &str) -> Value {
    bed.link(&crate::port(pod))["linkinfo"]["info_slave_data"][flag].clone()
}

#[test]
fn promiscuous_mode() {
    let Some(bed) = crate::start(&json!({"promiscMode": true})) else { return };
    let a = bed.attach("a");
    assert!(bed.link("br0")["flags"].to_string().contains("PROMISC"));
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn hairpin_and_promiscuous_mode_exclude_each_other() {
    let Some(bed) = crate::start(&json!({"hairpinMode": true, "promiscMode": true})) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert_eq!(failure.code, 7);
    assert!(failure.msg.starts_with("cannot set hairpin mode and promiscuous mode at the same time"), "{failure:?}");
}

#[test]
fn isolated_ports_reach_the_gateway_and_not_each_other() {
    let keys = json!({"isGateway": true, "portIsolation": true, "ipam": host_local(&["10.1.0.0/24"])});
    let Some(bed) = crate::start(&keys) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let gateway = crate::address("10.1.0.1");
    assert!(a.place().ping(gateway) && b.place().ping(gateway));
    assert!(a.place().is_unreachable(b.ip(0)), "isolated from each other");
    let open = crate::second_network(&bed, "open", &json!({}));
    let free = bed.attach_to(&open, bed.node.container("free"));
    number(&free, 200);
    assert!(a.place().ping(crate::address("10.1.0.200")), "a port that is not isolated is reached");
    bed.network.check(&a.container).expect("CHECK");
    open.del(&free.container).expect("DEL");
    bed.end(&[&a, &b]);
}

#[test]
fn a_disabled_container_interface() {
    let Some(bed) = crate::start(&json!({"disableContainerInterface": true})) else { return };
    let a = bed.attach("a");
    assert!(!a.interface()["flags"].to_string().contains("\"UP\""));
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_disabled_container_interface_takes_no_addresses() {
    let keys = json!({"disableContainerInterface": true, "ipam": host_local(&["10.1.0.0/24"])});
    let Some(bed) = crate::start(&keys) else { return };
    let container = bed.node.container("a");
    let failure = bed.refused(&container);
    assert_eq!(failure.code, 7);
    assert!(failure.msg.starts_with("cannot use IPAM when DisableContainerInterface flag is set"), "{failure:?}");
    bed.network.del(&container).expect("DEL");
}

#[test]
fn any_name_of_the_interface() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["10.1.0.0/24", "fd00::/64"])})) else {
        return;
    };
    // Dots are separators of sysctl names, and 15 characters are the most.
    for name in ["net0.100", "abcdefghijklmno", "a"] {
        let a = bed.attach_to(&bed.network, bed.node.container("a").on(name));
        bed.network.check(&a.container).expect("CHECK");
        assert!(bed.host().ping(a.ip(0)));
        bed.end(&[&a]);
    }
}

#[test]
fn two_interfaces_of_one_container() {
    let Some(bed) = crate::start(&json!({"isGateway": true, "ipam": host_local(&["10.1.0.0/24"])})) else { return };
    let container = bed.node.container("a");
    let first = bed.attach_to(&bed.network, container.clone());
    let second = bed.attach_to(&bed.network, container.on("net1"));
    assert_ne!(crate::port(&first), crate::port(&second));
    bed.network.del(&second.container).expect("DEL of the second");
    bed.network.check(&first.container).expect("the first is unharmed");
    bed.end(&[&first]);
}
