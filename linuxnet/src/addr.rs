//! Addresses of links (`ip address`).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use nix::libc;

use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, attributes, ne32};
use crate::packet::{AddressAttribute, AddressFamily, AddressFlags, AddressMessage};

/// `IFA_TARGET_NETNSID` of linux/if_addr.h, which libc lacks.
const IFA_TARGET_NETNSID: u16 = 10;
/// `struct ifaddrmsg`, in bytes: family, prefix length, flags, scope, index.
const HEADER: usize = 8;

/// Whether the kernel asks the link if somebody has an IPv6 address already, before it uses it (duplicate address
/// detection, RFC 4862). IPv4 has no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dad {
    /// No: the address works at once (`IFA_F_NODAD`). For addresses that IPAM gives out once.
    Skip,
    /// Yes: for one to two seconds the address is tentative and not used.
    Run,
}

/// An address of a link, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The index of its link.
    pub link: u32,
    /// The address with the prefix length of its subnet.
    pub net: IpNet,
    /// Its scope as in rtnetlink(7): 0 universe, 253 link, 254 host.
    pub scope: u8,
    /// The subnet's broadcast address, if one is set.
    pub broadcast: Option<Ipv4Addr>,
    /// It is not used yet: duplicate address detection runs.
    pub is_tentative: bool,
    /// Somebody else on the link has it.
    pub is_duplicate: bool,
    /// It was set by somebody, not learnt from a router.
    pub is_permanent: bool,
    /// The kernel made no route to its subnet for it ([`add_alone`]).
    pub is_alone: bool,
}

impl Netlink {
    /// The addresses of all links, in the kernel's order (`ip address show`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn all_addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        let message = AddressMessage::default();
        self.dump(&Request::new("list addresses", libc::RTM_GETADDR, Mode::Change, &message), parse)
    }

    /// The addresses of all links of the namespace that has the number `netns_id` here, as
    /// [`Link::link_netns_id`](crate::link::Link::link_netns_id) names it: without a path that leads there. Before Linux
    /// 4.20 those of this namespace.
    ///
    /// # Errors
    /// If there is no such namespace, or it is not this user's.
    pub fn addresses_in_namespace(&mut self, netns_id: u32) -> Result<Vec<Address>, NetlinkError> {
        let mut attributes = Attributes::new();
        attributes.ne32(IFA_TARGET_NETNSID, netns_id);
        let doing = format!("list the addresses of network namespace number {netns_id}");
        let request = Request::of_parts(doing, libc::RTM_GETADDR, Mode::Change, &[0; HEADER], &attributes);
        self.dump(&request, parse)
    }

    /// The addresses of a link, in the kernel's order (`ip address show dev DEV`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn addresses(&mut self, dev: Dev<'_>) -> Result<Vec<Address>, NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.index = dev.index;
        let request =
            Request::new(format!("list addresses of {}", dev.name), libc::RTM_GETADDR, Mode::Change, &message);
        // Kernels without strict checking list those of all links.
        match self.dump(&request, |bytes| parse(bytes).filter(|address| address.link == dev.index)) {
            Err(e) if e.is_not_found() => Ok(Vec::new()),
            done => done,
        }
    }
}

/// Adds an address (`ip address add NET dev DEV [nodad]`). An IPv4 subnet with room for it gets its broadcast
/// address. An address that is there already is refused ([`NetlinkError::is_exists`]).
#[must_use]
pub fn add(dev: Dev<'_>, net: IpNet, dad: Dad) -> Request {
    request(dev, net, dad_flags(net, dad))
}

/// As [`add`], but without the route to the address's subnet (`… noprefixroute`, `IFA_F_NOPREFIXROUTE`): for subnets
/// that are reached in another way. Linux before 4.16 makes the route of IPv4 all the same.
#[must_use]
pub fn add_alone(dev: Dev<'_>, net: IpNet, dad: Dad) -> Request {
    request(dev, net, dad_flags(net, dad) | AddressFlags::Noprefixroute)
}

fn dad_flags(net: IpNet, dad: Dad) -> AddressFlags {
    if net.addr().is_ipv6() && dad == Dad::Skip { AddressFlags::Nodad } else { AddressFlags::empty() }
}

fn request(dev: Dev<'_>, net: IpNet, flags: AddressFlags) -> Request {
    let mut message = message(dev, net);
    if let IpNet::V4(net) = net
        && net.prefix_len() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
    }
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    Request::new(format!("add address {net} to {}", dev.name), libc::RTM_NEWADDR, Mode::Create, &message)
}

/// Removes an address (`ip address del NET dev DEV`). One that is not there is refused
/// ([`NetlinkError::is_not_found`]).
#[must_use]
pub fn remove(dev: Dev<'_>, net: IpNet) -> Request {
    let doing = format!("remove address {net} from {}", dev.name);
    Request::new(doing, libc::RTM_DELADDR, Mode::Change, &message(dev, net))
}

fn message(dev: Dev<'_>, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = dev.index;
    message.header.prefix_len = net.prefix_len();
    message.header.family = if net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes.push(AddressAttribute::Local(net.addr()));
    message.attributes.push(AddressAttribute::Address(net.addr()));
    message
}

