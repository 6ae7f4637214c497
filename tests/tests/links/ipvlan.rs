//! What is ipvlan's own: modes, the address of the master, and the master and addresses of the plugin before.

use ferrule_tests::bed::{host_local, text, words};
use ferrule_tests::{Bed, Failure, Pod};
use serde_json::{Value, json};

use crate::{Kind, address, dual_stack};

fn bed(keys: &Value) -> Option<Bed> {
    if Kind::Ipvlan.is_there() { Kind::Ipvlan.bed(keys) } else { None }
}

fn mode(pod: &Pod) -> String {
    text(&pod.interface(), "/linkinfo/info_data/mode")
}

#[test]
fn l2_is_the_default_and_containers_reach_each_other() {
    let Some(bed) = bed(&dual_stack()) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    assert_eq!(mode(&a), "l2");
    assert_eq!(text(&a.result, "/interfaces/0/mac"), text(&bed.link("lan"), "/address"), "the master's address");
    for number in [0, 1] {
        assert!(a.place().ping(b.ip(number)) && bed.node.outside.ping(a.ip(number)), "address {number}");
    }
    bed.end(&[&a, &b]);
}

#[test]
fn l3_and_l3s_go_by_the_hosts_routes() {
    for wanted in ["l3", "l3s"] {
        let Some(bed) = bed(&json!({"mode": wanted, "ipam": host_local(&["10.7.0.0/24"])})) else { return };
        bed.host().sh("ip address add 10.5.0.1/24 dev lan");
        bed.node.outside.sh("ip route add 10.7.0.0/24 via 10.5.0.1 dev lan");
        let (a, b) = (bed.attach("a"), bed.attach("b"));
        assert_eq!(mode(&a), wanted);
        assert!(a.place().ping(b.ip(0)), "{wanted}");
        for pod in [&a, &b] {
            // Theirs lead to the link, whatever is behind it.
            pod.place().sh("ip route add default dev eth0");
        }
        assert!(a.place().ping(address("10.5.0.254")), "{wanted}");
        bed.network.check(&a.container).expect("CHECK");
        for pod in [&a, &b] {
            bed.network.del(&pod.container).expect("DEL");
        }
    }
}

/// `ipvlan` after a plugin with this result.
fn after(bed: &Bed, keys: &Value, previous: &Value) -> Result<(ferrule_tests::Container, Value), Failure> {
    let network = Kind::Ipvlan.network(bed, "chained", keys);
    let container = bed.node.container("a");
    let result = network.invocation("ADD", 0, Some(&container), previous).run(bed.host()).reply()?;
    network.remember(&container, Some(result.clone()));
    network.check(&container).expect("CHECK");
    // DEL gets the whole chain's result, which may name other interfaces.
    let mut whole = result.clone();
    whole["interfaces"].as_array_mut().unwrap().push(json!({"name": "lan"}));
    network.remember(&container, Some(whole));
    network.del(&container).expect("DEL");
    assert!(container.place.find_link("eth0").is_none());
    Ok((container, result))
}

#[test]
fn in_a_chain_the_master_and_the_addresses_may_come_from_the_plugin_before() {
    let Some(bed) = bed(&json!({})) else { return };
    let previous = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "lan"}],
        "ips": [{"address": "10.5.0.20/24", "gateway": "10.5.0.254", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["192.0.2.53"]}
    });
    let (container, result) = after(&bed, &json!({"master": null}), &previous).expect("ADD");
    assert_eq!(result["interfaces"].as_array().map(Vec::len), Some(1), "{result}");
    assert_eq!((text(&result, "/interfaces/0/name"), &result["ips"][0]["interface"]), ("eth0".into(), &json!(0)));
    assert_eq!(text(&result, "/interfaces/0/sandbox"), container.netns.display().to_string());
    assert_eq!(text(&result, "/ips/0/address"), "10.5.0.20/24");
    assert_eq!((&result["routes"], &result["dns"]), (&previous["routes"], &previous["dns"]));
    // With an ipam of its own, it asks that.
    let (_, result) =
        after(&bed, &json!({"master": null, "ipam": host_local(&["10.5.0.0/24"])}), &previous).expect("ADD");
    assert_eq!(text(&result, "/ips/0/address"), "10.5.0.2/24");
}

#[test]
fn in_a_chain_there_must_be_one_interface_to_be_the_master() {
    let Some(bed) = bed(&json!({})) else { return };
    let refuses = |interfaces: Value, keys: &Value| {
        let previous = json!({"cniVersion": "1.1.0", "interfaces": interfaces});
        after(&bed, keys, &previous)
    };
    let unnamed = json!({"master": null});
    for interfaces in [json!([]), json!([{"name": "lan"}, {"name": "uplink"}]), json!([{"name": ""}])] {
        let failure = refuses(interfaces, &unnamed).expect_err("ADD");
        assert_eq!(failure.code, 7);
        assert!(words(&failure).contains("chained master failure. PrevResult lacks a single named"), "{failure:?}");
    }
    // A name in the configuration is over all of it.
    refuses(json!([{"name": "a"}, {"name": "b"}]), &json!({})).expect("ADD");
}
