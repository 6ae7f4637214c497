//! VXLAN as flannel does it: any kernel can.

use libcni::types::MacAddr;
use linuxnet::fdb::Entry;
use linuxnet::neigh::Neighbour;
use linuxnet::route::{MarkedRoute, Way};

use crate::peer::Side;

use super::Object;

/// For a node: a neighbour (`ip neigh replace BASE lladdr MAC dev DEV nud permanent`), where its frames go (`bridge fdb
/// replace MAC dev DEV dst ENDPOINT self permanent`), and a route for each of its subnets (`ip route replace SUBNET via
/// BASE dev DEV onlink`).
pub(super) fn objects(device: u32, side: &Side, mac: MacAddr, objects: &mut Vec<Object>) {
    let Some(base) = side.base() else { return };
    objects.push(neighbour(device, base, mac));
    let entry =
        Entry { mac, dst: Some(side.endpoint), port: None, vni: None, source_vni: None, via: None, is_permanent: true };
    objects.push(Object::Forward { link: device, entry });
    let way = Way::Link { link: device, gw: Some(base), onlink: true };
    objects.extend(side.subnets.iter().map(|subnet| Object::Route(MarkedRoute::overlay(*subnet, way))));
}

/// So that the kernel never asks on the overlay's link who has `ip`.
pub(super) fn neighbour(link: u32, ip: std::net::IpAddr, mac: MacAddr) -> Object {
    Object::Neighbour(Neighbour { link, ip, mac: Some(mac), is_permanent: true, is_automatic: false })
}
