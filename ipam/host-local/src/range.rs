//! Ranges of addresses, and sets of them: what an address may be, and in which order addresses are tried.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use libcni::types::IpConfig;

/// The longest prefixes that leave an address beside network, gateway and (IPv4) broadcast.
const MAX_PREFIX_LEN_V4: u8 = 30;
const MAX_PREFIX_LEN_V6: u8 = 126;

/// Consecutive addresses of one subnet, first and last included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    subnet: IpNet,
    start: IpAddr,
    end: IpAddr,
    gateway: IpAddr,
}

/// What is wrong with a range. The words are the reference's, for those who search for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeFault {
    #[error("Network {0} too small to allocate from (hint: at most /{MAX_PREFIX_LEN_V4} or /{MAX_PREFIX_LEN_V6})")]
    TooSmall(IpNet),
    #[error("IPNet IP and Mask version mismatch in {0} (hint: write an IPv4 network as such)")]
    MappedIpv4(IpNet),
    #[error("Network has host bits set. For a subnet mask of length {} the network address is {}, not {}",
        subnet.prefix_len(), subnet.network(), subnet.addr())]
    HostBits { subnet: IpNet },
    #[error("RangeStart {start} not in network {subnet}")]
    Start { start: IpAddr, subnet: IpNet },
    #[error("RangeEnd {end} not in network {subnet}")]
    End { end: IpAddr, subnet: IpNet },
    #[error("RangeEnd {end} is before RangeStart {start}")]
    Reversed { start: IpAddr, end: IpAddr },
}

impl RangeFault {
    /// The key of the range that has the fault.
    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::TooSmall(_) | Self::MappedIpv4(_) | Self::HostBits { .. } => "subnet",
            Self::Start { .. } => "rangeStart",
            Self::End { .. } | Self::Reversed { .. } => "rangeEnd",
        }
    }
}

impl Range {
    /// A range with the reference's defaults: `start` and `gateway` are the subnet's first address, `end` its last
    /// (of IPv4 the one before broadcast). The gateway is never assigned, so that `start` may equal it.
    pub(crate) fn new(
        subnet: IpNet,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, RangeFault> {
        let (longest, last) = match subnet {
            IpNet::V4(_) => (MAX_PREFIX_LEN_V4, number(subnet.broadcast()).saturating_sub(1)),
            IpNet::V6(_) => (MAX_PREFIX_LEN_V6, number(subnet.broadcast())),
        };
        if subnet.prefix_len() > longest {
            return Err(RangeFault::TooSmall(subnet));
        }
        if subnet.addr().to_canonical() != subnet.addr() {
            return Err(RangeFault::MappedIpv4(subnet));
        }
        if subnet.addr() != subnet.network() {
            return Err(RangeFault::HostBits { subnet });
        }
        let first = address(number(subnet.network()).saturating_add(1), subnet.addr());
        let start = start.unwrap_or(first);
        if !subnet.contains(&start) {
            return Err(RangeFault::Start { start, subnet });
        }
        let end = end.unwrap_or_else(|| address(last, subnet.addr()));
        if !subnet.contains(&end) {
            return Err(RangeFault::End { end, subnet });
        }
        if number(end) < number(start) {
            return Err(RangeFault::Reversed { start, end });
        }
        Ok(Self { subnet, start, end, gateway: gateway.unwrap_or(first) })
    }

    /// `address`, which lies in the range, as results have it: with the subnet's prefix length and gateway.
    pub(crate) fn ip_config(&self, address: IpAddr) -> IpConfig {
        // The family is the subnet's, so the prefix length fits.
        let address = IpNet::new(address, self.subnet.prefix_len()).unwrap_or_else(|_too_long| address.into());
        IpConfig { address, gateway: Some(self.gateway), interface: None }
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.start.is_ipv4() && self.numbers().contains(&number(address))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.start) || other.contains(self.start)
    }

    fn numbers(&self) -> RangeInclusive<u128> {
        number(self.start)..=number(self.end)
    }

    fn size(&self) -> u128 {
        number(self.end).saturating_sub(number(self.start)).saturating_add(1)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// Ranges of one address family, from which an attachment gets one address. Never empty; no two ranges overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeSet(Vec<Range>);

/// What is wrong with a set of ranges that are right by themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeSetFault {
    #[error("empty range set")]
    Empty,
    #[error("mixed address families")]
    MixedFamilies,
    #[error("subnets {0} and {1} overlap")]
    Overlap(String, String),
}

impl RangeSet {
    pub(crate) fn new(ranges: Vec<Range>) -> Result<Self, RangeSetFault> {
        let Some(first) = ranges.first() else { return Err(RangeSetFault::Empty) };
        if ranges.iter().any(|range| range.start.is_ipv4() != first.start.is_ipv4()) {
            return Err(RangeSetFault::MixedFamilies);
        }
        let set = Self(ranges);
        match first_pair(&set.0, |a, b| a.overlaps(b)) {
            Some(((_, a), (_, b))) => Err(RangeSetFault::Overlap(a.to_string(), b.to_string())),
            None => Ok(set),
        }
    }

