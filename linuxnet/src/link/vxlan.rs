//! VXLAN links: Ethernet in UDP (RFC 7348), one link to many nodes.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use libcni::types::MacAddr;
use nix::libc;

use crate::addr::ip;
use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, attributes, be16, find, ne32};
use crate::packet::{InfoData, InfoKind};

use super::create::{LinkError, NewLink};
use super::{Dev, flag};

/// `IFLA_VXLAN_*` of linux/if_link.h.
const ID: u16 = 1;
const GROUP: u16 = 2;
const LINK: u16 = 3;
const LOCAL: u16 = 4;
const LEARNING: u16 = 7;
const PORT: u16 = 15;
const GROUP6: u16 = 16;
const LOCAL6: u16 = 17;
const UDP_CSUM: u16 = 18;
const GBP: u16 = 23;
const COLLECT_METADATA: u16 = 25;
const GPE: u16 = 27;
const VNIFILTER: u16 = 30;
/// What else changes packets or where they go, 0 where it is not set: TTL, TOS, a limit of entries, PROXY, RSC, L2MISS,
/// L3MISS, UDP_ZERO_CSUM6_TX and _RX, REMCSUM_TX and _RX, LABEL, TTL_INHERIT, DF.
const OTHERS: [u16; 14] = [5, 6, 9, 11, 12, 13, 14, 19, 20, 21, 22, 26, 28, 29];

/// `RTM_*TUNNEL` and `VXLAN_VNIFILTER_*` of linux/if_link.h.
const RTM_NEWTUNNEL: u16 = 120;
const RTM_DELTUNNEL: u16 = 121;
const RTM_GETTUNNEL: u16 = 122;
const ENTRY: u16 = 1;
const ENTRY_START: u16 = 1;
const ENTRY_END: u16 = 2;
/// `struct tunnel_msg`: family, flags, reserved (u16), index (u32).
const TUNNEL_HEADER: usize = 8;

/// What a VXLAN link is set to. All but the learning is fixed when it is made: a link that differs must be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// Which networks it is of.
    pub vnis: Vnis,
    /// The address that it sends from; what family it sends over. `None`: what the route says, over IPv4; with
    /// [`Vnis::External`] each packet says it.
    pub local: Option<IpAddr>,
    /// The index of the link that it sends by; `None`: what the route says.
    pub lower: Option<u32>,
    /// UDP port, here and there.
    pub port: u16,
    /// It learns from frames where a hardware address is.
    pub learning: bool,
    /// Group based policy extension: the packet's mark travels along.
    pub gbp: bool,
    /// It has options that [`Netlink::create_vxlan`] never sets: a multicast group, answers to ARP, another header.
    pub has_other_options: bool,
}

/// Which networks a VXLAN link is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vnis {
    /// The one with this number, 1 to 16777215; frames go where [`crate::fdb`] says.
    One(u32),
    /// Each packet says it, by its route's tunnel ([`crate::nexthop::Encap`]).
    ///
    /// Such a link listens on its port over both families, whatever its [`local`](Vxlan::local) is: of two of them with
    /// one VNI and one port, one for each family, only one gets frames. One such link can send over both families.
    External {
        /// Frames of those VNIs come in that were added ([`add_vni`]; Linux 5.18), so that links beside it may have
        /// others. Otherwise of all.
        filter: bool,
    },
}

impl Vxlan {
    /// A link of the network `vni` that sends from `local` by the link with index `lower`, and learns nothing.
    #[must_use]
    pub fn new(vnis: Vnis, local: IpAddr, lower: u32, port: u16) -> Self {
        Self {
            vnis,
            local: Some(local),
            lower: Some(lower),
            port,
            learning: false,
            gbp: false,
            has_other_options: false,
        }
    }

    /// `IFLA_INFO_DATA`.
    fn data(&self) -> InfoData {
        let mut data = Attributes::new();
        match self.vnis {
            Vnis::One(vni) => {
                data.ne32(ID, vni);
            }
            Vnis::External { filter } => {
                data.u8(COLLECT_METADATA, 1);
                if filter {
                    data.u8(VNIFILTER, 1);
                }
            }
        }
        if let Some(lower) = self.lower {
            data.ne32(LINK, lower);
        }
        if let Some(local) = self.local {
            data.ip(if local.is_ipv4() { LOCAL } else { LOCAL6 }, local);
        }
        // Checksums over IPv4 are left to the packets inside, as flannel's links do; over IPv6 they are a must.
        data.u8(LEARNING, u8::from(self.learning)).u8(UDP_CSUM, 0).be16(PORT, self.port);
        if self.gbp {
            data.bytes(GBP, &[]);
        }
        InfoData::Other(data.as_bytes().to_vec())
    }
}

