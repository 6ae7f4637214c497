//! Routes of every type, as the kernel lists them: the one reader of `RTM_NEWROUTE`, whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;

use super::{RTA_VIA, RTAX_ADVMSS, RTAX_MTU, RTN_UNICAST, Route};
use crate::addr::ip;
use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{attributes, find, ne32};
use crate::packet::{AddressFamily, RouteMessage};

/// `RTA_NH_ID` of linux/rtnetlink.h.
const RTA_NH_ID: u16 = 30;
/// `RTM_F_CLONED`: no route, but what was looked up.
const RTM_F_CLONED: u32 = 0x200;
/// `RTNH_F_ONLINK`.
const ONLINK: u32 = 4;

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The gateway; `None`: the destination is on the link.
    pub gw: Option<IpAddr>,
    /// The index of the link; `None` for routes without one.
    pub link: Option<u32>,
    /// The gateway need not be in a subnet of the link.
    pub is_onlink: bool,
}

/// A route of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRoute {
    /// `RTN_*`: 1 unicast, 2 local, 3 broadcast, 4 anycast, 5 multicast, 6 blackhole, 7 unreachable, 8 prohibit, 9 throw.
    pub route_type: u8,
    /// Destination prefix.
    pub dst: IpNet,
    /// Where it leads: one next hop, or several.
    pub hops: Vec<Hop>,
    /// The number of the next hop object that it uses.
    pub nexthop: Option<u32>,
    /// The routing table.
    pub table: u32,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
    /// Scope as in rtnetlink(7); 0 for IPv6.
    pub scope: u8,
    /// Type of service that it is for; 0: any.
    pub tos: u8,
    /// Source address for packets that have none yet.
    pub src: Option<IpAddr>,
    /// Metric; `None` is 0.
    pub priority: Option<u32>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// Maximal segment size to advertise, in bytes.
    pub advmss: Option<u32>,
}

impl Netlink {
    /// The routes of all types, tables and families (`ip route show table all`, and `ip -6`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn listed_routes(&mut self) -> Result<Vec<ListedRoute>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            match self.dump(&Request::new("list routes", libc::RTM_GETROUTE, Mode::Change, &message), listed_of_table) {
                Ok(more) => routes.extend(more),
                // A kernel without this family.
                Err(e) if matches!(e.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(routes)
    }
}

impl ListedRoute {
    /// One [`Route`] for each next hop, none if it is of another type than unicast.
    pub(super) fn into_unicast(self) -> Vec<Route> {
        if self.route_type != RTN_UNICAST {
            return Vec::new();
        }
        let of = |hop: &Hop| Route {
            dst: self.dst,
            gw: hop.gw,
            link: hop.link,
            src: self.src,
            mtu: self.mtu,
            advmss: self.advmss,
            priority: self.priority,
            table: self.table,
            scope: Some(self.scope),
        };
        self.hops.iter().map(of).collect()
    }
}

/// Reads an `RTM_NEWROUTE`. `None`: it is no route of a table, or cut off.
pub(crate) fn listed_of_table(message: &[u8]) -> Option<ListedRoute> {
    let flags = message.get(8..12).and_then(ne32)?;
    if flags & RTM_F_CLONED == 0 { parse(message) } else { None }
}

/// Reads an `RTM_NEWROUTE`, also of what was looked up. `None`: it is cut off.
pub(super) fn parse(message: &[u8]) -> Option<ListedRoute> {
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags (u32).
    let &[family, prefix, _source, tos, table, protocol, scope, route_type] = message.first_chunk()?;
    let flags = message.get(8..12).and_then(ne32)?;
    let unspecified = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = ListedRoute {
        route_type,
        dst: IpNet::new(unspecified, prefix).ok()?,
        hops: Vec::new(),
        nexthop: None,
        table: table.into(),
        protocol,
        scope,
        tos,
        src: None,
        priority: None,
        mtu: None,
        advmss: None,
    };
    let mut several = None;
    let mut only = Hop { gw: None, link: None, is_onlink: flags & ONLINK != 0 };
    for (kind, value) in attributes(message.get(12..)?) {
        match kind {
            libc::RTA_DST => route.dst = IpNet::new(ip(value)?, prefix).ok()?,
            libc::RTA_GATEWAY => only.gw = ip(value),
            RTA_VIA => only.gw = value.get(2..).and_then(ip),
            libc::RTA_OIF => only.link = ne32(value),
            libc::RTA_PREFSRC => route.src = ip(value),
            libc::RTA_PRIORITY => route.priority = ne32(value),
            libc::RTA_TABLE => route.table = ne32(value)?,
            libc::RTA_METRICS => {
                route.mtu = find(value, RTAX_MTU).and_then(ne32);
                route.advmss = find(value, RTAX_ADVMSS).and_then(ne32);
            }
            libc::RTA_MULTIPATH => several = Some(hops(value)),
            RTA_NH_ID => route.nexthop = ne32(value),
            _ => {}
        }
    }
    route.hops = several.unwrap_or_else(|| vec![only]);
    Some(route)
}

/// The next hops of a route with several.
fn hops(mut bytes: &[u8]) -> Vec<Hop> {
    let mut all = Vec::new();
    // struct rtnexthop: length (u16), flags, hops, index (i32); then attributes.
    while let Some(&[low, high, flags, _weight]) = bytes.first_chunk()
        && let length @ 8.. = usize::from(u16::from_ne_bytes([low, high]))
        && let Some(hop) = bytes.get(..length)
    {
        let gw = attributes(hop.get(8..).unwrap_or_default()).find_map(|(kind, value)| match kind {
            libc::RTA_GATEWAY => ip(value),
            RTA_VIA => value.get(2..).and_then(ip),
            _ => None,
        });
        let is_onlink = u32::from(flags) & ONLINK != 0;
        all.push(Hop { gw, link: hop.get(4..8).and_then(ne32), is_onlink });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}
