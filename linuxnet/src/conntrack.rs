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
    /// The kernel does it in one message (4 ms with 4,000 flows present) where it can filter, which Linux before 6.8
    /// cannot; there the flows are listed and removed one by one.
    ///
    /// # Errors
    /// Where the kernel lacks connection tracking, or the privilege is missing.
    pub fn flush_flows(&mut self, flows: &Flows) -> Result<(), NetlinkError> {
        // Where nothing but deletion works, the kernel is too old to filter.
        let outcome = if self.removal() == Removal::Delete {
            self.flush_one_by_one(flows)
        } else {
            match self.request(&delete(flows.family(), &flows.filter())) {
                Err(Cause::Refused(refusal)) if refusal.errno != Errno::EPERM => self.flush_one_by_one(flows),
                outcome => outcome,
            }
        };
        outcome.map_err(|cause| NetlinkError::new(flows.doing(), cause))
    }

    /// Lists all flows and removes those meant: slower than the kernel's filter, and as exact.
    fn flush_one_by_one(&mut self, flows: &Flows) -> Result<(), Cause> {
        let everything = Attributes::new();
        let list = Request {
            subsystem: NFNL_SUBSYS_CTNETLINK,
            message: IPCTNL_MSG_CT_GET,
            family: flows.family(),
            version: 0,
            attributes: &everything,
        };
        let found = self.dump(&list, |family, flow| flows.contain(flow).then(|| (family, one_flow(flow))))?;
        for (family, flow) in found {
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

    /// `AF_*`, or 0 for both.
    fn family(&self) -> u8 {
        match self.address.or(self.answered_by) {
            None => 0,
            Some(IpAddr::V4(_)) => 2,
            Some(IpAddr::V6(_)) => 10,
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
