//! The forwarding database of a VXLAN link: which node has which hardware address (`bridge fdb … self`).

use std::net::IpAddr;

use libcni::types::MacAddr;
use nix::libc;

use crate::addr::ip;
use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, attributes, be16, ne32};

/// `NDA_*` of linux/neighbour.h.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_PORT: u16 = 6;
const NDA_VNI: u16 = 7;
const NDA_IFINDEX: u16 = 8;
const NDA_SRC_VNI: u16 = 11;
/// The states of entries that stay; the kernel asks for both together, as `bridge fdb` sends them.
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
/// The link's own database, not that of a bridge which it is a port of.
const NTF_SELF: u8 = 2;
/// `struct ndmsg`.
const HEADER: usize = 12;

/// Where frames to a hardware address are sent. An address has several entries if frames to it are sent to several
/// places; of those one is told from the other by all of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The hardware address; all zero: that of no other entry.
    pub mac: MacAddr,
    /// The node that has it; `None`: the link's own remote, or a nexthop object.
    pub dst: Option<IpAddr>,
    /// The node's UDP port, if it is not the link's.
    pub port: Option<u16>,
    /// The VNI to send with, if it is not the link's.
    pub vni: Option<u32>,
    /// The VNI that the frame comes with, on a link with several (`src_vni`).
    pub source_vni: Option<u32>,
    /// The index of the link to leave by, if the route does not say it (`via`).
    pub via: Option<u32>,
    /// Somebody set it, and it does not age.
    pub is_permanent: bool,
}

impl Netlink {
    /// The entries of a VXLAN link (`bridge fdb show dev DEV`). On a port of a bridge those of the bridge for this port
    /// are among them, without [`Entry::dst`].
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn fdb(&mut self, dev: Dev<'_>) -> Result<Vec<Entry>, NetlinkError> {
        let request = Request::of_parts(
            format!("list the forwarding database of {}", dev.name),
            libc::RTM_GETNEIGH,
            Mode::Change,
            &header(dev, 0, 0),
            &Attributes::new(),
        );
        self.dump(&request, |bytes| parse(bytes, dev.index))
    }
}

/// Has frames to `mac` sent to `dst` and nowhere else, whatever was said of it
/// (`bridge fdb replace MAC dev DEV dst DST self permanent`). Multicast addresses and the one of all zeros are refused:
/// they may have several places.
#[must_use]
pub fn set(dev: Dev<'_>, mac: MacAddr, dst: IpAddr) -> Request {
    let mut attributes = Attributes::new();
    attributes.bytes(NDA_LLADDR, &mac.0).ip(NDA_DST, dst);
    let doing = format!("set the forwarding entry {mac} dst {dst} on {}", dev.name);
    let header = header(dev, NUD_NOARP | NUD_PERMANENT, NTF_SELF);
    Request::of_parts(doing, libc::RTM_NEWNEIGH, Mode::Replace, &header, &attributes)
}

/// Removes one entry (`bridge fdb del MAC dev DEV dst DST self`). One that is not there is refused
/// ([`NetlinkError::is_not_found`]).
#[must_use]
pub fn remove(dev: Dev<'_>, entry: &Entry) -> Request {
    let Entry { mac, dst, port, vni, source_vni, via, is_permanent: _ } = entry;
    let mut attributes = Attributes::new();
    attributes.bytes(NDA_LLADDR, &mac.0);
    if let Some(dst) = dst {
        attributes.ip(NDA_DST, *dst);
    }
    if let Some(port) = port {
        attributes.be16(NDA_PORT, *port);
    }
    for (kind, value) in [(NDA_VNI, vni), (NDA_SRC_VNI, source_vni), (NDA_IFINDEX, via)] {
        if let Some(value) = value {
            attributes.ne32(kind, *value);
        }
    }
    let doing = match dst {
        Some(dst) => format!("remove the forwarding entry {mac} dst {dst} from {}", dev.name),
        None => format!("remove the forwarding entry {mac} from {}", dev.name),
    };
    let header = header(dev, NUD_NOARP | NUD_PERMANENT, NTF_SELF);
    Request::of_parts(doing, libc::RTM_DELNEIGH, Mode::Change, &header, &attributes)
}

