//! The ranges of host-local, as it reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::validate::document::{Node, Span};
use crate::validate::network::Plugin;

/// The longest prefixes that leave an address beside network, gateway and (IPv4) broadcast.
const LONGEST_V4: u8 = 30;
const LONGEST_V6: u8 = 126;

/// Consecutive addresses of one subnet, first and last included.
#[derive(Clone, Debug)]
pub(crate) struct Range<'f> {
    /// Where the subnet stands.
    pub(crate) place: &'f Node,
    pub(crate) subnet: IpNet,
    start: u128,
    end: u128,
    /// `gateway`, if it is given, and where.
    pub(crate) gateway: Option<(IpAddr, &'f Node)>,
}

/// Ranges of which one address is taken.
#[derive(Clone, Debug)]
pub(crate) struct Set<'f> {
    /// The whole set.
    pub(crate) place: &'f Node,
    pub(crate) ranges: Vec<Range<'f>>,
    pub(crate) faults: Vec<Fault>,
}

/// Why an entry is no range.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing can be taken of the subnet.
    Subnet { span: Span, problem: String, cure: String },
    /// `rangeStart` or `rangeEnd` is not where it has to be.
    Bounds { span: Span, problem: String },
}

/// The range sets of `plugin`; none where the IPAM plugin is another.
pub(crate) fn sets<'f>(plugin: &Plugin<'f>) -> Vec<Set<'f>> {
    let Some(ipam) = plugin.ipam().filter(|_| plugin.ipam_kind() == "host-local") else { return Vec::new() };
    // The old way: `ipam` itself is a range.
    let old = ipam.has("subnet").then(|| Set::of(ipam, std::iter::once(ipam)));
    let listed = ipam.get("ranges").map_or(&[][..], Node::items).iter().map(|set| Set::of(set, set.items().iter()));
    old.into_iter().chain(listed).collect()
}

impl<'f> Set<'f> {
    fn of(place: &'f Node, entries: impl Iterator<Item = &'f Node>) -> Self {
        let (mut ranges, mut faults) = (Vec::new(), Vec::new());
        for entry in entries.filter(|entry| entry.is_object()) {
            match Range::of(entry) {
                Ok(range) => ranges.extend(range),
                Err(fault) => faults.push(fault),
            }
        }
        Self { place, ranges, faults }
    }
}

impl<'f> Range<'f> {
    /// The range that `entry` says; none where a text is no address, which the schema tells.
    fn of(entry: &'f Node) -> Result<Option<Self>, Fault> {
        let subnet_fault =
            |span: Span, problem: String, cure: &str| Fault::Subnet { span, problem, cure: cure.to_owned() };
        let Some(place) = entry.get("subnet").filter(|node| node.text() != Some("")) else {
            let problem = "a range has no `subnet`".to_owned();
            return Err(subnet_fault(entry.opening(), problem, "add \"subnet\", such as \"10.1.0.0/16\""));
        };
        let Some(subnet) = place.text().and_then(|text| text.parse::<IpNet>().ok()) else { return Ok(None) };
        let longest = if subnet.addr().is_ipv4() { LONGEST_V4 } else { LONGEST_V6 };
        if subnet.prefix_len() > longest {
            let problem = format!("`subnet` {subnet} is too small to take addresses from");
            return Err(subnet_fault(place.span.clone(), problem, &format!("choose a /{longest} or larger")));
        }
        if subnet.addr() != subnet.network() {
            let problem = format!("`subnet` {subnet} is an address in a network, not the network");
            return Err(subnet_fault(place.span.clone(), problem, &format!("write {}", subnet.trunc())));
        }
        let bound = |key: &str| {
            let node = entry.get(key)?;
            Some((node.text()?.parse::<IpAddr>().ok()?, node))
        };
        let (first, last) = bounds(subnet);
        for (key, given) in [("rangeStart", bound("rangeStart")), ("rangeEnd", bound("rangeEnd"))] {
            if let Some((address, node)) = given.filter(|(address, _)| !subnet.contains(address)) {
                let problem = format!("`{key}` {address} is not in {subnet}");
                return Err(Fault::Bounds { span: node.span.clone(), problem });
            }
        }
        let start = bound("rangeStart").map_or(first, |(address, _)| number(address));
        let end = bound("rangeEnd").map_or(last, |(address, _)| number(address));
        if end < start {
            let node = bound("rangeEnd").or_else(|| bound("rangeStart")).map_or(entry, |(_, node)| node);
            let problem =
                format!("the range ends at {}, before it starts at {}", in_words(end, subnet), in_words(start, subnet));
            return Err(Fault::Bounds { span: node.span.clone(), problem });
        }
        Ok(Some(Self { place, subnet, start, end, gateway: bound("gateway") }))
    }

    /// Whether some address lies in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let same_family = self.subnet.addr().is_ipv4() == other.subnet.addr().is_ipv4();
        same_family && self.start <= other.end && other.start <= self.end
    }

    /// `10.1.0.1 to 10.1.0.254`.
    pub(crate) fn in_words(&self) -> String {
        format!("{} to {}", in_words(self.start, self.subnet), in_words(self.end, self.subnet))
    }
}

/// Whether two networks have an address in common.
pub(crate) fn nets_overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The first and the last address that host-local takes by default.
fn bounds(subnet: IpNet) -> (u128, u128) {
    let last = number(subnet.broadcast());
    (number(subnet.network()) + 1, if subnet.addr().is_ipv4() { last - 1 } else { last })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of this number in the family of `subnet`.
fn in_words(number: u128, subnet: IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpNet::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}
