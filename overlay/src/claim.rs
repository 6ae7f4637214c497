//! What a node says of itself to the others, by way of the store: flannel's lease, and the words of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::Value;

/// What the store says of one node. Nobody has looked yet whether it makes sense: that is [`crate::peer::Peer::check`].
///
/// Each store has its own form for the subnets (etcd: the key, Kubernetes: `spec.podCIDRs`); the rest is as in flannel's
/// lease: `{"PublicIP": "192.0.2.7", "PublicIPv6": null, "BackendType": "vxlan", "BackendData": {"VNI": 1, "VtepMAC":
/// "0a:…"}, "BackendV6Data": {…}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    /// The addresses of its containers, of either family.
    pub(crate) subnets: Vec<IpNet>,
    /// `PublicIP`: where it is reached over IPv4.
    pub(crate) public_ip: Option<Ipv4Addr>,
    /// `PublicIPv6`.
    pub(crate) public_ipv6: Option<Ipv6Addr>,
    /// `BackendType`: `vxlan`, `host-gw`, `ipip`, `wireguard`, `udp`.
    pub(crate) backend: String,
    /// `BackendData`: what the backend must know to send to it over IPv4.
    pub(crate) v4_data: Option<Value>,
    /// `BackendV6Data`.
    pub(crate) v6_data: Option<Value>,
    /// What fits through its end of the overlay in bytes; ours alone say it.
    pub(crate) mtu: Option<u32>,
}
