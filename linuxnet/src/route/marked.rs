//! Routes of a daemon, which marks them as its own (`ip route … proto NUMBER`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;

use crate::addr::ip;
use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, attributes, ne32};

use super::{MAIN, RTN_UNICAST};

/// The mark (`rtm_protocol`) of the overlay's routes and next hops; nobody else has this number.
pub const PROTOCOL_OVERLAY: u8 = 79;

/// `RTN_BLACKHOLE`.
const RTN_BLACKHOLE: u8 = 6;
/// `RTA_NH_ID` of linux/rtnetlink.h; what comes beside it repeats the next hop object.
const RTA_NH_ID: u16 = 30;
/// `RTA_CACHEINFO` and `RTA_PREF`: what a list tells of every IPv6 route.
const RTA_CACHEINFO: u16 = 12;
const RTA_PREF: u16 = 20;
/// `RTNH_F_ONLINK`: the gateway is on the link, whatever the routes say.
const ONLINK: u32 = 4;
/// `struct rtmsg`: family, dst_len, src_len, tos, table, protocol, scope, type, flags (u32).
const HEADER: usize = 12;
/// The metric of IPv6 routes for which none is said (`IP6_RT_PRIO_USER`).
const DEFAULT_METRIC_V6: u32 = 1024;

/// A route with the mark of who made it. A destination, a table and a metric have one route of IPv4; of IPv6 they can
/// have several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MarkedRoute {
    /// Destination prefix, without host bits.
    pub dst: IpNet,
    /// Routing table.
    pub table: u32,
    /// Lower is preferred.
    pub metric: u32,
    /// Who made it: `RTPROT_…` of linux/rtnetlink.h, or a daemon's own number.
    pub protocol: u8,
    /// Where packets go.
    pub way: Way,
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Out of a link (`[via GW] dev LINK [onlink]`).
    Link {
        /// The index of the link.
        link: u32,
        /// The next hop; `None`: the destination is on the link.
        gw: Option<IpAddr>,
        /// The next hop is on the link, even if no route to it says so.
        onlink: bool,
    },
    /// By a next hop object (`nhid ID`), see [`crate::nexthop`].
    Nexthop(u32),
    /// Nowhere, without a word to the sender (`blackhole`).
    Blackhole,
    /// In a way that [`set_marked`] never makes: several next hops, with a source address, an MTU, a tunnel. Such a
    /// route can be replaced and removed.
    Other,
}

impl MarkedRoute {
    /// A route to `dst` in the main table, with the metric that `ip route` takes, marked [`PROTOCOL_OVERLAY`].
    #[must_use]
    pub fn overlay(dst: IpNet, way: Way) -> Self {
        Self { dst: dst.trunc(), table: MAIN, metric: default_metric(dst), protocol: PROTOCOL_OVERLAY, way }
    }
}

impl fmt::Display for MarkedRoute {
    /// As `ip route` writes it, with the index of the link for its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dst, table, metric, way, .. } = self;
        match way {
            Way::Link { link, gw, onlink } => {
                write!(f, "{dst}")?;
                gw.map_or(Ok(()), |gw| write!(f, " via {gw}"))?;
                write!(f, " dev {link}{}", if *onlink { " onlink" } else { "" })?;
            }
            Way::Nexthop(id) => write!(f, "{dst} nhid {id}")?,
            Way::Blackhole => write!(f, "blackhole {dst}")?,
            Way::Other => write!(f, "{dst}")?,
        }
        if *metric != default_metric(*dst) {
            write!(f, " metric {metric}")?;
        }
        if *table == MAIN { Ok(()) } else { write!(f, " table {table}") }
    }
}

