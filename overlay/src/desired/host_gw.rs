//! Plain routes to nodes on the same segment: `host-gw`, and DirectRouting of the others.

use linuxnet::route::{MarkedRoute, Way};

use crate::peer::Side;

use super::Object;

/// For a node: a route for each of its subnets (`ip route replace SUBNET via ENDPOINT dev LINK`).
pub(super) fn objects(link: u32, side: &Side, objects: &mut Vec<Object>) {
    let way = Way::Link { link, gw: Some(side.endpoint), onlink: false };
    objects.extend(side.subnets.iter().map(|subnet| Object::Route(MarkedRoute::overlay(*subnet, way))));
}
