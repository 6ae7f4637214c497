//! Choosing a subnet that nobody has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::network::Pool;

/// The first subnet of `pool` that overlaps none of `taken`. The search begins at a place that depends on the node's
/// name, so that a node finds its subnet again, and nodes that start at once rarely want the same one. `None`: all are
/// taken.
pub(crate) fn free_subnet<Net: Into<IpNet> + Copy>(pool: &Pool<Net>, name: &str, taken: &[IpNet]) -> Option<IpNet> {
    let slots = Slots::of(pool)?;
    let mut used: Vec<(u128, u128)> = taken.iter().filter_map(|subnet| slots.covered(*subnet)).collect();
    used.sort_unstable();
    let begin = start(name, slots.count);
    let slot = first_gap(&used, begin, slots.count).or_else(|| first_gap(&used, 0, begin))?;
    slots.subnet(slot)
}

/// Whether `pool` would give out `subnet`.
pub(crate) fn is_of_pool<Net: Into<IpNet> + Copy>(pool: &Pool<Net>, subnet: IpNet) -> bool {
    let covered = || Slots::of(pool)?.covered(subnet);
    let network: IpNet = pool.network.into();
    subnet.prefix_len() == pool.subnet_len && network.contains(&subnet) && covered().is_some()
}

/// The subnets of a pool, numbered from 0.
struct Slots {
    first: u128,
    count: u128,
    /// The prefix length of a subnet, and the bits of an address behind it.
    prefix: u8,
    host_bits: u32,
    v4: bool,
}

impl Slots {
    /// `None`: a pool without subnets.
    fn of<Net: Into<IpNet> + Copy>(pool: &Pool<Net>) -> Option<Self> {
        let (first, last): (IpNet, IpNet) = (pool.first.into(), pool.last.into());
        let host_bits = u32::from(first.max_prefix_len().checked_sub(pool.subnet_len)?);
        let first = bits(first.network());
        let count = bits(last.network()).checked_sub(first)?.checked_shr(host_bits)? + 1;
        Some(Self { first, count, prefix: pool.subnet_len, host_bits, v4: last.addr().is_ipv4() })
    }

    /// The first and the last slot that a subnet takes; `None`: it takes none.
    fn covered(&self, subnet: IpNet) -> Option<(u128, u128)> {
        if subnet.addr().is_ipv4() != self.v4 {
            return None;
        }
        let end = bits(subnet.broadcast()).checked_sub(self.first)?.checked_shr(self.host_bits)?;
        let begin = bits(subnet.network()).saturating_sub(self.first).checked_shr(self.host_bits)?;
        (begin < self.count).then_some((begin, end.min(self.count - 1)))
    }

    fn subnet(&self, slot: u128) -> Option<IpNet> {
        let address = self.first + slot.checked_shl(self.host_bits)?;
        let address = match self.v4 {
            true => IpAddr::V4(Ipv4Addr::from(u32::try_from(address).ok()?)),
            false => IpAddr::V6(Ipv6Addr::from(address)),
        };
        IpNet::new(address, self.prefix).ok()
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// Where the search begins, below `count`: the same on every machine and in every release.
fn start(name: &str, count: u128) -> u128 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(16).fold(0, |number: u128, byte| number << 8 | u128::from(*byte)) % count
}

/// The first number from `from` to below `end` that is in none of the ranges, which are sorted.
fn first_gap(used: &[(u128, u128)], from: u128, end: u128) -> Option<u128> {
    let past =
        used.iter().fold(from, |free, (begin, last)| if (*begin..=*last).contains(&free) { last + 1 } else { free });
    (past < end).then_some(past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::{Ipv4Net, Ipv6Net};

    fn pool(network: &str, subnet_len: u8, first: &str, last: &str) -> Pool<Ipv4Net> {
        let net = |text: &str| text.parse().unwrap();
        Pool { network: net(network), subnet_len, first: net(first), last: net(last) }
    }

    #[test]
    fn a_full_pool_gives_every_subnet_once_and_then_none() {
        let pool = pool("10.42.0.0/16", 24, "10.42.1.0/24", "10.42.255.0/24");
        let mut taken: Vec<IpNet> = Vec::new();
        while let Some(subnet) = free_subnet(&pool, &format!("node{}", taken.len()), &taken) {
            assert!(is_of_pool(&pool, subnet), "{subnet}");
            assert!(!taken.contains(&subnet), "{subnet}");
            taken.push(subnet);
        }
        assert_eq!(taken.len(), 255);
    }

    #[test]
    fn what_overlaps_is_taken_however_large_or_small_it_is() {
        let pool = pool("10.42.0.0/16", 24, "10.42.1.0/24", "10.42.4.0/24");
        let taken = ["10.42.0.0/23", "10.42.2.7/32", "10.42.4.0/22", "10.0.0.0/24", "fd00::/8"];
        let taken: Vec<IpNet> = taken.map(|text| text.parse().unwrap()).into();
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(free_subnet(&pool, name, &taken), Some("10.42.3.0/24".parse().unwrap()));
        }
        assert_eq!(free_subnet(&pool, "a", &["10.0.0.0/8".parse().unwrap()]), None);
    }

    #[test]
    fn a_name_finds_the_same_subnet_in_every_release() {
        let pool4 = pool("10.42.0.0/16", 24, "10.42.1.0/24", "10.42.255.0/24");
        let net = |text: &str| text.parse::<Ipv6Net>().unwrap();
        let pool6 = Pool {
            network: net("fd00:42::/48"),
            subnet_len: 64,
            first: net("fd00:42:0:1::/64"),
            last: net("fd00:42:0:ffff::/64"),
        };
        assert_eq!(free_subnet(&pool4, "n1", &[]).unwrap().to_string(), "10.42.163.0/24");
        assert_eq!(free_subnet(&pool6, "n1", &[]).unwrap().to_string(), "fd00:42:0:2b78::/64");
    }

    #[test]
    fn a_subnet_of_another_length_or_place_is_not_of_the_pool() {
        let pool = pool("10.42.0.0/16", 24, "10.42.1.0/24", "10.42.4.0/24");
        let is = |text: &str| is_of_pool(&pool, text.parse().unwrap());
        assert!(is("10.42.1.0/24") && is("10.42.4.0/24"));
        assert!(
            !is("10.42.0.0/24")
                && !is("10.42.5.0/24")
                && !is("10.42.1.0/25")
                && !is("10.43.1.0/24")
                && !is("fd00::/24")
        );
    }
}