    /// Whether the set's addresses are IPv4.
    pub(crate) fn is_ipv4(&self) -> bool {
        self.0.iter().all(|range| range.start.is_ipv4())
    }

    /// Whether some address lies in both sets.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.overlaps(b)))
    }

    /// The range that `address` lies in.
    pub(crate) fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(address))
    }

    /// Whether `address` lies in the set. A gateway does, though it is never assigned.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.range_of(address).is_some()
    }

    /// Whether `address` is the gateway of one of the ranges.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.gateway == address)
    }

    /// How many addresses can be assigned.
    pub(crate) fn capacity(&self) -> u128 {
        let size = self.0.iter().fold(0, |sum: u128, range| sum.saturating_add(range.size()));
        let mut gateways: Vec<IpAddr> =
            self.0.iter().map(|range| range.gateway).filter(|g| self.contains(*g)).collect();
        gateways.sort_unstable();
        gateways.dedup();
        size.saturating_sub(gateways.len() as u128)
    }

    /// Every address that can be assigned, once, with its range: round robin beginning behind `last`, which itself comes
    /// last. From the start of the first range if `last` is `None` or lies elsewhere.
    pub(crate) fn walk(&self, last: Option<IpAddr>) -> impl Iterator<Item = (&Range, IpAddr)> {
        let at = last.and_then(|last| self.0.iter().position(|range| range.contains(last)).zip(Some(number(last))));
        let all = |range| (range, Range::numbers(range));
        let spans: Vec<(&Range, RangeInclusive<u128>)> = match at {
            None => self.0.iter().map(all).collect(),
            Some((index, last)) => {
                let (before, rest) = self.0.split_at(index);
                let (here, behind) = rest.split_at(1);
                // At the very last number there is nothing behind, and the sum stays where it is.
                let tail =
                    here.iter().filter(|_| last < u128::MAX).map(|r| (r, last.saturating_add(1)..=number(r.end)));
                let head = here.iter().map(|r| (r, number(r.start)..=last));
                tail.chain(behind.iter().map(all)).chain(before.iter().map(all)).chain(head).collect()
            }
        };
        spans
            .into_iter()
            .flat_map(|(range, numbers)| numbers.map(move |n| (range, address(n, range.start))))
            .filter(|(_, candidate)| !self.is_gateway(*candidate))
    }
}

impl fmt::Display for RangeSet {
    /// `10.1.0.1-10.1.0.254,10.2.0.1-10.2.0.254`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            range.fmt(f)?;
        }
        Ok(())
    }
}

