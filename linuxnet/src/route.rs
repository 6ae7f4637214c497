//! Routes (`ip route`).

mod default;
mod listed;
mod marked;
mod saved;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;

use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::packet::{
    AddressFamily, RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};

#[cfg(test)]
pub(crate) use listed::listed_of_table;
pub use listed::{Hop, ListedRoute};
pub use marked::{MarkedRoute, PROTOCOL_OVERLAY, Way, create_marked, remove_marked, set_marked};
pub use saved::{SavedRoute, put_back};

/// The number of the main routing table.
pub const MAIN: u32 = 254;
/// The number of the table in which the kernel keeps its own addresses.
pub const LOCAL: u32 = 255;
/// `RTA_VIA` of linux/rtnetlink.h (a gateway of the other family), which libc has not on every target.
const RTA_VIA: u16 = 18;
/// `RTAX_MTU` and `RTAX_ADVMSS` of linux/rtnetlink.h.
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
/// `RTN_UNICAST`: a route to somewhere, not a local address or a prohibition.
const RTN_UNICAST: u8 = 1;

/// How the kernel says that no route leads there, or that one forbids it (`blackhole`, `prohibit`); the last is that
/// of a kernel without IPv6.
const NO_ROUTE: [Errno; 5] =
    [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EINVAL, Errno::EACCES, Errno::EAFNOSUPPORT];

/// A unicast route. [`Route::to`] leaves out all that can be; the fields are public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix; `0.0.0.0/0` and `::/0` are the default routes.
    pub dst: IpNet,
    /// Next hop; `None`: the destination is on the link.
    pub gw: Option<IpAddr>,
    /// The index of the link to leave by. Needed to add one; `None` in a list only for routes without a link.
    pub link: Option<u32>,
    /// Source address for packets that have none yet.
    pub src: Option<IpAddr>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// Maximal segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// Metric; lower is preferred. `None` is 0 for IPv4, 1024 for IPv6.
    pub priority: Option<u32>,
    /// Routing table.
    pub table: u32,
    /// Scope as in rtnetlink(7). `None`: what `ip route` takes, universe with a gateway and link without. IPv6 has
    /// none.
    pub scope: Option<u8>,
}

impl Route {
    /// A route to `dst`, on the link, in the main table.
    #[must_use]
    pub fn to(dst: IpNet) -> Self {
        Self {
            dst: dst.trunc(),
            gw: None,
            link: None,
            src: None,
            mtu: None,
            advmss: None,
            priority: None,
            table: MAIN,
            scope: None,
        }
    }

    fn family(&self) -> AddressFamily {
        if self.dst.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
    }

    fn effective_scope(&self) -> u8 {
        const UNIVERSE: u8 = libc::RT_SCOPE_UNIVERSE;
        match self.scope {
            Some(scope) => scope,
            None if self.gw.is_some() || self.dst.addr().is_ipv6() => UNIVERSE,
            // Also what lets a later route go via a gateway that this one reaches.
            None => libc::RT_SCOPE_LINK,
        }
    }
}

impl From<&libcni::types::Route> for Route {
    fn from(route: &libcni::types::Route) -> Self {
        Self {
            gw: route.gw,
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table.unwrap_or(MAIN),
            scope: route.scope,
            ..Self::to(route.dst)
        }
    }
}

impl fmt::Display for Route {
    /// As `ip route` writes it, without the link, whose name it does not know: `10.0.0.0/8 via 10.1.0.1 metric 50
    /// table 100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        self.gw.map_or(Ok(()), |gw| write!(f, " via {gw}"))?;
        self.src.map_or(Ok(()), |src| write!(f, " src {src}"))?;
        self.priority.map_or(Ok(()), |priority| write!(f, " metric {priority}"))?;
        if self.table == MAIN { Ok(()) } else { write!(f, " table {}", self.table) }
    }
}

/// Adds a route by `dev` (`ip route append`, without the append: `NLM_F_CREATE` alone, as the reference). Beside a
/// route to the same destination by another gateway it is accepted, and IPv6 makes one route with two next hops of
/// them; the very same route is refused ([`NetlinkError::is_exists`]).
#[must_use]
pub fn add(dev: Dev<'_>, route: &Route) -> Request {
    Request::new(doing("add", dev, route), libc::RTM_NEWROUTE, Mode::Add, &message(dev, route))
}

/// Adds a route by `dev` if the destination has none yet with this metric (`ip route add`).
#[must_use]
pub fn create(dev: Dev<'_>, route: &Route) -> Request {
    Request::new(doing("add", dev, route), libc::RTM_NEWROUTE, Mode::Create, &message(dev, route))
}

