//! `bandwidth` after `bridge`, with real packets: what gets through, what is set, and what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

mod add;
mod check;
mod failures;
mod flow;
mod rate;
mod remove;
mod swap;

use std::net::IpAddr;

use ferrule_tests::bed::host_local;
use ferrule_tests::{Container, Network, Node};
use serde_json::{Value, json};

/// The place of bandwidth in the list.
const BANDWIDTH: usize = 1;

/// Both directions, in bits per second and bits.
fn both() -> Value {
    json!({"ingressRate": 40_000_000, "ingressBurst": 800_000, "egressRate": 24_000_000, "egressBurst": 400_000})
}

/// A bridge, and bandwidth with these keys.
fn conflist(keys: &Value) -> Value {
    let mut bandwidth = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
    ferrule_tests::bed::merge(&mut bandwidth, keys);
    let bridge = json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": host_local(&["10.88.0.0/16"])});
    json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [bridge, bandwidth]})
}

fn network(node: &Node, keys: &Value) -> Network {
    node.network(conflist(keys))
}

fn attach(network: &Network, container: &Container) -> Value {
    network.add(container).unwrap_or_else(|e| panic!("ADD: {e:?}"))
}

/// The container's address in a result.
fn address(result: &Value) -> IpAddr {
    result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()
}

/// The host's end of the container's link.
fn host_end(node: &Node, container: &Container) -> String {
    let index = container.place.find_link(&container.ifname).expect("the interface")["link_index"].as_u64().unwrap();
    let links = node.host.json("ip -j link show type veth");
    let end = links.as_array().unwrap().iter().find(|link| link["ifindex"] == index).expect("the host's end");
    end["ifname"].as_str().unwrap().to_owned()
}

/// The names of the host's ifbs.
fn ifbs(node: &Node) -> Vec<String> {
    ferrule_tests::bed::all(&node.host.json("ip -j link show type ifb"), "ifname")
}

/// The token bucket that a link of the host sends by, if it does.
fn tbf(node: &Node, link: &str) -> Option<Value> {
    let qdiscs = node.host.json(&format!("tc -j qdisc show dev {link} root"));
    qdiscs.as_array().unwrap().iter().find(|qdisc| qdisc["kind"] == "tbf").map(|tbf| tbf["options"].clone())
}

/// The links that what comes in by a link of the host is redirected to.
fn redirections(node: &Node, link: &str) -> Vec<String> {
    let filters = node.host.json(&format!("tc -j filter show dev {link} ingress"));
    let actions = filters.as_array().unwrap().iter().filter_map(|filter| filter["options"]["actions"].as_array());
    actions.flatten().filter_map(|action| action["to_dev"].as_str().map(str::to_owned)).collect()
}
