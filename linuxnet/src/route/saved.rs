//! Routes with everything that the kernel knows of them, to be put back or into another table.

use libcni::types;
use nix::libc;

use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Batch, Mode, Netlink, Request};
use crate::nl::{Attributes, attributes, ne32};
use crate::packet::{AddressFamily, RouteAttribute, RouteMessage};

use super::{LOCAL, MAIN, Route, doing};

/// The length of `struct rtmsg`, and where in it the table, the maker and the flags (u32) stand.
const HEADER: usize = 12;
const TABLE: usize = 4;
const PROTOCOL: usize = 5;
const FLAGS: usize = 8;
/// The length of `struct rtnexthop`, and where its flags (u8) stand.
const HOP_HEADER: usize = 8;
const HOP_FLAGS: usize = 2;
/// `RTNH_F_ONLINK`, of the next hops' flags the only one that can be asked for.
const ONLINK: u8 = 4;
/// `RTA_CACHEINFO` and `RTA_NH_ID` of linux/rtnetlink.h: what a list tells and a request must not have. (A next hop
/// object is written out besides.)
const RTA_CACHEINFO: u16 = 12;
const RTA_NH_ID: u16 = 30;
/// `RTPROT_KERNEL` and `RTPROT_RA`: routes that come with an address, and from a router.
const RTPROT_KERNEL: u8 = 2;
const RTPROT_RA: u8 = 9;

/// A route as the kernel lists it, with all its attributes, those unknown here included (`ip route save`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRoute {
    /// What is known of it: the first of its next hops.
    pub route: Route,
    /// The kernel made it, for an address or by a router's word, and makes it anew where that is there again.
    pub is_automatic: bool,
    /// All its next hops are by one link.
    by_one_link: bool,
    /// The kernel's message as [`plain`] leaves it.
    message: Vec<u8>,
}

impl SavedRoute {
    /// Whether a result that reports `route` means this one: it is in the main table, where no other is said, and goes
    /// the same way, where that is said.
    #[must_use]
    pub fn is_meant_by(&self, route: &types::Route) -> bool {
        let is = &self.route;
        is.table == MAIN
            && matches!(route.table, None | Some(0 | MAIN))
            && is.dst == route.dst.trunc()
            && (route.gw.is_none() || route.gw == is.gw)
            && route.priority.is_none_or(|priority| priority == is.priority.unwrap_or(0))
    }

    /// Adds the route to `table`, behind those of the same destination and metric (`ip route restore`, `ip route
    /// append`). The very same route is refused ([`NetlinkError::is_exists`]).
    ///
    /// A gateway must be reachable by then: restore routes without a gateway first.
    #[must_use]
    pub fn restore(&self, dev: Dev<'_>, table: u32) -> Request {
        let words = doing("add", dev, &Route { table, ..self.route.clone() });
        Request::of_bytes(words, libc::RTM_NEWROUTE, Mode::Append, self.request(table))
    }

    /// Removes exactly this route (`ip route del`).
    #[must_use]
    pub fn remove(&self, dev: Dev<'_>) -> Request {
        let words = doing("remove", dev, &self.route);
        Request::of_bytes(words, libc::RTM_DELROUTE, Mode::Change, self.request(self.route.table))
    }

    /// The message with its table, which has one byte in the header: larger numbers stand in the attribute alone.
    fn request(&self, table: u32) -> Vec<u8> {
        let mut request = self.message.clone();
        set(&mut request, TABLE, u8::try_from(table).unwrap_or_default());
        let mut attribute = Attributes::new();
        attribute.bytes(libc::RTA_TABLE, &table.to_ne_bytes());
        request.extend_from_slice(attribute.as_bytes());
        request
    }
}

/// A message of the kernel as a request may have it: without its table, and without what tells its state.
fn plain(message: &[u8]) -> Vec<u8> {
    let (header, rest) = message.split_at(HEADER.min(message.len()));
    // The flags are u32 in the host's byte order; all that can be asked for is in the lowest byte.
    let onlink = header.get(FLAGS..).and_then(ne32).unwrap_or_default() & u32::from(ONLINK);
    let mut plain = header.to_vec();
    plain.truncate(FLAGS);
    plain.extend_from_slice(&onlink.to_ne_bytes());
    set(&mut plain, TABLE, 0);
    let mut kept = Attributes::new();
    for (kind, value) in attributes(rest) {
        match kind {
            libc::RTA_TABLE | RTA_CACHEINFO | RTA_NH_ID => {}
            libc::RTA_MULTIPATH => {
                kept.bytes(kind, &plain_hops(value));
            }
            _ => {
                kept.bytes(kind, value);
            }
        }
    }
    plain.extend_from_slice(kept.as_bytes());
    plain
}

