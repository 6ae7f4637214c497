//! The plugin `vrf`: which table packets are routed by, what an interface keeps on its way there, and what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod check;
mod failures;
mod move_in;
mod remove;
mod status;
mod swap;
mod table;

use ferrule_tests::{Container, Failure, Feature, Network, Node, Place, require};
use serde_json::{Value, json};

/// The place of vrf in the chain.
const VRF: usize = 1;

/// A node, if the kernel has VRFs.
fn node() -> Option<Node> {
    if require(Feature::Vrf) { Node::start() } else { None }
}

/// A bridge of the host with a subnet of each family, and the VRF `red` behind it, with these keys.
fn network(node: &Node, number: u8, keys: &Value) -> Network {
    let subnets = [format!("10.{number}.0.0/24"), format!("fd00:{number}::/64")];
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    network_with(node, number, &json!({"type": "host-local", "ranges": ranges}), keys)
}

fn network_with(node: &Node, number: u8, ipam: &Value, keys: &Value) -> Network {
    let mut vrf = json!({"type": "vrf", "vrfname": "red"});
    vrf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let bridge = json!({"type": "bridge", "bridge": format!("br{number}"), "isDefaultGateway": true, "ipam": ipam});
    let name = format!("net{number}");
    node.network(json!({"cniVersion": "1.1.0", "name": name, "plugins": [bridge, vrf]}))
}

/// The plugin `tests/fixtures/plugins/scripted`, which replies to ADD with these addresses and routes.
fn scripted(ips: &Value, routes: &Value) -> Value {
    json!({"type": "scripted", "add": {"cniVersion": "1.1.0", "ips": ips, "routes": routes}})
}

/// The table of a container's VRF; `None` if there is no such VRF.
fn table_of(place: &Place, name: &str) -> Option<u64> {
    place.find_link(name)?["linkinfo"]["info_data"]["table"].as_u64()
}

/// The name of the VRF that an interface is in.
fn master_of(place: &Place, ifname: &str) -> Option<String> {
    place.find_link(ifname).expect("the interface")["master"].as_str().map(str::to_owned)
}

/// The unicast routes of a table by an interface, each as `ip` writes it, without who made them.
fn routes(place: &Place, ifname: &str, table: &str) -> Vec<String> {
    let list = |family: &str| {
        place.try_sh(&format!("ip {family} route show dev {ifname} type unicast table {table}")).unwrap_or_default()
    };
    let lines = list("-4") + &list("-6");
    let plain = |line: &str| {
        let words = line.replace(" linkdown", "").replace(" proto kernel", "").replace(" proto boot", "");
        words.replace(" pref medium", "").trim().to_owned()
    };
    // Made and removed by the kernel as it likes.
    lines.lines().map(plain).filter(|line| !line.starts_with("fe80::")).collect()
}

/// The global addresses of an interface, those that cannot be used yet as such.
fn addresses(place: &Place, ifname: &str) -> Vec<String> {
    let shown = place.json(&format!("ip -j address show dev {ifname} scope global"));
    let listed = shown[0]["addr_info"].as_array().cloned().unwrap_or_default();
    let address = |info: &Value| {
        let tentative = if info["tentative"] == true { " tentative" } else { "" };
        info["local"].as_str().map(|local| format!("{local}/{}{tentative}", info["prefixlen"]))
    };
    listed.iter().filter_map(address).collect()
}

/// All that an error says.
fn words(failure: &Failure) -> String {
    format!("{}: {}", failure.msg, failure.details)
}

/// ADD of the plugins before vrf, which gives vrf's `prevResult`.
fn bridge_only(network: &Network, container: &Container, node: &Node) -> Value {
    network.invocation("ADD", 0, Some(container), &Value::Null).run(&node.host).reply().expect("ADD of bridge")
}

/// One verb of vrf alone.
fn vrf(network: &Network, verb: &str, container: &Container, prev: &Value, node: &Node) -> Result<Value, Failure> {
    network.invocation(verb, VRF, Some(container), prev).run(&node.host).reply()
}
