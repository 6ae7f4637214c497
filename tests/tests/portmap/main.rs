//! `portmap` with real packets: who answers on a published port, whom they see, who holds a port, and what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

mod conditions;
mod holders;
mod lifecycle;
mod packets;
mod reference;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrule_tests::{Firewall, Network, Node, eventually, fixture};
use serde_json::{Value, json};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1));
const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 1));

/// The place of portmap in the fixture's list.
const PORTMAP: usize = 1;

/// The backends whose rules look different. (`iptables-legacy` has the layout of `iptables-nft`.)
const LAYOUTS: [Firewall; 2] = [Firewall::Nftables, Firewall::IptablesNft];

/// A dual-stack bridge with published ports.
fn dual_stack(node: &Node) -> Network {
    node.network(fixture("bridge-portmap-dual-stack.conflist"))
}

/// The same with other settings of portmap.
fn dual_stack_with(node: &Node, settings: &[(&str, Value)]) -> Network {
    let mut network = dual_stack(node);
    for (key, value) in settings {
        network.conflist["plugins"][PORTMAP][*key] = value.clone();
    }
    network
}

/// The container's addresses in a result.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().expect("ips");
    ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()).collect()
}

/// Waits until the host reaches the container by IPv6: a new bridge's own link-local address is not used before the
/// kernel has made sure that nobody else has it.
fn await_ipv6(node: &Node, result: &Value) {
    let address = addresses(result).into_iter().find(IpAddr::is_ipv6).expect("an IPv6 address");
    eventually("the host reaches the container by IPv6", || node.host.ping(address));
}

/// A second network of the node: another bridge, another subnet, the same host.
fn other_network(node: &Node) -> Network {
    let mut conflist = fixture("bridge-portmap.conflist");
    conflist["name"] = json!("other");
    conflist["plugins"][0]["bridge"] = json!("cni1");
    conflist["plugins"][0]["ipam"]["ranges"] = json!([[{"subnet": "10.99.0.0/16"}]]);
    // Two default routes in one container would clash.
    conflist["plugins"][0]["ipam"]["routes"] = json!([]);
    node.network(conflist)
}
