//! Neighbours: which hardware address an IP address on a link has (`ip neigh`).

use std::net::IpAddr;

use libcni::types::MacAddr;
use nix::libc;

use crate::addr::ip;
use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{attributes, ne32};
use crate::packet::{AddressFamily, NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};

/// `NDA_DST` and `NDA_LLADDR` of linux/neighbour.h, and the state of entries that stay.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
/// The state of entries that the kernel makes for addresses that need no asking.
const NUD_NOARP: u16 = 0x40;

/// What the kernel knows of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The index of the link that it is on.
    pub link: u32,
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address, if it is known and Ethernet.
    pub mac: Option<MacAddr>,
    /// Somebody set it; it was not asked for on the link, and does not age.
    pub is_permanent: bool,
    /// The kernel made it, for an address that needs no asking: multicast, or on a link without hardware addresses.
    pub is_automatic: bool,
}

impl Netlink {
    /// The neighbours on all links, of both families (`ip neigh show`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn all_neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        let message = NeighbourMessage::default();
        self.dump(&Request::new("list neighbours", libc::RTM_GETNEIGH, Mode::Change, &message), parse)
    }

    /// The neighbours on a link, of both families (`ip neigh show dev DEV`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn neighbours(&mut self, dev: Dev<'_>) -> Result<Vec<Neighbour>, NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.attributes.push(NeighbourAttribute::IfIndex(dev.index));
        let request =
            Request::new(format!("list neighbours on {}", dev.name), libc::RTM_GETNEIGH, Mode::Change, &message);
        self.dump(&request, |bytes| parse(bytes).filter(|neighbour| neighbour.link == dev.index))
    }
}

/// Sets a neighbour for good, whatever was known of it (`ip neigh replace IP lladdr MAC dev DEV nud permanent`).
#[must_use]
pub fn set(dev: Dev<'_>, ip: IpAddr, mac: MacAddr) -> Request {
    let mut message = message(dev, ip);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    let doing = format!("set neighbour {ip} on {} to {mac}", dev.name);
    Request::new(doing, libc::RTM_NEWNEIGH, Mode::Replace, &message)
}

/// Forgets a neighbour (`ip neigh del IP dev DEV`). One that is not there is refused
/// ([`NetlinkError::is_not_found`]).
#[must_use]
pub fn remove(dev: Dev<'_>, ip: IpAddr) -> Request {
    let doing = format!("remove neighbour {ip} from {}", dev.name);
    Request::new(doing, libc::RTM_DELNEIGH, Mode::Change, &message(dev, ip))
}

fn message(dev: Dev<'_>, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = dev.index;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(ip)));
    message
}

/// Reads an `RTM_NEWNEIGH`. `None`: it is of another family, or cut off.
fn parse(message: &[u8]) -> Option<Neighbour> {
    // struct ndmsg: family, 3 bytes pad, index (i32), state (u16), flags, type.
    let link = message.get(4..8).and_then(ne32)?;
    let state = u16::from_ne_bytes(*message.get(8..)?.first_chunk()?);
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes(message.get(12..)?) {
        match kind {
            NDA_DST => address = ip(value),
            NDA_LLADDR => mac = MacAddr::from_bytes(value),
            _ => {}
        }
    }
    let is_permanent = state & NUD_PERMANENT != 0;
    let is_automatic = !is_permanent && state & NUD_NOARP != 0;
    Some(Neighbour { link, ip: address?, mac, is_permanent, is_automatic })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_ip_neigh_says() {
        // ip neigh replace 10.1.0.9 lladdr 0a:58:0a:01:00:09 dev eth0 nud permanent
        let dev = Dev { index: 3, name: "eth0" };
        let request = set(dev, "10.1.0.9".parse().unwrap(), "0a:58:0a:01:00:09".parse().unwrap());
        let expected: &[u8] = &[
            2, 0, 0, 0, 3, 0, 0, 0, 0x80, 0, 0, 0, // ndmsg
            8, 0, 1, 0, 10, 1, 0, 9, // NDA_DST
            10, 0, 2, 0, 0x0a, 0x58, 0x0a, 1, 0, 9, 0, 0, // NDA_LLADDR
        ];
        assert_eq!(request.body(), expected);
        let read = parse(request.body()).unwrap();
        assert_eq!(
            (read.link, read.mac, read.is_permanent),
            (3, MacAddr::from_bytes(&[0x0a, 0x58, 0x0a, 1, 0, 9]), true)
        );
        assert_eq!(parse(&expected[..10]), None);
    }
}
