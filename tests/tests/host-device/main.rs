//! The plugin `host-device`: every way to name a device, what becomes of it inside, and how it comes back.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]

mod back;
mod check;
mod fault;
mod remove;
mod select;
mod swap;

use ferrule_tests::bed::{host_local, merge};
use ferrule_tests::{Bed, Place};
use serde_json::{Value, json};

/// The device's address.
const MAC: &str = "02:00:00:00:00:d0";

/// A node with a device `dev0`, up, MTU 1400, and at the other end of its cable `peer0` with 10.1.0.1 and fd00:1::1;
/// and a network of the plugin `host-device` with these keys. `None`, with a printed SKIP, outside the sandbox.
fn start(keys: &Value) -> Option<Bed> {
    let mut bed = Bed::of(&plugin(keys))?;
    make_device(bed.host());
    bed.before = bed.node.snapshot();
    Some(bed)
}

fn make_device(host: &Place) {
    // No link-local addresses, also after a device was away: the kernel forgets its own setting then.
    host.sh("sysctl -q -w net.ipv6.conf.default.addr_gen_mode=1");
    host.sh(&format!("ip link add dev0 address {MAC} mtu 1400 type veth peer name peer0 mtu 1400"));
    for link in ["dev0", "peer0"] {
        host.sh(&format!("ip link set {link} addrgenmode none up"));
    }
    host.sh("ip address add 10.1.0.1/24 dev peer0");
    host.sh("ip address add fd00:1::1/64 dev peer0 nodad");
    ferrule_tests::eventually("the routes of IPv6 are there", || {
        !host.sh("ip -6 route show table local fd00:1::1").is_empty()
    });
}

/// The object of a configuration list.
fn plugin(keys: &Value) -> Value {
    let mut plugin = json!({"type": "host-device", "capabilities": {"deviceID": true}});
    merge(&mut plugin, keys);
    plugin
}

/// `dev0`, with addresses.
fn keys() -> Value {
    let mut ipam = host_local(&["10.1.0.0/24", "fd00:1::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    json!({"device": "dev0", "ipam": ipam})
}

/// What the plugin promises to keep of a device.
#[derive(Debug, PartialEq, Eq)]
struct State {
    mtu: u64,
    mac: String,
    is_up: bool,
    is_promiscuous: bool,
    alias: Option<String>,
    alternative_names: usize,
}

/// `dev0` as it was made.
fn pristine() -> State {
    State { mtu: 1400, mac: MAC.into(), is_up: true, is_promiscuous: false, alias: None, alternative_names: 0 }
}

/// The state of a link of the host.
#[track_caller]
fn state(bed: &Bed, name: &str) -> State {
    let link = bed.link(name);
    let flags: Vec<_> = link["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    State {
        mtu: link["mtu"].as_u64().unwrap(),
        mac: link["address"].as_str().unwrap().to_owned(),
        is_up: flags.contains(&"UP"),
        is_promiscuous: flags.contains(&"PROMISC"),
        alias: link["ifalias"].as_str().map(str::to_owned),
        alternative_names: link["altnames"].as_array().map_or(0, Vec::len),
    }
}
