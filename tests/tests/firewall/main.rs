//! `firewall` with real packets: what passes a host whose chain FORWARD drops, what a policy keeps from a bridge, and
//! what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

mod firewalld;
mod forward;
mod lifecycle;
mod policy;
mod reference;

use std::net::IpAddr;

use ferrule_tests::{Container, Network, Node, eventually};
use serde_json::{Value, json};

/// The place of `firewall` in the networks of these tests.
const FIREWALL: usize = 1;

/// A dual-stack bridge `cni<number>` with `firewall` behind it, in the network `net<number>`: 10.80+number.0.0/16.
fn network(node: &Node, number: u8, settings: &Value) -> Network {
    let mut firewall = json!({"type": "firewall"});
    for (key, value) in settings.as_object().into_iter().flatten() {
        firewall[key] = value.clone();
    }
    node.network(json!({
        "cniVersion": "1.1.0",
        "name": format!("net{number}"),
        "plugins": [
            {
                "type": "bridge", "bridge": format!("cni{number}"), "isGateway": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": format!("10.{}.0.0/16", 80 + number)}], [{"subnet": format!("fd8{number}::/64")}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
                }
            },
            firewall
        ]
    }))
}

/// The same where `firewall` finds out what this host has.
fn auto(node: &Node, number: u8) -> Network {
    network(node, number, &json!({"backend": ""}))
}

/// Lets the outside reach the containers of networks 0 to 9: nothing is masqueraded here.
fn route_back(node: &Node) {
    node.outside.sh("ip route add 10.80.0.0/12 via 192.0.2.2");
    node.outside.sh("ip route add fd80::/12 via 2001:db8::2");
    // The kernel asks for the neighbours of others' packets by such an address only.
    node.host.sh("ip address add fe80::2/64 dev uplink nodad");
    eventually("in use", || !node.host.sh("ip -6 route show table local fe80::2").is_empty());
}

/// The container's addresses in a result, IPv4 first.
fn addresses(result: &Value) -> [IpAddr; 2] {
    let ips = result["ips"].as_array().expect("ips");
    let mut ips: Vec<IpAddr> =
        ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()).collect();
    ips.sort_unstable();
    ips.try_into().expect("one of each family")
}

/// Attaches, and waits until IPv6 works: a new bridge's own link-local address is not used before the kernel has made
/// sure that nobody else has it.
#[track_caller]
fn attach(node: &Node, network: &Network, container: &Container) -> [IpAddr; 2] {
    let ips = addresses(&network.add(container).expect("ADD"));
    eventually("the host reaches the container by IPv6", || node.host.ping(ips[1]));
    ips
}

/// The host's firewall: tables, chains, rules, sets and their elements.
fn rules(node: &Node) -> Vec<String> {
    let snapshot = node.snapshot();
    let of_firewall = |line: &&str| line.starts_with("nft") || line.starts_with("iptables");
    snapshot.lines().into_iter().filter(of_firewall).map(str::to_owned).collect()
}

/// Whether the container reaches the outside, by both families.
fn reaches_outside(node: &Node, container: &Container) -> [bool; 2] {
    [node.outside_address(), node.outside_address_v6()].map(|address| container.place.ping(address))
}

/// Whether the container does not reach the outside, by either family.
fn is_cut_off(node: &Node, container: &Container) -> bool {
    [node.outside_address(), node.outside_address_v6()].iter().all(|address| container.place.is_unreachable(*address))
}