impl Netlink {
    /// The routes of both families, of all tables, that are marked with `protocol` (`ip route show table all proto
    /// NUMBER`, and `ip -6`). The kernel leaves the others out.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn routes_of_protocol(&mut self, protocol: u8) -> Result<Vec<MarkedRoute>, NetlinkError> {
        let mut routes = self.marked_routes(libc::AF_INET, protocol, None)?;
        routes.extend(self.marked_routes(libc::AF_INET6, protocol, None)?);
        routes.retain(|route| route.protocol == protocol);
        Ok(routes)
    }

    /// The routes of both families, of all tables, by a link, those of next hop objects included (`ip route show table
    /// all dev DEV`, and `ip -6`). The kernel's own are among them; not those to this machine's own addresses.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn routes_of_link(&mut self, dev: Dev<'_>) -> Result<Vec<MarkedRoute>, NetlinkError> {
        let mut routes = self.marked_routes(libc::AF_INET, 0, Some(dev))?;
        routes.extend(self.marked_routes(libc::AF_INET6, 0, Some(dev))?);
        Ok(routes)
    }

    /// `protocol` 0: of all.
    fn marked_routes(
        &mut self,
        family: libc::c_int,
        protocol: u8,
        dev: Option<Dev<'_>>,
    ) -> Result<Vec<MarkedRoute>, NetlinkError> {
        let family = u8::try_from(family).unwrap_or_default();
        let header = [family, 0, 0, 0, 0, protocol, 0, 0, 0, 0, 0, 0];
        let mut attributes = Attributes::new();
        if let Some(dev) = dev {
            attributes.ne32(libc::RTA_OIF, dev.index);
        }
        let doing = match dev {
            Some(dev) => format!("list routes by {}", dev.name),
            None => format!("list routes with protocol {protocol}"),
        };
        let request = Request::of_parts(doing, libc::RTM_GETROUTE, Mode::Change, &header, &attributes);
        match self.dump(&request, parse) {
            // There is no such link, or no such family in this kernel.
            Err(e) if e.is_not_found() || e.errno() == Some(Errno::EAFNOSUPPORT) => Ok(Vec::new()),
            done => done,
        }
    }
}

/// Makes a route (`ip route add DST … proto NUMBER`). Where this destination, table and metric have one it is refused
/// ([`NetlinkError::is_exists`]), and by the kernel one to [`Way::Other`]: nothing says where it leads.
#[must_use]
pub fn create_marked(route: &MarkedRoute) -> Request {
    new(route, "make", Mode::Create)
}

/// Makes a route, in the place of the one of this destination, table and metric (`ip route replace DST … proto NUMBER`).
/// A route to [`Way::Other`] is refused by the kernel: nothing says where it leads.
#[must_use]
pub fn set_marked(route: &MarkedRoute) -> Request {
    new(route, "set", Mode::Replace)
}

fn new(route: &MarkedRoute, verb: &str, mode: Mode) -> Request {
    Request::of_parts(
        format!("{verb} route {route}"),
        libc::RTM_NEWROUTE,
        mode,
        &header(route, scope(route), kind(route.way)),
        &body(route),
    )
}

/// Removes a route, and no other that differs in anything that is known of it (`ip route del DST … proto NUMBER`). One
/// that is not there is refused ([`NetlinkError::is_not_found`]).
#[must_use]
pub fn remove_marked(route: &MarkedRoute) -> Request {
    let kind = if route.way == Way::Other { 0 } else { kind(route.way) };
    Request::of_parts(
        format!("remove route {route}"),
        libc::RTM_DELROUTE,
        Mode::Change,
        &header(route, libc::RT_SCOPE_NOWHERE, kind),
        &body(route),
    )
}

fn header(route: &MarkedRoute, scope: u8, kind: u8) -> [u8; HEADER] {
    let onlink = if matches!(route.way, Way::Link { onlink: true, .. }) { ONLINK } else { 0 };
    let [f0, f1, f2, f3] = onlink.to_ne_bytes();
    let family = if route.dst.addr().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let family = u8::try_from(family).unwrap_or_default();
    // The header's field has one byte; larger numbers stand in the attribute alone.
    let table = u8::try_from(route.table).unwrap_or(libc::RT_TABLE_UNSPEC);
    [family, route.dst.prefix_len(), 0, 0, table, route.protocol, scope, kind, f0, f1, f2, f3]
}