/// Adds a route by `dev`, in the place of the destination's present one with this metric (`ip route replace`).
#[must_use]
pub fn replace(dev: Dev<'_>, route: &Route) -> Request {
    Request::new(doing("add", dev, route), libc::RTM_NEWROUTE, Mode::Replace, &message(dev, route))
}

/// Removes a route by `dev` (`ip route del`): the first that matches what is said. One that is not there is refused
/// ([`NetlinkError::is_not_found`]).
#[must_use]
pub fn remove(dev: Dev<'_>, route: &Route) -> Request {
    let mut message = message(dev, route);
    if route.scope.is_none() {
        message.header.scope = RouteScope::NoWhere;
    }
    message.header.protocol = RouteProtocol::Unspec;
    Request::new(doing("remove", dev, route), libc::RTM_DELROUTE, Mode::Change, &message)
}

fn doing(verb: &str, dev: Dev<'_>, route: &Route) -> String {
    let Route { dst, gw, .. } = route;
    match gw {
        Some(gw) => format!("{verb} route {dst} via {gw} dev {}{}", dev.name, Details(route)),
        None => format!("{verb} route {dst} dev {}{}", dev.name, Details(route)),
    }
}

/// What stands after the link in `ip route`'s words.
struct Details<'a>(&'a Route);

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { src, mtu, advmss, priority, table, scope, .. } = self.0;
        src.map_or(Ok(()), |src| write!(f, " src {src}"))?;
        priority.map_or(Ok(()), |priority| write!(f, " metric {priority}"))?;
        mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))?;
        advmss.map_or(Ok(()), |advmss| write!(f, " advmss {advmss}"))?;
        scope.map_or(Ok(()), |scope| write!(f, " scope {scope}"))?;
        if *table == MAIN { Ok(()) } else { write!(f, " table {table}") }
    }
}

fn message(dev: Dev<'_>, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = route.family();
    message.header.destination_prefix_length = route.dst.prefix_len();
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::from(route.effective_scope());
    message.header.kind = RouteType::Unicast;
    // The header's field has one byte; larger numbers stand in the attribute alone.
    message.header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    let metrics: Vec<_> =
        [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)].into_iter().flatten().collect();
    let attributes = [
        (route.dst.prefix_len() > 0).then(|| RouteAttribute::Destination(RouteAddress::from(route.dst.network()))),
        route.gw.map(|gw| RouteAttribute::Gateway(RouteAddress::from(gw))),
        Some(RouteAttribute::Oif(dev.index)),
        route.src.map(|src| RouteAttribute::PrefSource(RouteAddress::from(src))),
        route.priority.map(RouteAttribute::Priority),
        (route.table > 255).then_some(RouteAttribute::Table(route.table)),
        (!metrics.is_empty()).then_some(RouteAttribute::Metrics(metrics)),
    ];
    message.attributes.extend(attributes.into_iter().flatten());
    message
}

/// Which routes to list; `None` is no condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this table.
    pub table: Option<u32>,
    /// By the link with this index.
    pub link: Option<u32>,
}

