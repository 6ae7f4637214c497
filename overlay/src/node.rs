//! This node: its name, and the interface by which it reaches the others.

mod discover;
mod identity;
mod registration;

use std::net::IpAddr;

use ipnet::IpNet;
use linuxnet::wireguard::PublicKey;

pub(crate) use self::discover::discover;
pub(crate) use self::identity::identity;

/// This node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name in the store.
    pub(crate) name: String,
    pub(crate) v4: Option<Underlay>,
    pub(crate) v6: Option<Underlay>,
    /// 32 bytes that are this machine's alone and always the same, of which hardware addresses are made
    /// (/etc/machine-id, hashed).
    pub(crate) identity: [u8; 32],
    /// By which others know it with the backend `wireguard`.
    pub(crate) public_key: Option<PublicKey>,
}

/// The external interface in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Underlay {
    /// The index of the link.
    pub(crate) link: u32,
    pub(crate) name: String,
    /// The address that tunnels send from.
    pub(crate) address: IpAddr,
    /// The address that others reach this node by: `address`, or what was configured (behind NAT).
    pub(crate) public: IpAddr,
    /// What is on the same segment: the prefixes of the link's addresses.
    pub(crate) on_link: Vec<IpNet>,
    /// In bytes.
    pub(crate) mtu: u32,
}