impl Netlink {
    /// Makes a VXLAN link, down (`ip link add NAME [address MAC] [mtu MTU] type vxlan id VNI|external vnifilter local
    /// ADDR dev LOWER dstport PORT nolearning noudpcsum [gbp]`). `mtu` is in bytes.
    ///
    /// # Errors
    /// [`LinkError::NoSuchKind`], or a refusal: the name is taken (`EEXIST`), or another link has this VNI and port here,
    /// as the kernel says then; a kernel before 5.18 has no filter of VNIs (`EINVAL`).
    pub fn create_vxlan(
        &mut self,
        name: &str,
        mac: Option<MacAddr>,
        mtu: Option<u32>,
        vxlan: &Vxlan,
    ) -> Result<(), LinkError> {
        self.create(&NewLink { mac, mtu, ..NewLink::called(name) }, &InfoKind::Vxlan, &vxlan.data())
    }

    /// The VNIs of a link with a filter (`bridge vni show dev DEV`). None where the kernel has no such filters.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn vnis(&mut self, dev: Dev<'_>) -> Result<Vec<RangeInclusive<u32>>, NetlinkError> {
        let request = Request::of_parts(
            format!("list the VNIs of {}", dev.name),
            RTM_GETTUNNEL,
            Mode::Change,
            &tunnel_header(dev),
            &Attributes::new(),
        );
        match self.dump(&request, |bytes| Some(parse_vnis(bytes, dev.index))) {
            Ok(parts) => Ok(parts.into_iter().flatten().collect()),
            Err(e) if e.is_unsupported_operation() || e.is_not_found() => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }
}

/// Lets frames of a VNI into a link with a filter (`bridge vni add dev DEV vni VNI`).
#[must_use]
pub fn add_vni(dev: Dev<'_>, vni: u32) -> Request {
    vni_request(RTM_NEWTUNNEL, format!("add VNI {vni} to {}", dev.name), dev, &(vni..=vni))
}

/// Keeps frames of these VNIs out of a link with a filter (`bridge vni del dev DEV vni FIRST-LAST`).
#[must_use]
pub fn remove_vnis(dev: Dev<'_>, vnis: &RangeInclusive<u32>) -> Request {
    let doing = format!("remove VNIs {} to {} from {}", vnis.start(), vnis.end(), dev.name);
    vni_request(RTM_DELTUNNEL, doing, dev, vnis)
}

fn vni_request(kind: u16, doing: String, dev: Dev<'_>, vnis: &RangeInclusive<u32>) -> Request {
    let mut attributes = Attributes::new();
    attributes.nest(ENTRY, |entry| {
        entry.ne32(ENTRY_START, *vnis.start());
        if vnis.end() != vnis.start() {
            entry.ne32(ENTRY_END, *vnis.end());
        }
    });
    Request::of_parts(doing, kind, Mode::Change, &tunnel_header(dev), &attributes)
}

fn tunnel_header(dev: Dev<'_>) -> [u8; TUNNEL_HEADER] {
    let [i0, i1, i2, i3] = dev.index.to_ne_bytes();
    [u8::try_from(libc::AF_BRIDGE).unwrap_or_default(), 0, 0, 0, i0, i1, i2, i3]
}

/// Reads an `RTM_NEWTUNNEL` of the link with this index.
fn parse_vnis(message: &[u8], link: u32) -> Vec<RangeInclusive<u32>> {
    if message.get(4..TUNNEL_HEADER).and_then(ne32) != Some(link) {
        return Vec::new();
    }
    let entry = |list: &[u8]| {
        let start = find(list, ENTRY_START).and_then(ne32)?;
        Some(start..=find(list, ENTRY_END).and_then(ne32).unwrap_or(start))
    };
    let entries = attributes(message.get(TUNNEL_HEADER..).unwrap_or_default());
    entries.filter(|(kind, _)| *kind == ENTRY).filter_map(|(_, list)| entry(list)).collect()
}

