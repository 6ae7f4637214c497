//! What should be in the kernel: a pure function of the nodes and of how this one sends to them.

mod host_gw;
mod ids;
mod ipip;
mod nexthop;
mod object;
#[cfg(test)]
mod tests;
mod udp;
mod vxlan;
mod wireguard;

use std::net::IpAddr;

use ipnet::IpNet;
use linuxnet::wireguard::SecretKey;

use crate::peer::{How, Peer, Side};

pub(crate) use self::ids::Ids;
pub(crate) use self::object::{Key, Object, Step, diff};

/// How this node sends to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// To their IPv4 containers; none: this node cannot.
    pub(crate) v4: Option<Lane>,
    /// To their IPv6 containers.
    pub(crate) v6: Option<Lane>,
    /// What is of no other node: routes for the whole cluster.
    pub(crate) common: Vec<Object>,
}

/// How this node sends in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) means: Means,
    /// By plain routes to those on the same segment.
    pub(crate) direct: Option<Direct>,
}

/// How frames get to a node that is anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// VXLAN by a neighbour, a forwarding entry and a route.
    Neighbours {
        /// The index of the VXLAN link.
        device: u32,
    },
    /// VXLAN by a next hop object with the tunnel in it, a neighbour and a route.
    Nexthops {
        /// The index of the VXLAN link, which is `external`.
        device: u32,
        vni: u32,
        /// The address to send from.
        from: IpAddr,
    },
    /// IP in IP, by a route.
    Ipip {
        /// The index of the tunnel.
        device: u32,
    },
    /// WireGuard, by a peer of the link.
    WireGuard {
        /// The index of the WireGuard link.
        device: u32,
        /// What all nodes share.
        psk: Option<SecretKey>,
        /// In seconds; 0: none.
        keepalive: u16,
    },
    /// UDP by this process: a route to its device, and an entry of its table.
    Udp {
        /// The index of the device.
        device: u32,
    },
    /// Not at all: `host-gw`.
    DirectOnly,
    /// By routes that are not ours: BIRD's.
    ByBgp,
}

/// The segment that this node is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Direct {
    /// The index of its link.
    pub(crate) link: u32,
    /// Its addresses.
    pub(crate) on_link: Vec<IpNet>,
}

/// Why a node cannot be sent to, though all that it says is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error(
        "its address {0} is not on this node's segment, and host-gw goes no further (hint: use vxlan, with DirectRouting \
         for the nodes of one segment)"
    )]
    OffLink(IpAddr),
    #[error("it says nothing of what this backend must know of {0}")]
    NoData(IpAddr),
    #[error("this node has no address to reach {0} from")]
    NoAddress(IpAddr),
}

impl Plan {
    /// Adds what the kernel needs to reach `peer` to `objects`, and gives the reason if a family of it cannot be reached.
    pub(crate) fn objects(&self, peer: &Peer, ids: &mut Ids, objects: &mut Vec<Object>) -> Result<(), Unreachable> {
        let mut done = Ok(());
        for side in peer.sides() {
            let lane = self.lane(side.endpoint).ok_or(Unreachable::NoAddress(side.endpoint));
            done = done.and(lane.and_then(|lane| lane.objects(side, ids, objects)));
        }
        done
    }

    /// How nodes at such an address are sent to.
    pub(crate) fn lane(&self, endpoint: IpAddr) -> Option<&Lane> {
        if endpoint.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() }
    }

    /// The lanes of the families that this node has.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        [&self.v4, &self.v6].into_iter().flatten()
    }
}

impl Lane {
    fn objects(&self, side: &Side, ids: &mut Ids, objects: &mut Vec<Object>) -> Result<(), Unreachable> {
        if let Some(direct) = self.direct_to(side.endpoint) {
            host_gw::objects(direct.link, side, objects);
            return Ok(());
        }
        match (self.means, &side.how) {
            (Means::Neighbours { device }, How::Vxlan { mac }) => vxlan::objects(device, side, *mac, objects),
            (Means::Nexthops { device, vni, from }, How::Vxlan { mac }) => {
                nexthop::Tunnel { device, vni, from }.objects(side, *mac, ids, objects);
            }
            (Means::Ipip { device }, _) => ipip::objects(device, side, objects),
            (Means::WireGuard { device, psk, keepalive }, How::WireGuard { key, port }) => {
                let endpoint = (side.endpoint, *port).into();
                objects.push(wireguard::peer(device, *key, endpoint, psk, keepalive, &side.subnets));
            }
            (Means::Udp { device }, _) => udp::objects(device, side, objects),
            (Means::ByBgp, _) => {}
            (Means::DirectOnly, _) => return Err(Unreachable::OffLink(side.endpoint)),
            (Means::Neighbours { .. } | Means::Nexthops { .. } | Means::WireGuard { .. }, _) => {
                return Err(Unreachable::NoData(side.endpoint));
            }
        }
        Ok(())
    }

    /// The segment, if the address is on it and nodes there are reached by plain routes.
    pub(crate) fn direct_to(&self, endpoint: IpAddr) -> Option<&Direct> {
        self.direct.as_ref().filter(|direct| direct.on_link.iter().any(|net| net.contains(&endpoint)))
    }

    /// The index of the device of ours that it sends by.
    pub(crate) fn device(&self) -> Option<u32> {
        match self.means {
            Means::Neighbours { device }
            | Means::Nexthops { device, .. }
            | Means::Ipip { device }
            | Means::WireGuard { device, .. }
            | Means::Udp { device } => Some(device),
            Means::DirectOnly | Means::ByBgp => None,
        }
    }
}

impl Side {
    /// The first address of its containers: where frames are addressed to on the overlay's link, which the device there
    /// has (as flannel's).
    pub(crate) fn base(&self) -> Option<IpAddr> {
        self.subnets.first().map(IpNet::network)
    }
}