fn body(route: &MarkedRoute) -> Attributes {
    let MarkedRoute { dst, table, metric, way, .. } = route;
    let mut attributes = Attributes::new();
    if dst.prefix_len() > 0 {
        attributes.ip(libc::RTA_DST, dst.network());
    }
    match way {
        Way::Link { link, gw, .. } => {
            if let Some(gw) = gw {
                attributes.ip(libc::RTA_GATEWAY, *gw);
            }
            attributes.ne32(libc::RTA_OIF, *link);
        }
        Way::Nexthop(id) => {
            attributes.ne32(RTA_NH_ID, *id);
        }
        Way::Blackhole | Way::Other => {}
    }
    if *metric != default_metric(*dst) {
        attributes.ne32(libc::RTA_PRIORITY, *metric);
    }
    if *table > 255 {
        attributes.ne32(libc::RTA_TABLE, *table);
    }
    attributes
}

fn kind(way: Way) -> u8 {
    if way == Way::Blackhole { RTN_BLACKHOLE } else { RTN_UNICAST }
}

/// As `ip route` chooses it: what is on the link has its scope.
fn scope(route: &MarkedRoute) -> u8 {
    match route.way {
        Way::Link { gw: None, .. } if route.dst.addr().is_ipv4() => libc::RT_SCOPE_LINK,
        _ => libc::RT_SCOPE_UNIVERSE,
    }
}

/// The kernel's metric for a route for which none is said, or 0: as it lists them.
fn default_metric(dst: IpNet) -> u32 {
    if dst.addr().is_ipv4() { 0 } else { DEFAULT_METRIC_V6 }
}

