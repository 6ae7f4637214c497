//! The plugin `bridge`: every field and every verb, seen by packets, by the state of the kernel and by what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod address;
mod check;
mod failures;
mod link;
mod mac;
mod masquerade;
mod remove;
mod route;
mod spoof;
mod swap;
mod versions;
mod vlan;

use std::net::IpAddr;

use ferrule_tests::bed::{NETWORK, all, host_local, merge, scripted, text, words};
use ferrule_tests::{Bed, Firewall, Network, Pod};
use serde_json::{Value, json};

/// A node with one network of the plugin `bridge` with these keys; `None`, with a printed SKIP, outside the sandbox.
fn start(keys: &Value) -> Option<Bed> {
    start_with(Firewall::Nftables, keys)
}

fn start_with(firewall: Firewall, keys: &Value) -> Option<Bed> {
    Bed::with(firewall, &plugin(keys))
}

/// A second network on the node.
fn second_network(bed: &Bed, name: &str, keys: &Value) -> Network {
    bed.node.network_of(name, &plugin(keys))
}

/// The name of the host's end of a container's veth.
fn port(pod: &Pod) -> String {
    text(&pod.result, "/interfaces/1/name")
}

/// The object of a configuration list.
fn plugin(keys: &Value) -> Value {
    let mut plugin = json!({"type": "bridge", "bridge": "br0", "capabilities": {"mac": true, "ips": true}});
    merge(&mut plugin, keys);
    plugin
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
