//! Connection tracking: forget flows, so that their next packet meets the rules of now.
//!
//! A published UDP port needs it: packets of a flow that began before the port was published (or before it moved to
//! another container) follow the entry that the flow made then, past all NAT rules, for as long as they keep coming.

use std::net::IpAddr;

use nix::errno::Errno;

use crate::error::{Cause, NetlinkError};
use crate::nft::{Nfnetlink, Removal, Request};
use crate::nl::{Attributes, attributes, be16, find};

// linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h, under their names there.
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
// The bits of the two, of the kernel's net/netfilter/nf_conntrack_netlink.c.
const FILTER_IP_SRC: u32 = 1 << 0;
const FILTER_IP_DST: u32 = 1 << 1;
const FILTER_PROTO_NUM: u32 = 1 << 3;
const FILTER_PROTO_DST_PORT: u32 = 1 << 5;

/// The transport protocol UDP.
pub const UDP: u8 = 17;

/// Which flows are meant: all that match everything given here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// The transport protocol: 6 TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// The port that the flow's first packet was sent to, before any translation.
    pub port: u16,
    /// The address that it was sent to, before any translation; none: any, of both families.
    pub address: Option<IpAddr>,
    /// The address that answers come from: the container's, where the destination was translated. None: any.
    pub answered_by: Option<IpAddr>,
}

impl Nfnetlink {
    /// Forgets these flows. None there is success.
    ///
    /// The kernel does it in one message per family (4 ms with 4,000 flows present) where it can filter. Linux before 6.8 cannot;
    /// and by IPv6 addresses no kernel seen so far can be trusted to. There the flows are listed and removed one by one.
    ///
    /// # Errors
    /// Where the kernel lacks connection tracking, or the privilege is missing.
    pub fn flush_flows(&mut self, flows: &Flows) -> Result<(), NetlinkError> {
        flows
            .families()
            .iter()
            .try_for_each(|family| self.flush_family(flows, *family))
            .map_err(|cause| NetlinkError::new(flows.doing(), cause))
    }

    fn flush_family(&mut self, flows: &Flows, family: u8) -> Result<(), Cause> {
        // Where nothing but deletion works, the kernel is too old to filter.
        if flows.names_ipv6() || self.removal() == Removal::Delete {
            return self.flush_one_by_one(flows, family);
        }
        match self.request(&delete(family, &flows.filter())) {
            Err(Cause::Refused(refusal)) if refusal.errno != Errno::EPERM => self.flush_one_by_one(flows, family),
            outcome => outcome,
        }
    }

