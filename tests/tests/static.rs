//! The IPAM plugin `static` under a plugin that uses its addresses; its own rules are tested in ipam/static/tests.
#![expect(clippy::unwrap_used, reason = "tests")]

use ferrule_tests::{Binaries, Container, Network, Node};
use serde_json::{Value, json};

fn conflist() -> Value {
    json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "br0", "isGateway": true, "capabilities": {"ips": true},
        "ipam": {
            "type": "static",
            "addresses": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64"}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "198.51.100.0/24", "gw": "10.1.0.9", "mtu": 1300}],
            "dns": {"nameservers": ["10.1.0.53"]},
        },
    }]})
}

/// The addresses of eth0, without link-local ones.
fn addresses(container: &Container) -> Vec<String> {
    let links = container.place.json("ip -j address show dev eth0");
    let of_link = links.pointer("/0/addr_info").and_then(Value::as_array).unwrap();
    let global = of_link.iter().filter(|a| a["scope"] == "global");
    global.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect()
}

/// The gateway that packets to the outside leave by.
fn gateway(container: &Container) -> Value {
    container.place.json("ip -j route get 203.0.113.1").pointer("/0/gateway").unwrap().clone()
}

fn attach(network: &Network, container: &Container) -> Value {
    network.add(container).unwrap_or_else(|e| panic!("ADD: {e:?}"))
}

#[test]
fn the_container_gets_what_is_configured() {
    let Some(node) = Node::start() else { return };
    let network = node.network(conflist());
    let (before, web) = (node.snapshot(), node.container("web"));
    let result = attach(&network, &web);
    assert_eq!(addresses(&web), ["10.1.0.5/24", "fd00:1::5/64"]);
    assert_eq!(gateway(&web), "10.1.0.1");
    assert_eq!(result.pointer("/dns/nameservers/0").unwrap(), "10.1.0.53");
    web.place.sh("ping -c 1 -W 5 10.1.0.1");
    network.check(&web).expect("CHECK");
    network.status().expect("STATUS");
    network.gc(&[&web]).expect("GC");
    network.del(&web).expect("DEL");
    network.del(&web).expect("DEL again");
    node.assert_nothing_left(&before, &[&web]);
}

#[test]
fn the_runtime_names_the_address_and_the_gateway_stays() {
    let Some(node) = Node::start() else { return };
    let network = node.network(conflist());
    let web = node.container("web").with_capability("ips", json!(["10.1.0.77/24"]));
    attach(&network, &web);
    assert_eq!(addresses(&web), ["10.1.0.77/24"]);
    assert_eq!(gateway(&web), "10.1.0.1");
    web.place.sh("ping -c 1 -W 5 10.1.0.1");
    network.del(&web).expect("DEL");
}

#[test]
fn either_checks_and_detaches_what_the_other_attached() {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(node) = Node::start() else { return };
    for (by, then) in [(&reference, &ours), (&ours, &reference)] {
        let network = node.network_by(conflist(), by);
        let (before, web) = (node.snapshot(), node.container("web"));
        let result = attach(&network, &web);
        assert_eq!(result.pointer("/ips/0/gateway").unwrap(), "10.1.0.1");
        let other = network.served_by(then);
        other.check(&web).expect("CHECK");
        other.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}
