//! VXLAN by next hop objects: the same packets with less work for the kernel, from Linux 5.18.

use std::net::IpAddr;

use libcni::types::MacAddr;
use linuxnet::nexthop::{Encap, Listed, Nexthop};
use linuxnet::route::{MarkedRoute, PROTOCOL_OVERLAY, Way};

use crate::peer::Side;

use super::vxlan::neighbour;
use super::{Ids, Object};

/// What all next hops have in common.
pub(super) struct Tunnel {
    pub(super) device: u32,
    pub(super) vni: u32,
    pub(super) from: IpAddr,
}

impl Tunnel {
    /// For a node: a next hop (`ip nexthop replace id ID via BASE dev DEV onlink encap ip id VNI dst ENDPOINT src FROM`), a
    /// neighbour (`ip neigh replace BASE lladdr MAC dev DEV nud permanent`), and a route for each of its subnets (`ip route
    /// replace SUBNET nhid ID`).
    pub(super) fn objects(&self, side: &Side, mac: MacAddr, ids: &mut Ids, objects: &mut Vec<Object>) {
        let Some(base) = side.base() else { return };
        let id = ids.of(base);
        let nexthop = Nexthop {
            id,
            link: self.device,
            gw: base,
            onlink: true,
            encap: Some(Encap { id: self.vni, dst: side.endpoint, src: Some(self.from) }),
            protocol: PROTOCOL_OVERLAY,
        };
        objects.push(Object::Nexthop(Listed { id, protocol: PROTOCOL_OVERLAY, nexthop: Some(nexthop) }));
        objects.push(neighbour(self.device, base, mac));
        let way = Way::Nexthop(id);
        objects.extend(side.subnets.iter().map(|subnet| Object::Route(MarkedRoute::overlay(*subnet, way))));
    }
}
