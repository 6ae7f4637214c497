//! Ranges of addresses, and sets of them: what an address may be, and in which order addresses are tried.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

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

    /// The gateway of the range's subnet.
    pub(crate) const fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// `address` with the prefix length of the subnet, as results have it.
    pub(crate) fn with_prefix_len(&self, address: IpAddr) -> IpNet {
        // A range holds only addresses of its subnet's family, so the prefix length fits.
        IpNet::new(address, self.subnet.prefix_len()).unwrap_or_else(|_too_long| address.into())
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
        let mut gateways: Vec<IpAddr> = self.0.iter().map(Range::gateway).filter(|g| self.contains(*g)).collect();
        gateways.sort_unstable();
        gateways.dedup();
        size.saturating_sub(gateways.len() as u128)
    }

    /// Every address that can be assigned, once: round robin beginning behind `last`, which itself comes last. From
    /// the start of the first range if `last` is `None` or lies elsewhere.
    pub(crate) fn walk(&self, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> + '_ {
        let at = last.and_then(|last| self.0.iter().position(|range| range.contains(last)).zip(Some(number(last))));
        let all = |range: &Range| (range.start, range.numbers());
        let spans: Vec<(IpAddr, RangeInclusive<u128>)> = match at {
            None => self.0.iter().map(all).collect(),
            Some((index, last)) => {
                let (before, rest) = self.0.split_at(index);
                let (here, behind) = rest.split_at(1);
                let tail = here.iter().map(|r| (r.start, last.saturating_add(1)..=*r.numbers().end()));
                let head = here.iter().map(|r| (r.start, *r.numbers().start()..=last));
                // At the very last number there is nothing behind; the addition would stay there.
                tail.filter(|_| last < u128::MAX)
                    .chain(behind.iter().map(all))
                    .chain(before.iter().map(all))
                    .chain(head)
                    .collect()
            }
        };
        spans
            .into_iter()
            .flat_map(|(family, numbers)| numbers.map(move |n| address(n, family)))
            .filter(|candidate| !self.is_gateway(*candidate))
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
