//! What the kernel tells of changes to links, addresses, neighbours, routes and next hops.

use std::collections::BTreeSet;

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::{Netlink, Stop};
use crate::error::{Cause, NetlinkError};
use crate::nl::{Heard, Listener, Message, find, ne32};

/// The groups that are heard.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_NEXTHOP,
];
/// `RTM_NEWNEXTHOP`, `RTM_DELNEXTHOP` and `NHA_OIF` of linux/nexthop.h.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const NHA_OIF: u16 = 5;

/// Something of this was made, changed or removed. Links are told by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notice {
    /// There was more than the socket could hold: anything may have changed.
    Lost,
    /// The link itself.
    Link(u32),
    /// An address of the link.
    Address(u32),
    /// A neighbour or forwarding entry of the link.
    Neighbour(u32),
    /// A route.
    Route {
        /// Its maker.
        protocol: u8,
        /// The link that it leaves by; `None` for several, and for none.
        link: Option<u32>,
    },
    /// A next hop object.
    Nexthop {
        /// Its maker.
        protocol: u8,
        /// The link that it leaves by; `None` for groups and blackholes.
        link: Option<u32>,
    },
}

/// Hears of changes in a namespace, with all their consequences that the kernel tells of (it is silent about routes that
/// go with their link or next hop).
#[derive(Debug)]
pub struct Notices(Listener);

impl Notices {
    /// Hears from now on, in the calling thread's namespace. Up to `receive_bytes` may wait to be read, each notice with
    /// about a kilobyte; beyond the system's limit (`net.core.rmem_max`) only with `CAP_NET_ADMIN` in the first user
    /// namespace.
    ///
    /// # Errors
    /// If the kernel makes no socket.
    pub fn open(receive_bytes: usize) -> Result<(Self, Stop), NetlinkError> {
        let opened = Listener::open(SockProtocol::NetlinkRoute, &GROUPS, receive_bytes);
        let fault = |errno| NetlinkError::new("listen to the kernel's changes", Cause::Socket(errno));
        opened.map(|(listener, stop)| (Self(listener), stop)).map_err(fault)
    }

    /// Does not hear of what is done through `netlink` from now on, as far as the kernel says who did it: it does for all
    /// but forwarding entries and the consequences of a change. So a daemon is not told of its own work.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn ignore(&self, netlink: &Netlink) -> Result<(), NetlinkError> {
        let attached = netlink.socket.port().and_then(|port| self.0.ignore(&[port], None));
        attached.map_err(|errno| NetlinkError::new("leave out our own changes", Cause::Socket(errno)))
    }

    /// Waits for changes, and gives those that there are by then, each once. `None`: the [`Stop`] was dropped.
    ///
    /// # Errors
    /// If the kernel cannot be heard.
    pub fn wait(&mut self) -> Result<Option<BTreeSet<Notice>>, NetlinkError> {
        let mut notices = BTreeSet::new();
        // What is told of something else may be all that there is.
        while notices.is_empty() {
            let heard = self.0.hear(|heard| match heard {
                Heard::Lost => drop(notices.insert(Notice::Lost)),
                Heard::Message(message) => notices.extend(parse(message)),
            });
            if !heard.map_err(|cause| NetlinkError::new("hear of the kernel's changes", cause))? {
                return Ok(None);
            }
        }
        Ok(Some(notices))
    }
}

/// `None`: it is about something else, or cut off.
fn parse(message: Message<'_>) -> Option<Notice> {
    let body = message.payload;
    // Those of links, addresses and neighbours have the link's index at the same place.
    let link = || body.get(4..8).and_then(ne32);
    match message.kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => link().map(Notice::Link),
        libc::RTM_NEWADDR | libc::RTM_DELADDR => link().map(Notice::Address),
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => link().map(Notice::Neighbour),
        // struct rtmsg and struct nhmsg, of 12 and 8 bytes.
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
            let link = find(body.get(12..)?, libc::RTA_OIF).and_then(ne32);
            Some(Notice::Route { protocol: *body.get(5)?, link })
        }
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => {
            let link = find(body.get(8..)?, NHA_OIF).and_then(ne32);
            Some(Notice::Nexthop { protocol: *body.get(2)?, link })
        }
        _ => None,
    }
}
