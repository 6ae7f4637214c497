//! WireGuard: one peer of our link for each node.

use std::net::SocketAddr;

use ipnet::IpNet;
use linuxnet::route::{MarkedRoute, Way};
use linuxnet::wireguard::{Peer, PublicKey, SecretKey};

use super::Object;

/// A node (`wg set DEV peer KEY preshared-key PSK endpoint ENDPOINT persistent-keepalive SECONDS allowed-ips SUBNETS`).
pub(super) fn peer(
    link: u32,
    key: [u8; 32],
    endpoint: SocketAddr,
    psk: Option<SecretKey>,
    keepalive: u16,
    subnets: &[IpNet],
) -> Object {
    let peer = Peer {
        public_key: PublicKey(key),
        preshared_key: psk,
        endpoint: Some(endpoint),
        keepalive,
        allowed_ips: subnets.to_vec(),
    };
    Object::WireGuard { link, peer: Box::new(peer) }
}

impl Object {
    /// The whole cluster by our WireGuard link, as flannel's: what is for no node must not leave in the clear by another
    /// route.
    pub(crate) fn by_wireguard(network: IpNet, link: u32) -> Self {
        Self::Route(MarkedRoute::overlay(network, Way::Link { link, gw: None, onlink: false }))
    }
}
