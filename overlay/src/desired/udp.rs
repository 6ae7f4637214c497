//! Packets in UDP, by this process.

use std::net::IpAddr;

use ipnet::IpNet;
use linuxnet::route::{MarkedRoute, Way};

use crate::peer::Side;

use super::Object;

/// For a node: the relay is told where each of its subnets is, and a route leads there (`ip route replace SUBNET dev DEV`).
pub(super) fn objects(device: u32, side: &Side, objects: &mut Vec<Object>) {
    let way = Way::Link { link: device, gw: None, onlink: false };
    for subnet in &side.subnets {
        if let (IpNet::V4(subnet), IpAddr::V4(endpoint)) = (*subnet, side.endpoint) {
            objects.push(Object::Relay { subnet, endpoint });
        }
        objects.push(Object::Route(MarkedRoute::overlay(*subnet, way)));
    }
}
