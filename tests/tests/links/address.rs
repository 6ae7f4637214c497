//! What IPAM gives is on the interface, and what it does not give is not.

use ferrule_tests::bed::{all, scripted, text, words};
use serde_json::{Value, json};

use crate::{Kind, address, dual_stack, each};

#[test]
fn the_result_is_the_interface() {
    each(&Kind::ALL, &dual_stack(), |kind, bed| {
        let a = bed.attach("a");
        let eth0 = a.interface();
        assert_eq!(eth0["linkinfo"]["info_kind"], kind.name());
        let interface = json!({
            "name": "eth0", "mac": eth0["address"], "mtu": eth0["mtu"], "sandbox": a.container.netns
        });
        assert_eq!(a.result["interfaces"], json!([interface]));
        assert_eq!(all(&a.result["ips"], "address"), ["10.5.0.2/24", "fd00:5::2/64"]);
        assert!(a.result["ips"].as_array().unwrap().iter().all(|ip| ip["interface"] == 0), "{}", a.result);
        let on_it = a.place().json("ip -j address show dev eth0");
        let locals = all(&on_it[0]["addr_info"], "local");
        assert!(["10.5.0.2", "fd00:5::2"].iter().all(|ip| locals.contains(&(*ip).to_owned())), "{on_it}");
        assert!(all(&eth0["flags"], "").is_empty() && eth0["flags"].to_string().contains("\"UP\""), "{eth0}");
        bed.network.check(&a.container).expect("CHECK");
        bed.end(&[&a]);
    });
}

#[test]
fn without_ipam_the_interface_is_up_and_has_no_address() {
    each(&Kind::ALL, &json!({}), |_, bed| {
        let a = bed.attach("a");
        assert!(a.result["ips"].is_null() && a.result["routes"].is_null(), "{}", a.result);
        assert!(a.interface()["flags"].to_string().contains("\"UP\""));
        assert!(!a.place().sh("ip address show dev eth0").contains("inet "));
        bed.network.check(&a.container).expect("CHECK");
        bed.network.status().expect("STATUS");
        bed.network.gc(&[&a.container]).expect("GC");
        bed.network.check(&a.container).expect("CHECK after GC");
        bed.end(&[&a]);
    });
}

#[test]
fn routes_have_all_their_attributes() {
    let routes = json!([
        {"dst": "0.0.0.0/0", "gw": "10.5.0.254"},
        {"dst": "198.51.100.0/24", "gw": "10.5.0.254", "mtu": 1400, "advmss": 1360, "priority": 50, "table": 100},
        {"dst": "203.0.113.0/24", "scope": 253, "mtu": 1300},
        {"dst": "2001:db8:9::/64", "gw": "fd00:5::fe", "mtu": 1400, "priority": 60},
    ]);
    let ips = json!([{"address": "10.5.0.9/24", "gateway": "10.5.0.1"}, {"address": "fd00:5::9/64"}]);
    let keys = json!({"ipam": scripted(&ips, &routes)});
    each(&Kind::ALL, &keys, |_, bed| {
        let a = bed.attach("a");
        assert_eq!(a.result["routes"], routes);
        let shown = |what: &str| a.place().sh(&format!("ip {what}"));
        for (what, expected) in [
            ("route show default", "via 10.5.0.254"),
            ("route show table 100", "198.51.100.0/24 via 10.5.0.254 dev eth0 metric 50 mtu 1400 advmss 1360"),
            ("route show 203.0.113.0/24", "dev eth0 scope link mtu 1300"),
            ("-6 route show 2001:db8:9::/64", "via fd00:5::fe dev eth0 metric 60 mtu 1400"),
        ] {
            let shown = shown(what);
            assert!(shown.contains(expected), "{what}: {shown}");
        }
        bed.network.check(&a.container).expect("CHECK");
        bed.end(&[&a]);
    });
}

#[test]
fn the_dns_of_the_configuration_is_over_that_of_ipam() {
    let mut ipam = scripted(&json!([{"address": "10.5.0.9/24"}]), &json!([]));
    ipam["add"]["dns"] = json!({"nameservers": ["192.0.2.53"], "search": ["ipam.example"]});
    let dns = json!({"nameservers": ["198.51.100.53"]});
    each(&Kind::ALL, &json!({ "ipam": ipam }), |kind, bed| {
        let a = bed.attach("a");
        assert_eq!(a.result["dns"], ipam["add"]["dns"]);
        bed.end(&[&a]);
        let network = kind.network(bed, "dns", &json!({"ipam": ipam, "dns": dns}));
        let b = bed.attach_to(&network, bed.node.container("b"));
        assert_eq!(b.result["dns"], dns);
        network.del(&b.container).expect("DEL");
    });
}

#[test]
fn ipv6_addresses_work_at_once_and_are_announced() {
    each(&Kind::UPPER, &dual_stack(), |_, bed| {
        let a = bed.attach("a");
        assert!(!a.place().sh("ip -6 address show dev eth0 to fd00:5::/64").contains("tentative"));
        for key in ["net/ipv4/conf/eth0/arp_notify", "net/ipv6/conf/eth0/ndisc_notify"] {
            assert_eq!(a.place().sysctl(key), "1", "{key}");
        }
        bed.end(&[&a]);
    });
}

/// By macvlan alone: two of these on one link see each other, and the outside has its addresses on `lan` itself.
#[test]
fn a_duplicate_address_is_found_where_it_is_looked_for() {
    let keys = |enabled: bool| {
        let ips = json!([{"address": "fd00:5::fe/64"}]);
        json!({"enabledad": enabled, "ipam": scripted(&ips, &json!([]))})
    };
    let Some(bed) = Kind::Macvlan.bed(&keys(true)) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert!(words(&failure).contains("address fd00:5::fe/64 of eth0 is a duplicate"), "{failure:?}");
    let network = Kind::Macvlan.network(&bed, "careless", &keys(false));
    let b = bed.attach_to(&network, bed.node.container("b"));
    assert_eq!(b.ip(0), address("fd00:5::fe"));
    network.del(&b.container).expect("DEL");
    let unique = json!({"enabledad": true, "ipam": scripted(&json!([{"address": "fd00:5::9/64"}]), &json!([]))});
    let network = Kind::Macvlan.network(&bed, "unique", &unique);
    let c = bed.attach_to(&network, bed.node.container("c"));
    assert!(c.place().ping(address("fd00:5::fe")));
    network.del(&c.container).expect("DEL");
}

#[test]
fn ipam_for_one_interface_is_that_of_the_container() {
    // The reference makes index 0 of whatever IPAM says.
    let ips = json!([{"address": "10.5.0.9/24", "interface": 4}]);
    each(&Kind::ALL, &json!({"ipam": scripted(&ips, &Value::Null)}), |_, bed| {
        let a = bed.attach("a");
        assert_eq!(
            (text(&a.result, "/ips/0/address"), &a.result["ips"][0]["interface"]),
            ("10.5.0.9/24".into(), &json!(0))
        );
        bed.end(&[&a]);
    });
}
