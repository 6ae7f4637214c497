//! The addresses that nodes get their subnets from.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The addresses that are given to nodes, one subnet each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool<Net> {
    /// `Network`: all of them.
    pub(crate) network: Net,
    /// `SubnetLen`: the prefix length of a node's subnet.
    pub(crate) subnet_len: u8,
    /// `SubnetMin`: the first subnet that is given out. Default: the second of the network.
    pub(crate) first: Net,
    /// `SubnetMax`: the last. Default: the last of the network.
    pub(crate) last: Net,
}

/// A network of one address family, as numbers.
pub(crate) trait Family: Copy {
    type Address: Copy;
    /// Of an address.
    const BITS: u8;
    /// The prefix length of a node's subnet where the network is wide enough for four of them.
    const SUBNET_LEN: u8;
    /// The network of this prefix length at this address, without host bits.
    fn at(address: u128, prefix_len: u8) -> Self;
    fn base(self) -> u128;
    fn prefix_len(self) -> u8;
    fn number(address: Self::Address) -> u128;
}

impl Family for Ipv4Net {
    type Address = Ipv4Addr;
    const BITS: u8 = 32;
    const SUBNET_LEN: u8 = 24;

    fn at(address: u128, prefix_len: u8) -> Self {
        let address = Ipv4Addr::from_bits(u32::try_from(address).unwrap_or(u32::MAX));
        Self::new_assert(address, prefix_len.min(32)).trunc()
    }

    fn base(self) -> u128 {
        self.network().to_bits().into()
    }

    fn prefix_len(self) -> u8 {
        Ipv4Net::prefix_len(&self)
    }

    fn number(address: Ipv4Addr) -> u128 {
        address.to_bits().into()
    }
}

impl Family for Ipv6Net {
    type Address = Ipv6Addr;
    const BITS: u8 = 128;
    const SUBNET_LEN: u8 = 64;

    fn at(address: u128, prefix_len: u8) -> Self {
        Self::new_assert(Ipv6Addr::from_bits(address), prefix_len.min(128)).trunc()
    }

    fn base(self) -> u128 {
        self.network().to_bits()
    }

    fn prefix_len(self) -> u8 {
        Ipv6Net::prefix_len(&self)
    }

    fn number(address: Ipv6Addr) -> u128 {
        address.to_bits()
    }
}

/// What a pool cannot be, and which key says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PoolFault {
    Network(String),
    SubnetLen(String),
    First(String),
    Last(String),
}

impl<Net: Family> Pool<Net> {
    /// The pool of `network`, by flannel's rules: a subnet has room for a gateway and a container, the network for four
    /// subnets, and the first subnet, whose base is the network's, is not given out.
    pub(super) fn new(
        network: Net,
        subnet_len: Option<u8>,
        first: Option<Net::Address>,
        last: Option<Net::Address>,
    ) -> Result<Self, PoolFault> {
        let subnet_len = Self::checked_len(network, subnet_len)?;
        let step = 1 << (Net::BITS - subnet_len);
        let host_bits = u128::MAX >> (128 - u32::from(Net::BITS - network.prefix_len()));
        let end = network.base() + (host_bits - (step - 1));
        let inside = |address: Net::Address| {
            let number = Net::number(address);
            let is_inside = (network.base()..=end).contains(&number) && number.is_multiple_of(step);
            is_inside.then_some(number).ok_or_else(|| format!("the base of a /{subnet_len} of the network"))
        };
        let first = first.map_or(Ok(network.base() + step), inside).map_err(PoolFault::First)?;
        let last = last.map_or(Ok(end), inside).map_err(PoolFault::Last)?;
        if last < first {
            return Err(PoolFault::Last("a subnet that is not before the first one".to_owned()));
        }
        Ok(Self { network, subnet_len, first: Net::at(first, subnet_len), last: Net::at(last, subnet_len) })
    }

    fn checked_len(network: Net, subnet_len: Option<u8>) -> Result<u8, PoolFault> {
        let (longest, least) = (Net::BITS - 2, network.prefix_len() + 2);
        match subnet_len {
            Some(given) if (least..=longest).contains(&given) => Ok(given),
            Some(_) if least <= longest => Err(PoolFault::SubnetLen(format!(
                "a prefix length from {least} (the network must have room for four subnets) to {longest}"
            ))),
            None if network.prefix_len() <= Net::BITS - 4 => Ok(least.max(Net::SUBNET_LEN)),
            _ => Err(PoolFault::Network(format!("a network of prefix length {} or shorter", Net::BITS - 4))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(network: &str, len: Option<u8>, first: Option<&str>, last: Option<&str>) -> Result<Pool<Ipv4Net>, PoolFault> {
        let address = |text: &str| text.parse().unwrap();
        Pool::new(network.parse().unwrap(), len, first.map(address), last.map(address))
    }

    #[test]
    fn sizes_are_flannels() {
        for (network, len, first, last) in [
            ("10.42.0.0/16", 24, "10.42.1.0/24", "10.42.255.0/24"),
            ("10.42.0.0/22", 24, "10.42.1.0/24", "10.42.3.0/24"),
            ("10.42.0.0/24", 26, "10.42.0.64/26", "10.42.0.192/26"),
            ("10.42.0.0/28", 30, "10.42.0.4/30", "10.42.0.12/30"),
            ("0.0.0.0/0", 24, "0.0.1.0/24", "255.255.255.0/24"),
        ] {
            let pool = v4(network, None, None, None).unwrap();
            let text = (pool.subnet_len, pool.first.to_string(), pool.last.to_string());
            assert_eq!(text, (len, first.to_owned(), last.to_owned()), "{network}");
        }
        let pool: Pool<Ipv6Net> = Pool::new("fd42::/56".parse().unwrap(), None, None, None).unwrap();
        assert_eq!((pool.first, pool.last), ("fd42:0:0:1::/64".parse().unwrap(), "fd42:0:0:ff::/64".parse().unwrap()));
        let pool: Pool<Ipv6Net> = Pool::new("::/0".parse().unwrap(), None, None, None).unwrap();
        assert_eq!(pool.last, "ffff:ffff:ffff:ffff::/64".parse().unwrap());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(matches!(v4("10.42.0.0/29", None, None, None), Err(PoolFault::Network(_))));
        assert!(matches!(v4("10.42.0.0/31", Some(30), None, None), Err(PoolFault::Network(_))));
        assert!(matches!(v4("10.42.0.0/23", Some(24), None, None), Err(PoolFault::SubnetLen(_))));
        assert!(matches!(v4("10.42.0.0/16", Some(31), None, None), Err(PoolFault::SubnetLen(_))));
        assert!(matches!(v4("10.42.0.0/16", None, Some("10.43.0.0"), None), Err(PoolFault::First(_))));
        assert!(matches!(v4("10.42.0.0/16", None, None, Some("10.42.9.128")), Err(PoolFault::Last(_))));
        assert!(matches!(v4("10.42.0.0/16", None, Some("10.42.9.0"), Some("10.42.8.0")), Err(PoolFault::Last(_))));
    }
}