/// The first two items, with their indices, of which `related` is true.
#[expect(clippy::type_complexity, reason = "a pair of what enumerate() gives")]
pub(crate) fn first_pair<T>(items: &[T], related: impl Fn(&T, &T) -> bool) -> Option<((usize, &T), (usize, &T))> {
    let pairs = items.iter().enumerate().flat_map(|a| items.iter().enumerate().skip(a.0 + 1).map(move |b| (a, b)));
    pairs.into_iter().find(|((_, a), (_, b))| related(a, b))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of this number in the family of `like`.
fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        // Numbers come from ranges of the same family, so they fit.
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(subnet: &str, start: &str, end: &str, gateway: &str) -> Result<Range, RangeFault> {
        let optional = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        Range::new(subnet.parse().unwrap(), optional(start), optional(end), optional(gateway))
    }

    fn set(ranges: &[Result<Range, RangeFault>]) -> RangeSet {
        RangeSet::new(ranges.iter().cloned().map(Result::unwrap).collect()).unwrap()
    }

    fn walked(set: &RangeSet, last: &str) -> Vec<String> {
        set.walk(last.parse().ok()).map(|(_, address)| address.to_string()).collect()
    }

    #[test]
    fn defaults_are_the_references() {
        let v4 = range("10.1.2.0/29", "", "", "").unwrap();
        assert_eq!((v4.to_string().as_str(), v4.gateway.to_string().as_str()), ("10.1.2.1-10.1.2.6", "10.1.2.1"));
        let v6 = range("fd00::/125", "", "", "").unwrap();
        assert_eq!((v6.to_string().as_str(), v6.gateway.to_string().as_str()), ("fd00::1-fd00::7", "fd00::1"));
        assert_eq!(v4.ip_config("10.1.2.3".parse().unwrap()).address.to_string(), "10.1.2.3/29");
    }

    #[test]
    fn faults_have_the_references_words() {
        let fault = |subnet, start, end| range(subnet, start, end, "").unwrap_err().to_string();
        assert!(fault("10.1.2.0/31", "", "").starts_with("Network 10.1.2.0/31 too small to allocate from"));
        assert!(fault("fd00::/127", "", "").starts_with("Network fd00::/127 too small to allocate from"));
        assert_eq!(
            fault("10.1.2.3/24", "", ""),
            "Network has host bits set. For a subnet mask of length 24 the network address is 10.1.2.0, not 10.1.2.3"
        );
        assert!(fault("::ffff:10.1.2.0/120", "", "").starts_with("IPNet IP and Mask version mismatch"));
        assert_eq!(fault("10.1.2.0/24", "10.1.3.1", ""), "RangeStart 10.1.3.1 not in network 10.1.2.0/24");
        assert_eq!(fault("10.1.2.0/24", "", "fd00::1"), "RangeEnd fd00::1 not in network 10.1.2.0/24");
        assert_eq!(fault("10.1.2.0/24", "10.1.2.9", "10.1.2.8"), "RangeEnd 10.1.2.8 is before RangeStart 10.1.2.9");
    }

    #[test]
    fn sets_are_of_one_family_and_do_not_overlap() {
        let of = |ranges: &[(&str, &str, &str)]| {
            RangeSet::new(ranges.iter().map(|(net, start, end)| range(net, start, end, "").unwrap()).collect())
        };
        assert_eq!(of(&[]), Err(RangeSetFault::Empty));
        assert_eq!(of(&[("10.1.0.0/24", "", ""), ("fd00::/64", "", "")]), Err(RangeSetFault::MixedFamilies));
        let overlap = of(&[("10.1.0.0/16", "", ""), ("10.1.2.0/24", "", "")]).unwrap_err();
        assert_eq!(overlap.to_string(), "subnets 10.1.0.1-10.1.255.254 and 10.1.2.1-10.1.2.254 overlap");
        // Two parts of one subnet do not.
        assert!(of(&[("10.1.0.0/24", "", "10.1.0.9"), ("10.1.0.0/24", "10.1.0.10", "")]).is_ok());
    }

    #[test]
    fn the_walk_goes_round_through_all_ranges_and_past_gateways() {
        let set = set(&[range("10.1.0.0/30", "", "", ""), range("10.2.0.0/29", "", "10.2.0.4", "10.2.0.3")]);
        assert_eq!(set.to_string(), "10.1.0.1-10.1.0.2,10.2.0.1-10.2.0.4");
        let all = ["10.1.0.2", "10.2.0.1", "10.2.0.2", "10.2.0.4"];
        assert_eq!(set.capacity(), all.len() as u128);
        assert_eq!(walked(&set, ""), all);
        assert_eq!(walked(&set, "9.9.9.9"), all);
        assert_eq!(walked(&set, "10.2.0.4"), all);
        assert_eq!(walked(&set, "10.2.0.1"), ["10.2.0.2", "10.2.0.4", "10.1.0.2", "10.2.0.1"]);
        assert_eq!(walked(&set, "10.2.0.3"), ["10.2.0.4", "10.1.0.2", "10.2.0.1", "10.2.0.2"]);
    }

    #[test]
    fn the_ends_of_the_number_line_are_reached_and_not_passed() {
        let v4 = set(&[range("255.255.255.248/29", "255.255.255.254", "255.255.255.255", "")]);
        assert_eq!(walked(&v4, "255.255.255.255"), ["255.255.255.254", "255.255.255.255"]);
        let top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let v6 = set(&[range("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124", "", "", "")]);
        assert_eq!(v6.walk(top.parse().ok()).count(), 14);
        assert_eq!(walked(&v6, top).last().map(String::as_str), Some(top));
        let all = set(&[range("::/0", "", "", "")]);
        assert_eq!(all.walk("::7".parse().ok()).next().map(|(_, address)| address), "::8".parse().ok());
        assert_eq!(all.capacity(), u128::MAX - 1);
    }

    proptest! {
        #[test]
        fn every_assignable_address_comes_exactly_once_and_the_last_one_last(
            base in any::<u32>(), len in 24u8..=30, cut in any::<(u8, u8, u8)>(), last in any::<u8>(), v6 in any::<bool>(),
        ) {
            let size = 1u32 << (32 - len);
            let network = base & !(size - 1);
            let (mut a, mut b) = (u32::from(cut.0) % size, u32::from(cut.1) % size);
            if a > b { std::mem::swap(&mut a, &mut b) }
            let at = |offset: u32| -> IpAddr {
                if v6 { Ipv6Addr::from_bits((0xfd00 << 112) + u128::from(network + offset)).into() }
                else { Ipv4Addr::from_bits(network + offset).into() }
            };
            let subnet = IpNet::new(at(0), if v6 { len + 96 } else { len }).unwrap();
            let gateway = at(u32::from(cut.2) % size);
            let set = RangeSet::new(vec![Range::new(subnet, Some(at(a)), Some(at(b)), Some(gateway)).unwrap()]).unwrap();
            let last = at(u32::from(last) % size);
            let walked: Vec<IpAddr> = set.walk(Some(last)).map(|(_, address)| address).collect();
            let mut sorted = walked.clone();
            sorted.sort();
            let expected: Vec<IpAddr> = (a..=b).map(at).filter(|address| *address != gateway).collect();
            prop_assert_eq!(set.capacity(), expected.len() as u128);
            prop_assert_eq!(sorted, expected);
            if set.contains(last) && last != gateway {
                prop_assert_eq!(walked.last(), Some(&last));
            }
        }
    }
}
