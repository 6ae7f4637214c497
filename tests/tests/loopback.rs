//! The plugin `loopback`: every verb.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use ferrule_tests::{Container, Network, Node};
use serde_json::{Value, json};

/// A node, a network of `loopback` alone, and a container whose `lo` is down.
fn start(version: &str) -> Option<(Node, Network, Container)> {
    let node = Node::start()?;
    let mut network = node.network_of("lo", &json!({"type": "loopback"}));
    network.conflist["cniVersion"] = json!(version);
    let container = node.container("a");
    container.place.sh("ip link set lo down");
    Some((node, network, container))
}

fn is_up(container: &Container) -> bool {
    container.place.find_link("lo").unwrap()["flags"].to_string().contains("\"UP\"")
}

fn run(node: &Node, network: &Network, verb: &str, container: &Container, prev: &Value) -> Value {
    network.invocation(verb, 0, Some(container), prev).run(&node.host).reply().expect(verb)
}

#[test]
fn every_verb() {
    let Some((node, network, container)) = start("1.1.0") else { return };
    let before = node.snapshot();
    let result = network.add(&container).expect("ADD");
    assert!(is_up(&container));
    assert!(container.place.ping("127.0.0.1".parse().unwrap()) && container.place.ping("::1".parse().unwrap()));
    let sandbox = container.netns.to_str().unwrap();
    assert_eq!(
        result,
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": sandbox}],
            "ips": [{"address": "127.0.0.1/8", "interface": 0}, {"address": "::1/128", "interface": 0}]
        })
    );
    network.check(&container).expect("CHECK");
    network.status().expect("STATUS");
    network.gc(&[]).expect("GC");
    assert!(is_up(&container), "GC leaves it alone");
    network.add(&container).expect("ADD again");
    network.del(&container).expect("DEL");
    assert!(!is_up(&container));
    network.del(&container).expect("DEL again");
    node.assert_nothing_left(&before, &[&container]);
}

#[test]
fn check_sees_that_it_is_down() {
    let Some((_node, network, container)) = start("1.1.0") else { return };
    network.add(&container).expect("ADD");
    container.place.sh("ip link set lo down");
    assert_eq!(network.check(&container).expect_err("CHECK").msg, "loopback interface is down");
}

#[test]
fn the_previous_result_is_passed_through() {
    let Some((node, network, container)) = start("1.0.0") else { return };
    let prev = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/a"}],
        "ips": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["192.0.2.53"]}
    });
    assert_eq!(run(&node, &network, "ADD", &container, &prev), prev);
    assert!(is_up(&container));
    run(&node, &network, "CHECK", &container, &prev);
}

#[test]
fn del_without_a_namespace() {
    let Some((node, network, container)) = start("1.1.0") else { return };
    network.add(&container).expect("ADD");
    network.del(&container.clone().without_netns()).expect("DEL without the name");
    assert!(is_up(&container));
    node.kill(&container);
    network.del(&container).expect("DEL with the path of what is gone");
}

#[test]
fn an_address_of_somebody_else_is_refused() {
    let Some((_node, network, container)) = start("1.1.0") else { return };
    container.place.sh("ip address add 10.9.9.9/32 dev lo");
    let failure = network.add(&container).expect_err("ADD");
    assert_eq!(failure.msg, "loopback interface found with non-loopback address \"10.9.9.9/32\"");
    assert!(!is_up(&container), "a failed ADD leaves it as it was");
}

#[test]
fn the_hosts_lo_is_not_touched() {
    let Some((node, network, mut container)) = start("1.1.0") else { return };
    container.netns.clone_from(&node.host.netns);
    let before = node.snapshot();
    for outcome in [network.add(&container).map(drop), network.del(&container)] {
        assert_eq!(outcome.expect_err("the host's namespace").code, 8);
    }
    assert_eq!(node.snapshot(), before);
    assert!(node.host.ping("127.0.0.1".parse().unwrap()));
}

#[test]
fn a_namespace_that_is_none() {
    let Some((_node, network, mut container)) = start("1.1.0") else { return };
    for path in ["/nowhere/at/all", "/etc/passwd"] {
        container.netns = path.into();
        let failure = network.add(&container).expect_err("ADD");
        assert!(failure.code == 4 && failure.details.contains(path), "{failure:?}");
    }
}

#[test]
fn every_version_has_its_form() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let Some((_node, network, container)) = start(version) else { return };
        let result = network.add(&container).expect("ADD");
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!((&result["ip4"]["ip"], &result["ip6"]["ip"]), (&json!("127.0.0.1/8"), &json!("::1/128")));
        } else {
            let family = if version < "1.0.0" { json!("4") } else { Value::Null };
            assert_eq!((&result["ips"][0]["address"], &result["ips"][0]["version"]), (&json!("127.0.0.1/8"), &family));
        }
        assert_eq!(network.check(&container).is_ok(), version >= "0.4.0");
        network.del(&container).expect("DEL");
    }
}