/// The next hops without what the kernel says of their state.
fn plain_hops(hops: &[u8]) -> Vec<u8> {
    let mut plain = hops.to_vec();
    let mut at = 0;
    while let Some(&[low, high]) = plain.get(at..).and_then(<[u8]>::first_chunk)
        && let length @ HOP_HEADER.. = usize::from(u16::from_ne_bytes([low, high]))
    {
        let flags = plain.get(at + HOP_FLAGS).copied().unwrap_or_default();
        set(&mut plain, at + HOP_FLAGS, flags & ONLINK);
        at += length.next_multiple_of(4);
    }
    plain
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

impl Netlink {
    /// The unicast routes of both families by this link alone, of all tables, in the kernel's order; those without a
    /// gateway first, which is the order to restore them in.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn save_routes(&mut self, dev: Dev<'_>) -> Result<Vec<SavedRoute>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.attributes.push(RouteAttribute::Oif(dev.index));
            routes.extend(self.list_routes(&message, parse)?);
        }
        // Kernels without strict checking list everything.
        routes.retain(|saved| saved.by_one_link && saved.route.link == Some(dev.index));
        routes.sort_by_key(|saved| saved.route.gw.is_some());
        Ok(routes)
    }
}

/// Has a link the routes that were saved, and no others: what is missing comes back, what is new goes. For undoing. The
/// kernel's own new routes in the main table stay.
///
/// # Errors
/// The first request that failed; the others are made all the same.
pub fn put_back(netlink: &mut Netlink, dev: Dev<'_>, saved: &[SavedRoute]) -> Result<(), NetlinkError> {
    let now = netlink.save_routes(dev)?;
    let is_the_kernels = |is: &SavedRoute| is.is_automatic && is.route.table == MAIN;
    let new = now.iter().filter(|is| !saved.contains(is) && !is_the_kernels(is));
    let missing = saved.iter().filter(|was| !now.contains(was) && was.route.table != LOCAL);
    let removals = new.map(|is| is.remove(dev));
    let changes: Batch = removals.chain(missing.map(|was| was.restore(dev, was.route.table))).collect();
    changes.send(netlink)
}

/// Reads an `RTM_NEWROUTE`. `None`: it is of another type, or cut off.
fn parse(message: &[u8]) -> Option<SavedRoute> {
    let expanded = super::parse(message);
    let route = expanded.first()?.clone();
    let protocol = message.get(PROTOCOL).copied();
    Some(SavedRoute {
        is_automatic: matches!(protocol, Some(RTPROT_KERNEL | RTPROT_RA)),
        by_one_link: expanded.iter().all(|hop| hop.link == route.link),
        route,
        message: plain(message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH0: Dev<'static> = Dev { index: 2, name: "eth0" };

    /// 192.0.2.0/24 via 10.1.0.2 dev eth0 proto static mtu lock 1400, as Linux lists it while the link has no carrier.
    const LISTED: &[u8] = &[
        2, 24, 0, 0, 254, 4, 0, 1, 20, 0, 0, 0, // rtmsg: main, static, universe, unicast; linkdown, onlink
        8, 0, 15, 0, 254, 0, 0, 0, // RTA_TABLE
        8, 0, 1, 0, 192, 0, 2, 0, // RTA_DST
        20, 0, 8, 0, 8, 0, 1, 0, 4, 0, 0, 0, 8, 0, 2, 0, 0x78, 5, 0, 0, // RTA_METRICS: lock, mtu
        8, 0, 5, 0, 10, 1, 0, 2, // RTA_GATEWAY
        8, 0, 4, 0, 2, 0, 0, 0, // RTA_OIF
    ];

    #[test]
    fn everything_goes_to_the_other_table_but_the_state() {
        let saved = parse(LISTED).unwrap();
        assert!(!saved.is_automatic && saved.by_one_link);
        let request = saved.restore(ETH0, 1000);
        assert_eq!(request.doing(), "add route 192.0.2.0/24 via 10.1.0.2 dev eth0 mtu 1400 scope 0 table 1000");
        let expected = [
            &[2, 24, 0, 0, 0, 4, 0, 1, 4, 0, 0, 0], // flags: onlink
            &LISTED[20..],
            &[8, 0, 15, 0, 0xe8, 3, 0, 0],
        ]
        .concat();
        assert_eq!(request.body(), expected);
        let removed = saved.remove(ETH0);
        assert_eq!(removed.body().get(4), Some(&254));
        assert!(removed.doing().starts_with("remove route 192.0.2.0/24"));
    }

    #[test]
    fn next_hops_lose_their_state() {
        let hop = |flags: u8, link: u8| [16, 0, flags, 0, link, 0, 0, 0, 8, 0, 5, 0, 10, 1, 0, link];
        assert_eq!(plain_hops(&[hop(17, 2), hop(20, 3)].concat()), [hop(0, 2), hop(4, 3)].concat());
        // What is cut off, or has no length, ends it.
        assert_eq!(plain_hops(&[0, 0, 17, 0]), [0, 0, 17, 0]);
        let listed = |second: u8| {
            let header = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 36, 0, 9, 0];
            [&header[..], &hop(0, 2), &hop(0, second)].concat()
        };
        assert!(parse(&listed(2)).unwrap().by_one_link);
        assert!(!parse(&listed(3)).unwrap().by_one_link);
    }
}
