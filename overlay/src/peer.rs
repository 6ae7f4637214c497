//! Another node, as far as it is believed.

mod check;

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::MacAddr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use self::check::cut;

/// Another node: what is needed to send to its containers. Each family stands for itself: IPv4 containers are reached
/// over IPv4, IPv6 containers over IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) v4: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) v6: Option<Side>,
    /// What fits through its end of the overlay in bytes, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
}

/// A node in one address family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Side {
    /// Where the node is reached.
    pub(crate) endpoint: IpAddr,
    /// Its containers; not empty, without host bits, sorted; none overlaps another or one of another node.
    #[serde(with = "crate::snapshot::networks")]
    pub(crate) subnets: Vec<IpNet>,
    /// What the backend must know besides.
    pub(crate) how: How,
}

/// What a backend must know of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// The address of a node's VXLAN device: the same in every life of the node, another one for each network and family
/// (`flannel.1` and `flannel-v6.1` are two ports of one machine). Locally administered, and no group.
///
/// Two devices with one address would not talk: a VXLAN device drops frames that come from its own address.
pub(crate) fn vtep_mac(identity: &[u8; 32], vni: u32, v6: bool) -> MacAddr {
    let digest = Sha256::new()
        .chain_update(b"ferrule vtep\0")
        .chain_update(identity)
        .chain_update(vni.to_be_bytes())
        .chain_update([u8::from(v6)])
        .finalize();
    let [a, b, c, d, e, f, ..] = digest.0;
    MacAddr([a & !1 | 2, b, c, d, e, f])
}

/// The identity ([`crate::node::Node`]) of a node of which no more than the name is known: everybody can say which
/// [`vtep_mac`] it has. That is what a node with a file store takes for its own, so that a file that is written by hand
/// needs no MAC.
pub(crate) fn identity_of_name(name: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"ferrule node\0").chain_update(name.as_bytes()).finalize().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vtep_mac_is_stable_and_differs_by_node_network_and_family() {
        let of = |name, vni, v6| vtep_mac(&identity_of_name(name), vni, v6);
        // What is in somebody's file must hold after an upgrade.
        assert_eq!(of("n1", 1, false).to_string(), "ce:3e:7e:5e:55:4a");
        let all = [of("n1", 1, false), of("n2", 1, false), of("n1", 2, false), of("n1", 1, true)];
        for (i, mac) in all.iter().enumerate() {
            assert!(!mac.is_multicast() && mac.0[0] & 2 == 2, "{mac}");
            assert!(!all[..i].contains(mac), "{mac}");
        }
    }
}
