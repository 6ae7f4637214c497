//! The plugin `sbr`: which way packets leave, what stands in rules and tables, and what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod check;
mod choice;
mod failures;
mod packets;
mod remove;
mod swap;
mod tables;

use std::net::IpAddr;

use ferrule_tests::{Container, Failure, Network, Node, Place};
use serde_json::{Value, json};

/// The place of sbr in the chain.
const SBR: usize = 1;

/// A bridge of the host with a subnet of each family, and `sbr` behind it with these keys.
fn network(node: &Node, number: u8, keys: &Value) -> Network {
    let subnets = [format!("10.{number}.0.0/24"), format!("fd00:{number}::/64")];
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    network_with(node, number, &json!({"type": "host-local", "ranges": ranges}), keys)
}

fn network_with(node: &Node, number: u8, ipam: &Value, keys: &Value) -> Network {
    let mut sbr = json!({"type": "sbr"});
    sbr.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let bridge = json!({"type": "bridge", "bridge": format!("br{number}"), "isDefaultGateway": true, "ipam": ipam});
    let name = format!("net{number}");
    node.network(json!({"cniVersion": "1.1.0", "name": name, "plugins": [bridge, sbr]}))
}

/// The plugin `tests/fixtures/plugins/scripted`, which replies to ADD with these addresses and routes.
fn scripted(ips: &Value, routes: &Value) -> Value {
    json!({"type": "scripted", "add": {"cniVersion": "1.1.0", "ips": ips, "routes": routes}})
}

/// A container's rules that are not the kernel's own: `from 10.1.0.2 lookup 100`.
fn rules(place: &Place) -> Vec<String> {
    let lines = place.sh("ip rule show") + &place.sh("ip -6 rule show");
    let own = lines.lines().filter(|line| !line.contains("from all lookup") && !line.contains("l3mdev"));
    let words = own.map(|line| {
        let words: Vec<&str> = line.split_whitespace().skip(1).take(4).collect();
        words.join(" ")
    });
    words.collect()
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

/// The container's addresses in a result.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().expect("ips");
    ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()).collect()
}

/// All that an error says.
fn words(failure: &Failure) -> String {
    format!("{}: {}", failure.msg, failure.details)
}

/// ADD of the plugins before sbr, which gives sbr's `prevResult`.
fn bridge_only(network: &Network, container: &Container, node: &Node) -> Value {
    network.invocation("ADD", 0, Some(container), &Value::Null).run(&node.host).reply().expect("ADD of bridge")
}

/// One verb of sbr alone.
fn sbr(network: &Network, verb: &str, container: &Container, prev: &Value, node: &Node) -> Result<Value, Failure> {
    network.invocation(verb, SBR, Some(container), prev).run(&node.host).reply()
}
