//! Why a node is not believed.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::MacAddr;
use linuxnet::wireguard::PublicKey;

use super::Name;

/// Why a node is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("its record cannot be read: {0}")]
    Unreadable(String),
    #[error("its backend is \"{found}\", the cluster's \"{expected}\"")]
    Backend { found: String, expected: &'static str },
    #[error("it has {0} subnets, more than any node")]
    TooMany(usize),
    #[error("it has no subnet with an address to reach it by")]
    Nothing,
    #[error("its subnet {subnet} is outside of the cluster's {pool}")]
    Outside { subnet: IpNet, pool: IpNet },
    #[error("its subnets {} and {} overlap", .0[0], .0[1])]
    Twice([IpNet; 2]),
    #[error("its address {address} {why}")]
    Endpoint { address: IpAddr, why: &'static str },
    #[error("its BackendData has more than 4096 bytes")]
    Oversized,
    #[error("its VNI is {found}, the cluster's {expected}")]
    Vni { found: String, expected: u32 },
    #[error("it says no VtepMAC")]
    NoMac,
    #[error("its hardware address {mac} {why}")]
    Mac { mac: String, why: &'static str },
    #[error("it says no PublicKey")]
    NoKey,
    #[error("its PublicKey \"{0}\" is no key of 32 bytes in base64")]
    Key(String),
    #[error("its UDP port {0} is not 1 to 65535")]
    Port(String),
    #[error("its address {0} is this node's")]
    OurAddress(IpAddr),
    #[error("its hardware address {0} is this node's")]
    OurMac(MacAddr),
    #[error("its subnet {subnet} overlaps {ours}, which is this node's")]
    OurSubnet { subnet: IpNet, ours: IpNet },
    #[error("its subnet {subnet} covers {address}, which is this node's")]
    CoversUs { subnet: IpNet, address: IpAddr },
    #[error("its address {address} is in this node's subnet {ours}")]
    InOurs { address: IpAddr, ours: IpNet },
    #[error("its subnet {subnet} overlaps {theirs} of node {holder}")]
    Subnet { subnet: IpNet, theirs: IpNet, holder: Name },
    #[error("its subnet {subnet} covers {address}, the address of node {holder}")]
    Covers { subnet: IpNet, address: IpAddr, holder: Name },
    #[error("its address {address} is in {theirs} of node {holder}")]
    Covered { address: IpAddr, theirs: IpNet, holder: Name },
    #[error("its hardware address {mac} is that of node {holder}")]
    SameMac { mac: MacAddr, holder: Name },
    #[error("its PublicKey {0} is this node's")]
    OurKey(PublicKey),
    #[error("its PublicKey {key} is that of node {holder}")]
    SameKey { key: PublicKey, holder: Name },
}