/// Reads an `RTM_NEWADDR`. `None`: it is of another family, or cut off.
fn parse(message: &[u8]) -> Option<Address> {
    // struct ifaddrmsg: family, prefixlen, flags, scope, index (u32).
    let &[_family, prefix, flags, scope] = message.first_chunk()?;
    let link = message.get(4..8).and_then(ne32)?;
    let (mut local, mut address, mut broadcast, mut flags) = (None, None, None, u32::from(flags));
    for (kind, value) in attributes(message.get(8..)?) {
        match kind {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => address = ip(value),
            libc::IFA_BROADCAST => broadcast = value.try_into().ok().map(|bytes: [u8; 4]| Ipv4Addr::from(bytes)),
            libc::IFA_FLAGS => flags = ne32(value)?,
            _ => {}
        }
    }
    // IFA_ADDRESS is the other end's on point-to-point links; IPv6 leaves IFA_LOCAL out where there is no other end.
    let net = IpNet::new(local.or(address)?, prefix).ok()?;
    let flags = AddressFlags::from_bits_retain(flags);
    Some(Address {
        link,
        net,
        scope,
        broadcast,
        is_tentative: flags.contains(AddressFlags::Tentative),
        is_duplicate: flags.contains(AddressFlags::Dadfailed),
        is_permanent: flags.contains(AddressFlags::Permanent),
        is_alone: flags.contains(AddressFlags::Noprefixroute),
    })
}

/// An address of four or sixteen bytes.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH0: Dev<'static> = Dev { index: 3, name: "eth0" };

    #[test]
    fn adds_as_iproute2_does() {
        // ip address add 10.1.0.5/16 brd + dev eth0
        let request = add(ETH0, "10.1.0.5/16".parse().unwrap(), Dad::Skip);
        assert_eq!(request.doing(), "add address 10.1.0.5/16 to eth0");
        let expected: &[u8] = &[
            2, 16, 0, 0, 3, 0, 0, 0, // ifaddrmsg
            8, 0, 2, 0, 10, 1, 0, 5, // IFA_LOCAL
            8, 0, 1, 0, 10, 1, 0, 5, // IFA_ADDRESS
            8, 0, 4, 0, 10, 1, 255, 255, // IFA_BROADCAST
        ];
        assert_eq!(request.body(), expected);
        // No broadcast where there is no room for one.
        assert_eq!(add(ETH0, "10.1.0.5/31".parse().unwrap(), Dad::Skip).body().len(), 24);
    }

    #[test]
    fn nodad_is_said_for_ipv6_alone() {
        // ip address add fd00::5/64 dev eth0 nodad
        let request = add(ETH0, "fd00::5/64".parse().unwrap(), Dad::Skip);
        assert_eq!(request.body().get(..8).unwrap(), [10, 64, 0, 0, 3, 0, 0, 0]);
        assert_eq!(request.body().get(48..).unwrap(), [8, 0, 8, 0, 2, 0, 0, 0]); // IFA_FLAGS: IFA_F_NODAD
        assert_eq!(add(ETH0, "fd00::5/64".parse().unwrap(), Dad::Run).body().len(), 48);
    }

    #[test]
    fn an_address_alone_brings_no_route() {
        // ip address add 10.1.0.5/31 dev eth0 noprefixroute
        let request = add_alone(ETH0, "10.1.0.5/31".parse().unwrap(), Dad::Skip);
        assert_eq!(request.body().get(24..).unwrap(), [8, 0, 8, 0, 0, 2, 0, 0]); // IFA_FLAGS: IFA_F_NOPREFIXROUTE
        // ip address add fd00::5/64 dev eth0 nodad noprefixroute
        let request = add_alone(ETH0, "fd00::5/64".parse().unwrap(), Dad::Skip);
        assert_eq!(request.body().get(48..).unwrap(), [8, 0, 8, 0, 2, 2, 0, 0]);
    }

    #[test]
    fn reads_what_the_kernel_says() {
        // fd00::7/64 on link 2 while duplicate address detection runs, as Linux 6.18 lists it (cache info left out).
        let mut message = vec![10, 64, 0xc0, 0, 2, 0, 0, 0, 20, 0, 1, 0, 0xfd];
        message.extend_from_slice(&[0; 14]);
        message.extend_from_slice(&[7, 8, 0, 8, 0, 0xc0, 0, 0, 0]);
        let address = parse(&message).unwrap();
        assert_eq!((address.link, address.net), (2, "fd00::7/64".parse().unwrap()));
        assert!(address.is_tentative && address.is_permanent && !address.is_duplicate);
        // A point-to-point address: ours is IFA_LOCAL.
        let message = [2, 32, 0, 0, 5, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 1, 8, 0, 2, 0, 10, 0, 0, 2];
        assert_eq!(parse(&message).unwrap().net, "10.0.0.2/32".parse().unwrap());
        for cut in [&[][..], &[2, 32, 0, 0, 5, 0], &[2, 33, 0, 0, 5, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 1]] {
            assert_eq!(parse(cut), None);
        }
    }
}
