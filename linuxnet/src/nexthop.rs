//! Next hop objects: where routes lead, made once and named by a number (`ip nexthop`, Linux 5.3).
//!
//! A route by a link and a gateway is compared with every other of that link when it is made; one by the number of a next
//! hop is not. And a next hop can have a tunnel's end in it (a lightweight tunnel), so that one VXLAN link reaches many
//! nodes without a forwarding entry for each.
//!
//! What the kernel does by itself: a next hop goes when its link goes or is set down, and with a next hop go all routes
//! by it, without a notification for each.

use std::net::IpAddr;

use nix::libc;

use crate::addr::ip;
use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, attributes, be64, find, ne32};

/// `RTM_*NEXTHOP` of linux/rtnetlink.h, and `NHA_*` of linux/nexthop.h.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
/// `LWTUNNEL_ENCAP_IP` and `LWTUNNEL_ENCAP_IP6` of linux/lwtunnel.h.
const ENCAP_IP: u16 = 2;
const ENCAP_IP6: u16 = 4;
/// `LWTUNNEL_IP_*` there; `LWTUNNEL_IP6_*` have the same numbers.
const IP_ID: u16 = 1;
const IP_DST: u16 = 2;
const IP_SRC: u16 = 3;
const IP_FLAGS: u16 = 6;
/// `TUNNEL_CSUM` of linux/if_tunnel.h.
const TUNNEL_CSUM: u16 = 1;
/// `RTNH_F_ONLINK`: the gateway is on the link, whatever the routes say.
const ONLINK: u32 = 4;
/// `struct nhmsg`: family, scope, protocol, reserved, flags (u32).
const HEADER: usize = 8;

/// A next hop by a gateway on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nexthop {
    /// Its number, not 0; one of this namespace.
    pub id: u32,
    /// The index of the link to leave by.
    pub link: u32,
    /// The gateway, of the family of the routes.
    pub gw: IpAddr,
    /// The gateway is on the link, even if no route to it says so.
    pub onlink: bool,
    /// The tunnel to put packets into; for a link that takes it from there (VXLAN's `external`).
    pub encap: Option<Encap>,
    /// Who made it: `RTPROT_…` of linux/rtnetlink.h, or a daemon's own number.
    pub protocol: u8,
}

/// The tunnel of a next hop (`encap ip id VNI dst DST [src SRC]`). Over IPv6 with UDP checksums, without which receivers
/// drop (RFC 6935); over IPv4 without, as VXLAN links of flannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encap {
    /// The VNI.
    pub id: u32,
    /// The other end.
    pub dst: IpAddr,
    /// The address to send from; `None`: what the route to `dst` says. Of the same family.
    pub src: Option<IpAddr>,
}

/// A next hop of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: u32,
    /// Who made it.
    pub protocol: u8,
    /// What it is; `None` if it is nothing that [`set`] makes: a group, a blackhole, one with another tunnel.
    pub nexthop: Option<Nexthop>,
}

impl Netlink {
    /// The next hops by a link (`ip nexthop show dev DEV`). None where the kernel has no next hop objects.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn nexthops_of_link(&mut self, dev: Dev<'_>) -> Result<Vec<Listed>, NetlinkError> {
        let mut attributes = Attributes::new();
        attributes.ne32(NHA_OIF, dev.index);
        self.list_nexthops(format!("list next hops by {}", dev.name), &attributes)
    }

    /// All next hops of the namespace (`ip nexthop show`). None where the kernel has no next hop objects.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn nexthops(&mut self) -> Result<Vec<Listed>, NetlinkError> {
        self.list_nexthops("list next hops".to_owned(), &Attributes::new())
    }

    /// The next hops that are marked with `protocol` (`ip nexthop show proto NUMBER`). None where the kernel has no next
    /// hop objects. (The kernel lists all; others are left out here.)
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn nexthops_of_protocol(&mut self, protocol: u8) -> Result<Vec<Listed>, NetlinkError> {
        let mut all = self.nexthops()?;
        all.retain(|listed| listed.protocol == protocol);
        Ok(all)
    }

    fn list_nexthops(&mut self, doing: String, filter: &Attributes) -> Result<Vec<Listed>, NetlinkError> {
        let request = Request::of_parts(doing, RTM_GETNEXTHOP, Mode::Change, &[0; HEADER], filter);
        match self.dump(&request, parse) {
            Err(e) if e.is_unsupported_operation() || e.is_not_found() => Ok(Vec::new()),
            done => done,
        }
    }
}

