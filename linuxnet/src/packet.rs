//! The one door to the rust-netlink crates: everything of theirs that this crate uses passes here, so that their next
//! breaking release is met in one place.
//!
//! They write the messages. Reading is ours ([`crate::nl::attributes`]): their parsers turn every attribute of every
//! object into enums, which costs half a megabyte of program and is not needed to read five of them.

pub(crate) use rtnetlink::packet_core::Emitable;
pub(crate) use rtnetlink::packet_route::AddressFamily;
pub(crate) use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
pub(crate) use rtnetlink::packet_route::link::{
    AfSpecBridge, AfSpecInet, AfSpecUnspec, BridgeVlanInfo, BridgeVlanInfoFlags, InetDevConf, InfoBridge,
    InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth, InfoVlan,
    InfoVrf, IpVlanMode, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, MacVlanMode, Prop,
};
pub(crate) use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
pub(crate) use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
pub(crate) use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};

/// A message's bytes, without the netlink header.
pub(crate) fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}