    /// Lists the flows to the port and removes those meant.
    fn flush_one_by_one(&mut self, flows: &Flows, family: u8) -> Result<(), Cause> {
        // Lists are filtered by Linux 5.8 and later; elsewhere this is ignored, so each flow is looked at again.
        let to_port = Flows { address: None, answered_by: None, ..*flows }.filter();
        let list = Request {
            subsystem: NFNL_SUBSYS_CTNETLINK,
            message: IPCTNL_MSG_CT_GET,
            family,
            version: 0,
            attributes: &to_port,
        };
        let found = self.dump(&list, |_, flow| flows.contain(flow).then(|| one_flow(flow)))?;
        for flow in found {
            match self.request(&delete(family, &flow)) {
                // Ended meanwhile, or the tuple belongs to a newer flow (the identifier differs).
                Err(Cause::Refused(refusal)) if refusal.errno == Errno::ENOENT => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

/// A request to delete. It must always have CTA_TUPLE_ORIG: without it, it means all flows. A kernel that does not know
/// CTA_FILTER takes the tuple for that of one flow, finds that half of it is missing, and refuses.
fn delete(family: u8, attributes: &Attributes) -> Request<'_> {
    // With version 0 the kernel does not look at the family, and then not at addresses either.
    Request { subsystem: NFNL_SUBSYS_CTNETLINK, message: IPCTNL_MSG_CT_DELETE, family, version: 1, attributes }
}

/// The attributes that name exactly this flow: its tuple, its zone and its identifier.
fn one_flow(flow: &[u8]) -> Attributes {
    let mut a = Attributes::new();
    for kind in [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID] {
        if let Some(value) = find(flow, kind) {
            if kind == CTA_TUPLE_ORIG {
                a.nested(kind, value)
            } else {
                a.bytes(kind, value)
            };
        }
    }
    a
}

impl Flows {
    fn doing(&self) -> String {
        format!("flush flows of protocol {} to port {}", self.protocol, self.port)
    }

    /// The kernel's filter has the comparison of IPv6 addresses the wrong way round (`!ipv6_addr_cmp` in
    /// `ctnetlink_filter_match_tuple`; seen in 6.12 and 6.18): it would spare the flows meant, and remove all others.
    fn names_ipv6(&self) -> bool {
        [self.address, self.answered_by].into_iter().flatten().any(|address| address.is_ipv6())
    }

    /// `AF_*`: the kernel filters one family at a time.
    fn families(&self) -> &'static [u8] {
        match self.address.or(self.answered_by) {
            None => &[2, 10],
            Some(IpAddr::V4(_)) => &[2],
            Some(IpAddr::V6(_)) => &[10],
        }
    }

    /// The request's attributes: the tuples, of which the kernel compares what the flags name.
    fn filter(&self) -> Attributes {
        let mut a = Attributes::new();
        let mut original = FILTER_PROTO_NUM | FILTER_PROTO_DST_PORT;
        a.nest(CTA_TUPLE_ORIG, |tuple| {
            if let Some(address) = self.address {
                original |= FILTER_IP_DST;
                encode_address(tuple, address, CTA_IP_V4_DST, CTA_IP_V6_DST);
            }
            tuple.nest(CTA_TUPLE_PROTO, |proto| {
                proto.u8(CTA_PROTO_NUM, self.protocol).be16(CTA_PROTO_DST_PORT, self.port);
            });
        });
        if let Some(address) = self.answered_by {
            a.nest(CTA_TUPLE_REPLY, |tuple| encode_address(tuple, address, CTA_IP_V4_SRC, CTA_IP_V6_SRC));
        }
        a.nest(CTA_FILTER, |filter| {
            // These two are in the host's byte order, unlike the rest.
            filter.bytes(CTA_FILTER_ORIG_FLAGS, &original.to_ne_bytes());
            if self.answered_by.is_some() {
                filter.bytes(CTA_FILTER_REPLY_FLAGS, &FILTER_IP_SRC.to_ne_bytes());
            }
        });
        a
    }

    /// Whether the flow with these attributes is meant.
    fn contain(&self, flow: &[u8]) -> bool {
        let original = find(flow, CTA_TUPLE_ORIG).unwrap_or_default();
        let reply = find(flow, CTA_TUPLE_REPLY).unwrap_or_default();
        let proto = find(original, CTA_TUPLE_PROTO).unwrap_or_default();
        find(proto, CTA_PROTO_NUM) == Some(&[self.protocol])
            && find(proto, CTA_PROTO_DST_PORT).and_then(be16) == Some(self.port)
            && self.address.is_none_or(|a| address_of(original, CTA_IP_V4_DST, CTA_IP_V6_DST) == Some(a))
            && self.answered_by.is_none_or(|a| address_of(reply, CTA_IP_V4_SRC, CTA_IP_V6_SRC) == Some(a))
    }
}

fn encode_address(tuple: &mut Attributes, address: IpAddr, v4: u16, v6: u16) {
    tuple.nest(CTA_TUPLE_IP, |ip| {
        match address {
            IpAddr::V4(address) => ip.bytes(v4, &address.octets()),
            IpAddr::V6(address) => ip.bytes(v6, &address.octets()),
        };
    });
}

fn address_of(tuple: &[u8], v4: u16, v6: u16) -> Option<IpAddr> {
    attributes(find(tuple, CTA_TUPLE_IP)?).find_map(|(kind, value)| match kind {
        _ if kind == v4 => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        _ if kind == v6 => value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_always_has_the_original_tuple() {
        let flows = Flows { protocol: UDP, port: 5353, address: Some([10, 1, 0, 2].into()), answered_by: None };
        let expected: &[u8] = &[
            36, 0, 1, 0x80, // CTA_TUPLE_ORIG
            12, 0, 1, 0x80, 8, 0, 2, 0, 10, 1, 0, 2, // CTA_TUPLE_IP: CTA_IP_V4_DST
            20, 0, 2, 0x80, 5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 3, 0, 0x14, 0xe9, 0,
            0, // CTA_TUPLE_PROTO: number, port
            12, 0, 25, 0x80, 8, 0, 1, 0, 0x2a, 0, 0, 0, // CTA_FILTER: IP_DST, PROTO_NUM, PROTO_DST_PORT
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(flows.filter().as_bytes(), expected);
        }
        let any = Flows { address: None, ..flows };
        assert!(find(any.filter().as_bytes(), CTA_TUPLE_ORIG).is_some());
        assert_eq!((any.families(), flows.families()), (&[2, 10][..], &[2][..]));
    }

    #[test]
    fn flows_are_told_apart() {
        let meant = Flows { protocol: UDP, port: 53, address: Some([10, 1, 0, 2].into()), answered_by: None };
        let flow = |flows: Flows| flows.filter();
        assert!(meant.contain(flow(meant).as_bytes()));
        for other in [
            Flows { protocol: 6, ..meant },
            Flows { port: 54, ..meant },
            Flows { address: Some([10, 1, 0, 3].into()), ..meant },
            Flows { address: Some(std::net::Ipv6Addr::LOCALHOST.into()), ..meant },
            Flows { address: None, ..meant },
        ] {
            assert!(!meant.contain(flow(other).as_bytes()), "{other:?}");
        }
        assert!(!meant.contain(&[]));
        let answered = Flows { answered_by: Some([10, 9, 9, 9].into()), ..meant };
        assert!(!answered.contain(flow(meant).as_bytes()) && answered.contain(flow(answered).as_bytes()));
    }
}