impl Netlink {
    /// The unicast routes of both families that match (`ip route show table T dev DEV`, and `ip -6`). Routes with
    /// several next hops come once for each.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn routes(&mut self, filter: Filter) -> Result<Vec<Route>, NetlinkError> {
        let mut routes = self.routes_of(AddressFamily::Inet, filter)?;
        routes.extend(self.routes_of(AddressFamily::Inet6, filter)?);
        Ok(routes)
    }

    /// The route that a packet to `destination` takes (`ip route get DESTINATION`). `None` if there is none, and if it
    /// is this machine's own address.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn find_route(&mut self, destination: IpAddr) -> Result<Option<Route>, NetlinkError> {
        let mut message = RouteMessage::default();
        let (family, address, bits) = match destination {
            IpAddr::V4(ip) => (AddressFamily::Inet, RouteAddress::Inet(ip), 32),
            IpAddr::V6(ip) => (AddressFamily::Inet6, RouteAddress::Inet6(ip), 128),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = bits;
        message.attributes.push(RouteAttribute::Destination(address));
        let doing = format!("look up the route to {destination}");
        let request = Request::new(doing, libc::RTM_GETROUTE, Mode::Change, &message);
        match self.get(&request, |bytes| Some(parse(bytes).into_iter().next())) {
            Ok(route) => Ok(route.flatten()),
            Err(e) if e.errno().is_some_and(|errno| NO_ROUTE.contains(&errno)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn routes_of(&mut self, family: AddressFamily, filter: Filter) -> Result<Vec<Route>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.attributes.extend(filter.table.map(RouteAttribute::Table));
        message.attributes.extend(filter.link.map(RouteAttribute::Oif));
        // Kernels without strict checking list everything.
        let wanted = |route: &Route| {
            filter.table.is_none_or(|table| route.table == table)
                && filter.link.is_none_or(|_| route.link == filter.link)
        };
        let read = |bytes: &[u8]| Some(parse(bytes).into_iter().filter(wanted).collect::<Vec<_>>());
        Ok(self.list_routes(&message, read)?.into_iter().flatten().collect())
    }

    /// The routes that match `message`, read by `read`.
    fn list_routes<T>(
        &mut self,
        message: &RouteMessage,
        read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        match self.dump(&Request::new("list routes", libc::RTM_GETROUTE, Mode::Change, message), read) {
            // There is no such table or link, or no such family in this kernel.
            Err(e) if e.is_not_found() || e.errno() == Some(Errno::EAFNOSUPPORT) => Ok(Vec::new()),
            done => done,
        }
    }
}

/// Reads an `RTM_NEWROUTE`: one route for each next hop, none if it is of another type or cut off.
fn parse(message: &[u8]) -> Vec<Route> {
    listed::parse(message).map(ListedRoute::into_unicast).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BR0: Dev<'static> = Dev { index: 2, name: "br0" };

    fn full() -> Route {
        Route {
            gw: Some("10.1.0.2".parse().unwrap()),
            src: Some("10.1.0.5".parse().unwrap()),
            mtu: Some(1400),
            advmss: Some(1360),
            priority: Some(50),
            table: 1000,
            ..Route::to("192.0.2.0/24".parse().unwrap())
        }
    }

    #[test]
    fn says_what_ip_route_says() {
        // ip route append 192.0.2.0/24 via 10.1.0.2 dev br0 src 10.1.0.5 metric 50 mtu 1400 advmss 1360 table 1000
        // (the attributes in another order)
        let request = add(BR0, &full());
        let words =
            "add route 192.0.2.0/24 via 10.1.0.2 dev br0 src 10.1.0.5 metric 50 mtu 1400 advmss 1360 table 1000";
        assert_eq!(request.doing(), words);
        let expected: &[u8] = &[
            2, 24, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, // rtmsg: table 0 (see attribute), boot, universe, unicast
            8, 0, 1, 0, 192, 0, 2, 0, // RTA_DST
            8, 0, 5, 0, 10, 1, 0, 2, // RTA_GATEWAY
            8, 0, 4, 0, 2, 0, 0, 0, // RTA_OIF
            8, 0, 7, 0, 10, 1, 0, 5, // RTA_PREFSRC
            8, 0, 6, 0, 50, 0, 0, 0, // RTA_PRIORITY
            8, 0, 15, 0, 0xe8, 3, 0, 0, // RTA_TABLE
            20, 0, 8, 0, 8, 0, 2, 0, 0x78, 5, 0, 0, 8, 0, 8, 0, 0x50, 5, 0, 0, // RTA_METRICS: mtu, advmss
        ];
        assert_eq!(request.body(), expected);
        assert_eq!(parse(expected), [Route { link: Some(2), scope: Some(0), ..full() }]);
    }

    #[test]
    fn a_route_on_the_link_has_link_scope() {
        let header = |route: &Route| add(BR0, route).body().get(..12).unwrap().to_vec();
        let on_link = Route::to("10.9.0.0/16".parse().unwrap());
        assert_eq!(header(&on_link), [2, 16, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0]);
        assert_eq!(header(&Route { scope: Some(0), ..on_link }).get(6), Some(&0));
        assert_eq!(header(&Route::to("fd00::/8".parse().unwrap())).get(6), Some(&0));
        // A default route has no RTA_DST; host bits of the destination are cut off, as they must be.
        assert_eq!(add(BR0, &Route::to("0.0.0.0/0".parse().unwrap())).body().len(), 20);
        assert_eq!(Route::to("10.9.8.7/16".parse().unwrap()).dst, "10.9.0.0/16".parse().unwrap());
    }

    #[test]
    fn each_next_hop_is_a_route() {
        // default by two gateways: nexthop via 10.1.0.1 dev 2, nexthop via 10.1.0.2 dev 3 (RTA_MULTIPATH).
        let message = [
            2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 36, 0, 9, 0, //
            16, 0, 0, 0, 2, 0, 0, 0, 8, 0, 5, 0, 10, 1, 0, 1, //
            16, 0, 0, 0, 3, 0, 0, 0, 8, 0, 5, 0, 10, 1, 0, 2,
        ];
        let hop = |link, gw: &str| Route {
            gw: Some(gw.parse().unwrap()),
            link: Some(link),
            scope: Some(0),
            ..Route::to("0.0.0.0/0".parse().unwrap())
        };
        assert_eq!(parse(&message), [hop(2, "10.1.0.1"), hop(3, "10.1.0.2")]);
        for cut in [0, 7, 11] {
            assert_eq!(parse(message.get(..cut).unwrap()), []);
        }
    }
}