/// Makes a next hop (`ip nexthop add id ID via GW dev LINK [onlink] [encap …] protocol NUMBER`). One with this number is
/// refused ([`NetlinkError::is_exists`]). Its link must be up.
#[must_use]
pub fn create(nexthop: &Nexthop) -> Request {
    request(nexthop, "make", Mode::Create)
}

/// Makes a next hop, or has the one with this number lead there, and with it all routes by it (`ip nexthop replace id ID
/// …`). Its link must be up.
#[must_use]
pub fn set(nexthop: &Nexthop) -> Request {
    request(nexthop, "set", Mode::Replace)
}

fn request(nexthop: &Nexthop, verb: &str, mode: Mode) -> Request {
    let Nexthop { id, link, gw, onlink, encap, protocol } = nexthop;
    let mut attributes = Attributes::new();
    attributes.ne32(NHA_ID, *id).ip(NHA_GATEWAY, *gw).ne32(NHA_OIF, *link);
    let mut doing = format!("{verb} next hop {id} via {gw}");
    if let Some(encap) = encap {
        let kind = if encap.dst.is_ipv4() { ENCAP_IP } else { ENCAP_IP6 };
        attributes.nest(NHA_ENCAP, |list| put(encap, list)).bytes(NHA_ENCAP_TYPE, &kind.to_ne_bytes());
        doing = format!("{doing} encap id {} dst {}", encap.id, encap.dst);
    }
    let [f0, f1, f2, f3] = if *onlink { ONLINK } else { 0 }.to_ne_bytes();
    let family = if gw.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let header = [u8::try_from(family).unwrap_or_default(), 0, *protocol, 0, f0, f1, f2, f3];
    Request::of_parts(doing, RTM_NEWNEXTHOP, mode, &header, &attributes)
}

/// Removes a next hop, and with it all routes by it (`ip nexthop del id ID`): remove those first, one by one. One that is
/// not there is refused ([`NetlinkError::is_not_found`]).
#[must_use]
pub fn remove(id: u32) -> Request {
    let mut attributes = Attributes::new();
    attributes.ne32(NHA_ID, id);
    Request::of_parts(format!("remove next hop {id}"), RTM_DELNEXTHOP, Mode::Change, &[0; HEADER], &attributes)
}

fn put(encap: &Encap, list: &mut Attributes) {
    list.be64(IP_ID, u64::from(encap.id)).ip(IP_DST, encap.dst);
    if let Some(src) = encap.src {
        list.ip(IP_SRC, src);
    }
    if encap.dst.is_ipv6() {
        list.be16(IP_FLAGS, TUNNEL_CSUM);
    }
}

/// Reads an `RTM_NEWNEXTHOP`. `None`: it is cut off.
fn parse(message: &[u8]) -> Option<Listed> {
    let &[_family, _scope, protocol, _] = message.first_chunk()?;
    let flags = message.get(4..HEADER).and_then(ne32)?;
    let (mut id, mut link, mut gw, mut kind, mut tunnel, mut is_other) = (0, None, None, None, None, false);
    for (attribute, value) in attributes(message.get(HEADER..)?) {
        match attribute {
            NHA_ID => id = ne32(value)?,
            NHA_OIF => link = ne32(value),
            NHA_GATEWAY => gw = ip(value),
            NHA_ENCAP_TYPE => kind = value.first_chunk().map(|kind| u16::from_ne_bytes(*kind)),
            NHA_ENCAP => tunnel = Some(value),
            _ => is_other = true,
        }
    }
    let encap = kind.and_then(|kind| parse_encap(kind, tunnel?));
    is_other |= kind.is_some() && encap.is_none();
    let onlink = flags & ONLINK != 0;
    let nexthop = match (link, gw) {
        (Some(link), Some(gw)) if !is_other => Some(Nexthop { id, link, gw, onlink, encap, protocol }),
        _ => None,
    };
    Some(Listed { id, protocol, nexthop })
}

