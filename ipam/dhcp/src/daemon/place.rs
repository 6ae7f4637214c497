//! Where a container's interface is: its namespace, held open, and the link.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::path::Path;

use libcni::netns::{Netns, NetnsError};
use libcni::types::MacAddr;
use linuxnet::NetlinkError;
use linuxnet::link::{self, Dev, Link, LinkEvents};
use linuxnet::netlink::{Netlink, Request};
use linuxnet::udp::{self, PacketSocket, SocketError};

use crate::packet::CLIENT_PORT;

/// Why there is nothing to ask through.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("failed to open netns")]
    Netns(#[from] NetnsError),
    #[error("error looking up \"{0}\": it is not in the container")]
    NoLink(String),
    #[error("\"{0}\" is no Ethernet interface: DHCP needs a hardware address")]
    NoMac(String),
    #[error("\"{link}\" does not have the address {address}")]
    NoAddress { link: String, address: Ipv4Addr },
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// Whether a place is still what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    /// The path leads to no namespace, or to another one.
    NamespaceGone,
    LinkGone,
}

/// A container's interface. The namespace lives at least as long as this, so that a lease can be released through the
/// interface of a container that was killed.
#[derive(Debug)]
pub(super) struct Place {
    netns: Netns,
    events: LinkEvents,
    pub(super) link: Link,
    pub(super) mac: MacAddr,
}

impl Place {
    /// The interface `ifname` in the namespace at `netns`.
    ///
    /// # Errors
    /// [`PlaceError`] if either is not there.
    pub(super) fn open(netns: &Path, ifname: &str) -> Result<Self, PlaceError> {
        let netns = Netns::open(netns)?;
        // Listening comes before looking: nothing can happen unseen between the two.
        let events = LinkEvents::open_in(&netns)?;
        let link = Netlink::open_in(&netns)?.find_link(ifname)?.ok_or_else(|| PlaceError::NoLink(ifname.to_owned()))?;
        let mac = link.mac.filter(|mac| *mac != MacAddr::ZERO).ok_or_else(|| PlaceError::NoMac(ifname.to_owned()))?;
        Ok(Self { netns, events, link, mac })
    }

    /// Readable when links of the namespace change.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Looks whether everything is still there, after a change or for safety. What cannot be examined counts as there.
    pub(super) fn presence(&self) -> Presence {
        self.events.clear();
        let is_same = match Netns::open(self.netns.path()) {
            Ok(now) => now.same_as(&self.netns).unwrap_or(true),
            Err(e) => !e.is_not_found() && !matches!(e, NetnsError::NotANamespace { .. }),
        };
        if !is_same {
            return Presence::NamespaceGone;
        }
        let found = Netlink::open_in(&self.netns).and_then(|mut netlink| netlink.find_link_by_index(self.link.index));
        if matches!(found, Ok(None)) { Presence::LinkGone } else { Presence::Here }
    }

    /// Sets the interface up, if it is not.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn set_up(&self) -> Result<(), PlaceError> {
        if self.link.is_up { Ok(()) } else { self.change(link::set_up(self.dev())) }
    }

    /// Sets the interface down: its address must not be used any more.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn set_down(&self) -> Result<(), PlaceError> {
        self.change(link::set_down(self.dev()))
    }

    fn change(&self, request: Request) -> Result<(), PlaceError> {
        Ok(Netlink::open_in(&self.netns)?.run(request)?)
    }

    fn dev(&self) -> Dev<'_> {
        Dev::from(&self.link)
    }

    /// A socket for an interface without an address.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn packet_socket(&self) -> Result<PacketSocket, PlaceError> {
        Ok(self.netns.within(|| PacketSocket::open(self.dev(), CLIENT_PORT))??)
    }

    /// A socket for an interface that has `address`. It hears broadcasts, too: that is how servers say NAK.
    ///
    /// # Errors
    /// If the interface does not have it, or another program of the container keeps the port to itself.
    pub(super) fn udp_socket(&self, address: Ipv4Addr) -> Result<UdpSocket, PlaceError> {
        let addresses = Netlink::open_in(&self.netns)?.addresses(self.dev())?;
        if !addresses.iter().any(|found| found.net.addr() == IpAddr::V4(address)) {
            return Err(PlaceError::NoAddress { link: self.link.name.clone(), address });
        }
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
        Ok(self.netns.within(|| udp::bind(self.dev(), any))??)
    }
}
