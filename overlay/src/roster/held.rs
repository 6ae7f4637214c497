//! What believed nodes hold: subnets, addresses, and hardware addresses.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::MacAddr;
use linuxnet::wireguard::PublicKey;

use crate::peer::{How, Peer, Side};

use super::{Name, Refusal};

/// Something that one node alone can hold, and for which others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// A subnet of the one that waits.
    Subnet(IpNet),
    /// The address of the one that waits.
    Endpoint(IpAddr),
    /// A hardware address, in the family of the endpoint. With the same endpoint it is the same machine, which is known
    /// by another name, too (its subnet was another): that is no conflict.
    Mac(MacAddr, IpAddr),
    /// A public key of WireGuard, in IPv4 (true) or IPv6: two nodes with one would be one peer of our link.
    Key(bool, PublicKey),
}

/// What believed nodes hold. Every question is answered in O(log n).
#[derive(Debug, Default)]
pub(super) struct Held {
    /// None overlaps another.
    subnets: BTreeMap<IpNet, Name>,
    /// None is in a subnet.
    endpoints: BTreeMap<IpAddr, Vec<Name>>,
    /// By the family of the endpoint: a VXLAN device is of one family. The holders have one endpoint, and are one but
    /// for a machine with two names.
    macs: BTreeMap<(bool, MacAddr), (IpAddr, Vec<Name>)>,
    /// By the family of the endpoint.
    keys: BTreeMap<(bool, PublicKey), Name>,
}

impl Held {
    /// What of `peer` is held by another, and why that is a conflict.
    pub(super) fn conflict(&self, peer: &Peer) -> Option<(Thing, Refusal)> {
        peer.sides().find_map(|side| self.conflict_of(side))
    }

    fn conflict_of(&self, side: &Side) -> Option<(Thing, Refusal)> {
        if let Some(mac) = side.mac()
            && let Some((endpoint, holders)) = self.macs.get(&(side.endpoint.is_ipv4(), mac))
            && *endpoint != side.endpoint
            && let Some(holder) = holders.first().cloned()
        {
            return Some((Thing::Mac(mac, side.endpoint), Refusal::SameMac { mac, holder }));
        }
        if let Some(key) = side.key()
            && let family = side.endpoint.is_ipv4()
            && let Some(holder) = self.keys.get(&(family, key)).cloned()
        {
            return Some((Thing::Key(family, key), Refusal::SameKey { key, holder }));
        }
        if let Some((theirs, holder)) = self.overlapping(side.endpoint.into()) {
            let why = Refusal::Covered { address: side.endpoint, theirs: *theirs, holder: holder.clone() };
            return Some((Thing::Endpoint(side.endpoint), why));
        }
        side.subnets.iter().find_map(|&subnet| Some((Thing::Subnet(subnet), self.conflict_of_subnet(subnet)?)))
    }

    fn conflict_of_subnet(&self, subnet: IpNet) -> Option<Refusal> {
        if let Some((&theirs, holder)) = self.overlapping(subnet) {
            return Some(Refusal::Subnet { subnet, theirs, holder: holder.clone() });
        }
        let (&address, holders) = self.endpoints.range(subnet.network()..=subnet.broadcast()).next()?;
        Some(Refusal::Covers { subnet, address, holder: holders.first()?.clone() })
    }

    /// The first held subnet that has an address of `subnet`.
    fn overlapping(&self, subnet: IpNet) -> Option<(&IpNet, &Name)> {
        // The only one that can begin before it and reach into it is the last that begins before it.
        let before = self.subnets.range(..=subnet).next_back().filter(|(net, _)| net.contains(&subnet));
        before.or_else(|| self.subnets.range(subnet..=last(subnet)).next())
    }

    pub(super) fn take(&mut self, name: &Name, peer: &Peer) {
        for side in peer.sides() {
            for subnet in &side.subnets {
                self.subnets.insert(*subnet, name.clone());
            }
            self.endpoints.entry(side.endpoint).or_default().push(name.clone());
            if let Some(mac) = side.mac() {
                let key = (side.endpoint.is_ipv4(), mac);
                self.macs.entry(key).or_insert_with(|| (side.endpoint, Vec::new())).1.push(name.clone());
            }
            if let Some(key) = side.key() {
                self.keys.insert((side.endpoint.is_ipv4(), key), name.clone());
            }
        }
    }

    /// Gives back what `name` holds.
    pub(super) fn release(&mut self, name: &Name, peer: &Peer) {
        for side in peer.sides() {
            for subnet in &side.subnets {
                self.subnets.remove(subnet);
            }
            if let Entry::Occupied(mut entry) = self.endpoints.entry(side.endpoint) {
                entry.get_mut().retain(|holder| holder != name);
                if entry.get().is_empty() {
                    entry.remove();
                }
            }
            if let Some(key) = side.key() {
                self.keys.remove(&(side.endpoint.is_ipv4(), key));
            }
            if let Some(mac) = side.mac()
                && let Entry::Occupied(mut entry) = self.macs.entry((side.endpoint.is_ipv4(), mac))
            {
                entry.get_mut().1.retain(|holder| holder != name);
                if entry.get().1.is_empty() {
                    entry.remove();
                }
            }
        }
    }

    /// Whether a held subnet begins there.
    pub(super) fn has_subnet_at(&self, base: IpAddr) -> bool {
        self.overlapping(base.into()).is_some_and(|(net, _)| net.network() == base)
    }

    /// The subnet that an address is in, and its holder.
    pub(super) fn find(&self, address: IpAddr) -> Option<(&IpNet, &Name)> {
        self.overlapping(address.into())
    }

    /// Whether a believed node has this hardware address in this family.
    pub(super) fn has_mac(&self, is_v4: bool, mac: MacAddr) -> bool {
        self.macs.contains_key(&(is_v4, mac))
    }
}

/// The greatest of the networks that lie in `subnet`.
pub(super) fn last(subnet: IpNet) -> IpNet {
    subnet.broadcast().into()
}

impl Peer {
    /// Its sides, of the families that it has.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &Side> {
        [&self.v4, &self.v6].into_iter().flatten()
    }
}

impl Side {
    /// The hardware address of its VXLAN device.
    pub(crate) fn mac(&self) -> Option<MacAddr> {
        match self.how {
            How::Vxlan { mac } => Some(mac),
            How::Plain | How::WireGuard { .. } => None,
        }
    }

    /// Its public key of WireGuard.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        match self.how {
            How::WireGuard { key, .. } => Some(PublicKey(key)),
            How::Plain | How::Vxlan { .. } => None,
        }
    }
}