/// `None`: it is nothing that [`put`] writes.
fn parse_encap(kind: u16, list: &[u8]) -> Option<Encap> {
    let dst = find(list, IP_DST).and_then(ip)?;
    let flags = find(list, IP_FLAGS).map_or(Some(0), crate::nl::be16)?;
    let expected = if dst.is_ipv4() { (ENCAP_IP, 0) } else { (ENCAP_IP6, TUNNEL_CSUM) };
    if (kind, flags & TUNNEL_CSUM) != expected {
        return None;
    }
    let id = find(list, IP_ID).and_then(be64).and_then(|id| u32::try_from(id).ok())?;
    // The kernel lists all zeros where there is none.
    let src = find(list, IP_SRC).and_then(ip).filter(|src| !src.is_unspecified());
    Some(Encap { id, dst, src })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nexthop(id: u32, link: u32, gw: &str) -> Nexthop {
        Nexthop { id, link, gw: gw.parse().unwrap(), onlink: true, encap: None, protocol: 79 }
    }

    fn listed(nexthop: Nexthop) -> Option<Listed> {
        Some(Listed { id: nexthop.id, protocol: 79, nexthop: Some(nexthop) })
    }

    /// What iproute2 6.1 sends, by strace.
    #[test]
    fn says_what_ip_nexthop_says() {
        // ip nexthop replace id 8 via 10.5.1.0 dev vx onlink protocol 79
        let plain = nexthop(8, 4, "10.5.1.0");
        let expected: &[u8] = &[
            2, 0, 79, 0, 4, 0, 0, 0, // nhmsg: inet, 79, onlink
            8, 0, 1, 0, 8, 0, 0, 0, 8, 0, 6, 0, 10, 5, 1, 0, 8, 0, 5, 0, 4, 0, 0, 0, // id, gateway, link
        ];
        assert_eq!(set(&plain).body(), expected);
        assert_eq!(parse(expected), listed(plain));
        // ip nexthop replace id 7 via 10.5.1.0 dev vy onlink encap ip id 1 dst 192.0.2.7 src 192.0.2.1 protocol 79
        let encap = Encap { id: 1, dst: "192.0.2.7".parse().unwrap(), src: Some("192.0.2.1".parse().unwrap()) };
        let tunnelled = Nexthop { encap: Some(encap), ..nexthop(7, 5, "10.5.1.0") };
        let expected: &[u8] = &[
            2, 0, 79, 0, 4, 0, 0, 0, //
            8, 0, 1, 0, 7, 0, 0, 0, 8, 0, 6, 0, 10, 5, 1, 0, 8, 0, 5, 0, 5, 0, 0, 0, //
            32, 0, 8, 0x80, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, // NHA_ENCAP: LWTUNNEL_IP_ID
            8, 0, 2, 0, 192, 0, 2, 7, 8, 0, 3, 0, 192, 0, 2, 1, // DST, SRC
            6, 0, 7, 0, 2, 0, 0, 0, // NHA_ENCAP_TYPE
        ];
        let request = set(&tunnelled);
        assert_eq!(request.doing(), "set next hop 7 via 10.5.1.0 encap id 1 dst 192.0.2.7");
        assert_eq!(request.body(), expected);
        assert_eq!(parse(expected), listed(tunnelled));
        // ip nexthop del id 7
        assert_eq!(remove(7).body(), [0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 0, 7, 0, 0, 0]);
    }

    #[test]
    fn a_tunnel_over_ipv6_has_checksums() {
        // ip -6 nexthop replace id 9 via fd07:: dev vy onlink encap ip6 id 1 dst fd00::7 csum protocol 79
        let encap = Encap { id: 1, dst: "fd00::7".parse().unwrap(), src: None };
        let wanted = Nexthop { encap: Some(encap), ..nexthop(9, 5, "fd07::") };
        let expected: &[u8] = &[
            10, 0, 79, 0, 4, 0, 0, 0, 8, 0, 1, 0, 9, 0, 0, 0, //
            20, 0, 6, 0, 0xfd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 5, 0, 5, 0, 0, 0, //
            44, 0, 8, 0x80, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, // NHA_ENCAP: LWTUNNEL_IP6_ID
            20, 0, 2, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, // DST
            6, 0, 6, 0, 0, 1, 0, 0, // FLAGS
            6, 0, 7, 0, 4, 0, 0, 0, // NHA_ENCAP_TYPE
        ];
        assert_eq!(set(&wanted).body(), expected);
        assert_eq!(parse(expected), listed(wanted));
        // Without the flag it is another tunnel.
        let mut without = expected.to_vec();
        without[85] = 0;
        assert_eq!(parse(&without), Some(Listed { id: 9, protocol: 79, nexthop: None }));
    }

    #[test]
    fn what_is_never_made_is_listed_by_its_number() {
        // A blackhole (NHA_BLACKHOLE) with number 3, of protocol static.
        let blackhole = [2, 0, 4, 0, 0, 0, 0, 0, 8, 0, 1, 0, 3, 0, 0, 0, 4, 0, 4, 0];
        assert_eq!(parse(&blackhole), Some(Listed { id: 3, protocol: 4, nexthop: None }));
        assert_eq!(parse(&blackhole[..7]), None);
    }
}
