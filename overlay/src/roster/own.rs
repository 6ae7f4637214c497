//! What is this node's alone.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::MacAddr;
use linuxnet::wireguard::PublicKey;

use crate::peer::Side;

use super::Refusal;

/// What belongs to this node, and no other may claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// Its name in the store.
    pub(crate) name: String,
    pub(crate) subnets: Vec<IpNet>,
    /// Where it is reached, and where it sends from.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) macs: Vec<MacAddr>,
    /// Of WireGuard.
    pub(crate) public_key: Option<PublicKey>,
}

impl Own {
    /// What of another node is this one's.
    pub(super) fn conflict(&self, side: &Side) -> Option<Refusal> {
        let Self { subnets, addresses, macs, public_key, .. } = self;
        let &Side { endpoint: address, .. } = side;
        if addresses.contains(&address) {
            return Some(Refusal::OurAddress(address));
        }
        if let Some(&ours) = subnets.iter().find(|ours| ours.contains(&address)) {
            return Some(Refusal::InOurs { address, ours });
        }
        if let Some(mac) = side.mac().filter(|mac| macs.contains(mac)) {
            return Some(Refusal::OurMac(mac));
        }
        if let Some(key) = side.key().filter(|key| *public_key == Some(*key)) {
            return Some(Refusal::OurKey(key));
        }
        side.subnets.iter().find_map(|&subnet| {
            let overlap = subnets.iter().find(|ours| ours.contains(&subnet) || subnet.contains(*ours));
            let covered = addresses.iter().find(|address| subnet.contains(*address));
            overlap
                .map(|&ours| Refusal::OurSubnet { subnet, ours })
                .or_else(|| covered.map(|&address| Refusal::CoversUs { subnet, address }))
        })
    }
}
