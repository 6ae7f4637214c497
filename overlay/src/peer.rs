//! Another node, as far as it is believed.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::MacAddr;

/// Another node: what is needed to send to its containers. Each family stands for itself: IPv4 containers are reached
/// over IPv4, IPv6 containers over IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) v4: Option<Side>,
    pub(crate) v6: Option<Side>,
    /// What fits through its end of the overlay in bytes, if it says so.
    pub(crate) mtu: Option<u32>,
}

/// A node in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// Where the node is reached.
    pub(crate) endpoint: IpAddr,
    /// Its containers; not empty, without host bits, sorted; none overlaps another or one of another node.
    pub(crate) subnets: Vec<IpNet>,
    /// What the backend must know besides.
    pub(crate) how: How,
}

/// What a backend must know of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `host-gw`, `ipip`, `udp`, `bgp`: the endpoint is enough.
    Plain,
    /// `vxlan`.
    Vxlan {
        /// The address of its VXLAN device, to which frames are sent.
        mac: MacAddr,
    },
    /// `wireguard`.
    WireGuard {
        /// Its public key (Curve25519).
        key: [u8; 32],
        /// Its UDP port.
        port: u16,
    },
}