/// Reads the `IFLA_INFO_DATA` of a VXLAN link.
pub(super) fn parse(data: &[u8]) -> Option<Vxlan> {
    let vnis = if flag(data, COLLECT_METADATA) {
        Vnis::External { filter: flag(data, VNIFILTER) }
    } else {
        Vnis::One(find(data, ID).and_then(ne32)?)
    };
    let address = |kinds: [u16; 2]| kinds.iter().find_map(|kind| find(data, *kind).and_then(ip));
    let is_set = |(kind, value): (u16, &[u8])| match kind {
        GPE => true,
        kind => OTHERS.contains(&kind) && value.iter().any(|byte| *byte != 0),
    };
    Some(Vxlan {
        vnis,
        local: address([LOCAL, LOCAL6]),
        lower: find(data, LINK).and_then(ne32),
        port: find(data, PORT).and_then(be16)?,
        learning: flag(data, LEARNING),
        gbp: find(data, GBP).is_some(),
        has_other_options: address([GROUP, GROUP6]).is_some() || attributes(data).any(is_set),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VY: Dev<'static> = Dev { index: 5, name: "vy" };

    fn bytes(vxlan: &Vxlan) -> Vec<u8> {
        let InfoData::Other(bytes) = vxlan.data() else { panic!("not written here") };
        bytes
    }

    /// What iproute2 6.1 sends, by strace (with the attributes in this order).
    #[test]
    fn says_what_ip_link_says() {
        // ip link add vx type vxlan id 1 local 192.0.2.1 dev e0 dstport 8472 nolearning noudpcsum
        let mut vxlan = Vxlan::new(Vnis::One(1), "192.0.2.1".parse().unwrap(), 3, 8472);
        let mut expected = vec![
            8, 0, 1, 0, 1, 0, 0, 0, 8, 0, 3, 0, 3, 0, 0, 0, 8, 0, 4, 0, 192, 0, 2, 1, // ID, LINK, LOCAL
            5, 0, 7, 0, 0, 0, 0, 0, 5, 0, 18, 0, 0, 0, 0, 0, 6, 0, 15, 0, 0x21, 0x18, 0,
            0, // LEARNING, CSUM, PORT
        ];
        assert_eq!(bytes(&vxlan), expected);
        assert_eq!(parse(&expected), Some(vxlan));
        vxlan.gbp = true;
        expected.extend_from_slice(&[4, 0, 23, 0]);
        assert_eq!(bytes(&vxlan), expected);
        assert_eq!(parse(&expected), Some(vxlan));
        // ip link add vy type vxlan external vnifilter dstport 4789 nolearning (and noudpcsum)
        let vnis = Vnis::External { filter: true };
        let external = Vxlan { local: None, lower: None, port: 4789, gbp: false, vnis, ..vxlan };
        let expected = [
            5, 0, 25, 0, 1, 0, 0, 0, 5, 0, 30, 0, 1, 0, 0, 0, // COLLECT_METADATA, VNIFILTER
            5, 0, 7, 0, 0, 0, 0, 0, 5, 0, 18, 0, 0, 0, 0, 0, 6, 0, 15, 0, 0x12, 0xb5, 0, 0,
        ];
        assert_eq!(bytes(&external), expected);
        assert_eq!(parse(&expected), Some(external));
    }

    #[test]
    fn an_option_of_somebody_else_is_seen() {
        let plain = Vxlan::new(Vnis::One(1), "fd00::1".parse().unwrap(), 3, 8472);
        let with = |option: &[u8]| parse(&[&bytes(&plain), option].concat()).unwrap().has_other_options;
        // As Linux 6.18 lists a link without any: TTL, PROXY, DF, LABEL of 0.
        let none = [5, 0, 5, 0, 0, 0, 0, 0, 5, 0, 11, 0, 0, 0, 0, 0, 5, 0, 29, 0, 0, 0, 0, 0, 8, 0, 26, 0, 0, 0, 0, 0];
        assert!(!with(&none));
        assert!(with(&[5, 0, 11, 0, 1, 0, 0, 0])); // PROXY
        assert!(with(&[8, 0, 2, 0, 239, 1, 1, 1])); // GROUP
        assert!(with(&[4, 0, 27, 0])); // GPE
    }

    #[test]
    fn says_what_bridge_vni_says() {
        // bridge vni add dev vy vni 1 (strace)
        let expected = [7, 0, 0, 0, 5, 0, 0, 0, 12, 0, 1, 0x80, 8, 0, 1, 0, 1, 0, 0, 0];
        assert_eq!(add_vni(VY, 1).body(), expected);
        assert_eq!(parse_vnis(&expected, 5), [1..=1]);
        assert_eq!(parse_vnis(&expected, 6), []);
        // bridge vni del dev vy vni 3-7
        let request = remove_vnis(VY, &(3..=7));
        assert_eq!(request.doing(), "remove VNIs 3 to 7 from vy");
        assert_eq!(request.body().get(8..12).unwrap(), [20, 0, 1, 0x80]);
        assert_eq!(parse_vnis(request.body(), 5), [3..=7]);
    }
}
