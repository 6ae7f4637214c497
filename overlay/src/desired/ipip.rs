//! IP in IP: what the route says is the other end.

use linuxnet::route::{MarkedRoute, Way};

use crate::peer::Side;

use super::Object;

/// For a node: a route for each of its subnets (`ip route replace SUBNET via ENDPOINT dev DEV onlink`).
pub(super) fn objects(device: u32, side: &Side, objects: &mut Vec<Object>) {
    let way = Way::Link { link: device, gw: Some(side.endpoint), onlink: true };
    objects.extend(side.subnets.iter().map(|subnet| Object::Route(MarkedRoute::overlay(*subnet, way))));
}