/// `struct ndmsg`: family, 3 bytes pad, index (i32), state (u16), flags, type. With an index a list is of this link
/// alone.
fn header(dev: Dev<'_>, state: u16, flags: u8) -> [u8; HEADER] {
    let [i0, i1, i2, i3] = dev.index.to_ne_bytes();
    let [s0, s1] = state.to_ne_bytes();
    let family = u8::try_from(libc::AF_BRIDGE).unwrap_or_default();
    [family, 0, 0, 0, i0, i1, i2, i3, s0, s1, flags, 0]
}

/// Reads an `RTM_NEWNEIGH` of the link with this index. `None`: it is another link's, or cut off.
fn parse(message: &[u8], link: u32) -> Option<Entry> {
    if message.get(4..8).and_then(ne32)? != link {
        return None;
    }
    let state = u16::from_ne_bytes(*message.get(8..)?.first_chunk()?);
    let (mut mac, mut dst, mut port, mut vni, mut source_vni, mut via) = (None, None, None, None, None, None);
    for (kind, value) in attributes(message.get(HEADER..)?) {
        match kind {
            NDA_LLADDR => mac = MacAddr::from_bytes(value),
            NDA_DST => dst = ip(value),
            NDA_PORT => port = be16(value),
            NDA_VNI => vni = ne32(value),
            NDA_SRC_VNI => source_vni = ne32(value),
            NDA_IFINDEX => via = ne32(value),
            _ => {}
        }
    }
    Some(Entry { mac: mac?, dst, port, vni, source_vni, via, is_permanent: state & NUD_PERMANENT != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VX: Dev<'static> = Dev { index: 4, name: "vx" };

    fn entry() -> Entry {
        Entry {
            mac: "0a:58:0a:01:00:09".parse().unwrap(),
            dst: Some("192.0.2.7".parse().unwrap()),
            port: None,
            vni: None,
            source_vni: None,
            via: None,
            is_permanent: true,
        }
    }

    /// What iproute2 6.1 sends, by strace.
    const SET: &[u8] = &[
        7, 0, 0, 0, 4, 0, 0, 0, 0xc0, 0, 2, 0, // ndmsg: bridge, link 4, permanent and noarp, self
        10, 0, 2, 0, 0x0a, 0x58, 0x0a, 1, 0, 9, 0, 0, // NDA_LLADDR
        8, 0, 1, 0, 192, 0, 2, 7, // NDA_DST
    ];

    #[test]
    fn says_what_bridge_fdb_says() {
        // bridge fdb replace 0a:58:0a:01:00:09 dev vx dst 192.0.2.7 self permanent
        let request = set(VX, entry().mac, entry().dst.unwrap());
        assert_eq!(request.doing(), "set the forwarding entry 0a:58:0a:01:00:09 dst 192.0.2.7 on vx");
        assert_eq!(request.body(), SET);
        // bridge fdb del 0a:58:0a:01:00:09 dev vx dst 192.0.2.7 self
        assert_eq!(remove(VX, &entry()).body(), SET);
        assert_eq!(parse(SET, 4), Some(entry()));
        assert_eq!(parse(SET, 5), None);
        assert_eq!(parse(&SET[..20], 4), None);
    }

    #[test]
    fn one_of_several_places_is_told_by_all_that_is_said_of_it() {
        // bridge fdb del 0a:58:0a:01:00:09 dev vx dst 192.0.2.7 port 4789 vni 9 via e0 self (attributes in another order)
        let second = Entry { port: Some(4789), vni: Some(9), via: Some(3), ..entry() };
        let request = remove(VX, &second);
        let expected: &[u8] = &[
            6, 0, 6, 0, 0x12, 0xb5, 0, 0, // NDA_PORT
            8, 0, 7, 0, 9, 0, 0, 0, // NDA_VNI
            8, 0, 8, 0, 3, 0, 0, 0, // NDA_IFINDEX
        ];
        assert_eq!(request.body(), [SET, expected].concat());
        assert_eq!(parse(request.body(), 4), Some(second));
    }
}
