//! Tunnels of IPv4 in IPv4 (RFC 2003).

use std::net::Ipv4Addr;

use crate::netlink::Netlink;
use crate::nl::{Attributes, attributes, find, ne32};
use crate::packet::{InfoData, InfoKind};

use super::create::{LinkError, NewLink};

/// `IFLA_IPTUN_*` of linux/if_tunnel.h.
const LINK: u16 = 1;
const LOCAL: u16 = 2;
const REMOTE: u16 = 3;
const TTL: u16 = 4;
const TOS: u16 = 5;
const FLAGS: u16 = 8;
const PROTO: u16 = 9;
const PMTUDISC: u16 = 10;
/// `IPPROTO_IPIP`.
const IPIP: u8 = 4;

/// What a tunnel of IP in IP is set to. The other end is each route's gateway, unless there is one for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipip {
    /// The address that it sends from; `None`: what the route says.
    pub local: Option<Ipv4Addr>,
    /// The index of the link that it sends by; `None`: what the route says.
    pub lower: Option<u32>,
    /// It has options that [`Netlink::create_ipip`] never sets: one other end for all, a TTL.
    pub has_other_options: bool,
}

impl Netlink {
    /// Makes a tunnel to many nodes, down (`ip link add NAME [mtu MTU] type ipip local LOCAL`): each packet goes to the
    /// gateway of its route. The path MTU is told to senders (`pmtudisc`), whose TTL is kept. `mtu` is in bytes.
    ///
    /// # Errors
    /// [`LinkError::NoSuchKind`], or a refusal: the name is taken (`EEXIST`), or another tunnel has this address.
    pub fn create_ipip(&mut self, name: &str, mtu: Option<u32>, local: Ipv4Addr) -> Result<(), LinkError> {
        self.create(&NewLink { mtu, ..NewLink::called(name) }, &InfoKind::IpIp, &data(local))
    }
}

fn data(local: Ipv4Addr) -> InfoData {
    let mut data = Attributes::new();
    data.bytes(LOCAL, &local.octets()).u8(PMTUDISC, 1).u8(PROTO, IPIP);
    InfoData::Other(data.as_bytes().to_vec())
}

/// Reads the `IFLA_INFO_DATA` of a tunnel.
pub(super) fn parse(data: &[u8]) -> Ipip {
    let address = |kind| find(data, kind).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(Ipv4Addr::from);
    let is_set = |(kind, value): (u16, &[u8])| match kind {
        REMOTE | TTL | TOS | FLAGS => value.iter().any(|byte| *byte != 0),
        // 0 is any, which flannel's tunnel takes.
        PROTO => !matches!(value, [0 | IPIP]),
        _ => false,
    };
    Ipip {
        local: address(LOCAL).filter(|local| !local.is_unspecified()),
        lower: find(data, LINK).and_then(ne32).filter(|index| *index != 0),
        has_other_options: attributes(data).any(is_set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_ip_link_says() {
        // ip link add t0 type ipip local 192.0.2.1 (strace; iproute2 6.1 says all the rest, too, which is 0)
        let said = [
            5, 0, 9, 0, 0, 0, 0, 0, 8, 0, 2, 0, 192, 0, 2, 1, 5, 0, 10, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 0, 0, 5, 0, 4,
            0, 0, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0,
        ];
        let wanted = Ipip { local: Some(Ipv4Addr::new(192, 0, 2, 1)), lower: None, has_other_options: false };
        assert_eq!(parse(&said), wanted);
        let InfoData::Other(ours) = data(Ipv4Addr::new(192, 0, 2, 1)) else { panic!("not written here") };
        assert_eq!(ours.get(..16).unwrap(), said.get(8..24).unwrap());
        assert_eq!(parse(&ours), wanted);
        // remote 192.0.2.7
        assert!(parse(&[&said[..], &[8, 0, 3, 0, 192, 0, 2, 7]].concat()).has_other_options);
    }
}