/// Reads an `RTM_NEWROUTE`. `None`: it leads to this machine itself, prohibits, or is cut off.
fn parse(message: &[u8]) -> Option<MarkedRoute> {
    let &[family, prefix, _source, tos, table, protocol, _scope, kind] = message.first_chunk()?;
    let flags = message.get(8..HEADER).and_then(ne32)?;
    let any = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if !matches!(kind, RTN_UNICAST | RTN_BLACKHOLE) {
        return None;
    }
    let (mut dst, mut table, mut metric) = (IpNet::new(any, prefix).ok()?, u32::from(table), 0);
    let (mut gw, mut link, mut nexthop, mut is_other) = (None, None, None, tos != 0);
    for (kind, value) in attributes(message.get(HEADER..)?) {
        match kind {
            libc::RTA_DST => dst = IpNet::new(ip(value)?, prefix).ok()?,
            libc::RTA_TABLE => table = ne32(value)?,
            libc::RTA_PRIORITY => metric = ne32(value)?,
            libc::RTA_GATEWAY => gw = ip(value),
            libc::RTA_OIF => link = ne32(value),
            RTA_NH_ID => nexthop = ne32(value),
            RTA_CACHEINFO | RTA_PREF => {}
            _ => is_other = true,
        }
    }
    let way = match (nexthop, link) {
        _ if kind == RTN_BLACKHOLE => Way::Blackhole,
        (Some(id), _) => Way::Nexthop(id),
        (None, Some(link)) if !is_other => Way::Link { link, gw, onlink: flags & ONLINK != 0 },
        _ => Way::Other,
    };
    Some(MarkedRoute { dst, table, metric, protocol, way })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(dst: &str, way: Way) -> MarkedRoute {
        MarkedRoute::overlay(dst.parse().unwrap(), way)
    }

    /// What iproute2 6.1 sends, by strace (with the attributes in this order).
    #[test]
    fn says_what_ip_route_says() {
        // ip route replace 10.5.2.0/24 via 10.5.2.0 dev vx onlink protocol 79
        let gw = Some("10.5.2.0".parse().unwrap());
        let by_link = to("10.5.2.0/24", Way::Link { link: 4, gw, onlink: true });
        let request = set_marked(&by_link);
        assert_eq!(request.doing(), "set route 10.5.2.0/24 via 10.5.2.0 dev 4 onlink");
        let expected: &[u8] = &[
            2, 24, 0, 0, 254, 79, 0, 1, 4, 0, 0, 0, // rtmsg: main, 79, universe, unicast, onlink
            8, 0, 1, 0, 10, 5, 2, 0, // RTA_DST
            8, 0, 5, 0, 10, 5, 2, 0, // RTA_GATEWAY
            8, 0, 4, 0, 4, 0, 0, 0, // RTA_OIF
        ];
        assert_eq!(request.body(), expected);
        assert_eq!(parse(expected), Some(by_link));
        // ip route replace 10.5.1.0/24 nhid 7 protocol 79
        let by_object = to("10.5.1.0/24", Way::Nexthop(7));
        let expected: &[u8] = &[
            2, 24, 0, 0, 254, 79, 0, 1, 0, 0, 0, 0, //
            8, 0, 1, 0, 10, 5, 1, 0, 8, 0, 30, 0, 7, 0, 0, 0, // RTA_DST, RTA_NH_ID
        ];
        assert_eq!(set_marked(&by_object).body(), expected);
        assert_eq!(parse(expected), Some(by_object.clone()));
        // ip route del 10.5.1.0/24 nhid 7 protocol 79 (which leaves the type out)
        let removed = remove_marked(&by_object);
        assert_eq!(removed.body().get(..12).unwrap(), [2, 24, 0, 0, 254, 79, 255, 1, 0, 0, 0, 0]);
        assert_eq!(removed.body().get(12..), expected.get(12..));
    }

    #[test]
    fn a_blackhole_is_a_type_of_route() {
        // ip -6 route replace blackhole fd07::/48 protocol 79
        let route = to("fd07::/48", Way::Blackhole);
        assert_eq!(route.to_string(), "blackhole fd07::/48");
        let expected: &[u8] = &[
            10, 48, 0, 0, 254, 79, 0, 6, 0, 0, 0, 0, //
            20, 0, 1, 0, 0xfd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // RTA_DST
        ];
        assert_eq!(set_marked(&route).body(), expected);
        // The kernel lists its metric, and lo as its link.
        let listed: &[u8] = &[8, 0, 6, 0, 0, 4, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0];
        assert_eq!(parse(&[expected, listed].concat()), Some(route));
    }

    #[test]
    fn metric_and_table_are_said_where_they_are_not_the_usual() {
        let way = Way::Link { link: 4, gw: None, onlink: false };
        let route = MarkedRoute { table: 1000, metric: 50, ..to("10.5.2.0/24", way) };
        assert_eq!(route.to_string(), "10.5.2.0/24 dev 4 metric 50 table 1000");
        let request = set_marked(&route);
        assert_eq!(request.body().get(..12).unwrap(), [2, 24, 0, 0, 0, 79, 253, 1, 0, 0, 0, 0]);
        assert_eq!(request.body().get(28..).unwrap(), [8, 0, 6, 0, 50, 0, 0, 0, 8, 0, 15, 0, 0xe8, 3, 0, 0]);
        assert_eq!(parse(request.body()), Some(route));
    }

    #[test]
    fn what_is_never_made_is_other() {
        let plain = set_marked(&to("10.5.2.0/24", Way::Link { link: 4, gw: None, onlink: false }));
        let with_source = [plain.body(), &[8, 0, 7, 0, 10, 0, 0, 1]].concat(); // RTA_PREFSRC
        let read = parse(&with_source).unwrap();
        assert_eq!(read.way, Way::Other);
        assert_eq!(remove_marked(&read).body().get(..12).unwrap(), [2, 24, 0, 0, 254, 79, 255, 0, 0, 0, 0, 0]);
        // One to this machine itself (RTN_LOCAL), and cut off.
        let mut local = plain.body().to_vec();
        local[7] = 2;
        assert_eq!(parse(&local), None);
        assert_eq!(parse(&local[..11]), None);
    }
}
