//! Ranges of addresses, as sets with intervals hold them: where each begins, and the first address behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Table;
use super::element::ElementEntry;
use super::socket::Nfnetlink;
use super::value::{DataType, Field};
use crate::error::NetlinkError;

/// The first address of a range, and the first one behind it; `None`: it reaches to the last address that there is.
pub(super) type Range = (IpAddr, Option<IpAddr>);

/// What these networks, all of one family, are together, in order.
pub(super) fn ranges(networks: &[IpNet]) -> Vec<Range> {
    let mut sorted: Vec<IpNet> = networks.to_vec();
    sorted.sort_by_key(|network| (network.network(), network.prefix_len()));
    let mut all: Vec<Range> = Vec::new();
    for network in sorted {
        let (first, behind) = (network.network(), successor(network.broadcast()));
        match all.last_mut() {
            // It begins within the former one, or just behind it.
            Some((_, end)) if end.is_none_or(|end| first <= end) => {
                *end = end.and_then(|end| behind.map(|behind| behind.max(end)));
            }
            _ => all.push((first, behind)),
        }
    }
    all
}

fn successor(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(1)?).into(),
    })
}

impl Nfnetlink {
    /// Whether a set with intervals holds the addresses of these networks, and no others. `key` is the type of its
    /// addresses.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn has_networks(
        &mut self,
        table: Table<'_>,
        set: &str,
        key: DataType,
        networks: &[IpNet],
    ) -> Result<bool, NetlinkError> {
        Ok(read_ranges(&self.elements(table, set)?, key) == Some(ranges(networks)))
    }
}

/// `None`: there are elements that are no addresses.
fn read_ranges(elements: &[ElementEntry], key: DataType) -> Option<Vec<Range>> {
    let mut edges = Vec::with_capacity(elements.len());
    for element in elements {
        match element.key.fields(&[key])?.as_slice() {
            [Field::Ip(address)] => edges.push((*address, !element.ends_range)),
            _ => return None,
        }
    }
    // Where one ends and another begins, the end comes first.
    edges.sort_unstable();
    let mut all: Vec<Range> = Vec::new();
    for (address, begins) in edges {
        match all.last_mut() {
            Some((_, end @ None)) if !begins => *end = Some(address),
            Some((_, end)) if begins && *end == Some(address) => *end = None,
            _ if begins => all.push((address, None)),
            // What `nft` puts in front of the first range.
            _ => {}
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::super::element::ElementData;
    use super::super::value::Value;
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(texts: &[&str]) -> Vec<String> {
        let end = |end: Option<IpAddr>| end.map_or_else(|| "end".to_owned(), |end| end.to_string());
        ranges(&nets(texts)).into_iter().map(|(first, behind)| format!("{first} {}", end(behind))).collect()
    }

    #[test]
    fn networks_are_joined_where_they_meet_or_overlap() {
        assert_eq!(shown(&["10.1.0.0/24", "10.0.0.0/24", "10.0.0.128/25"]), ["10.0.0.0 10.0.1.0", "10.1.0.0 10.1.1.0"]);
        assert_eq!(shown(&["10.0.1.0/25", "10.0.0.0/24"]), ["10.0.0.0 10.0.1.128"]);
        assert_eq!(shown(&["240.0.0.0/4", "224.0.0.0/4", "255.255.255.255/32"]), ["224.0.0.0 end"]);
        assert_eq!(shown(&["ff00::/8", "fd00::/64"]), ["fd00:: fd00:0:0:1::", "ff00:: end"]);
        assert_eq!(shown(&["0.0.0.0/0", "10.0.0.0/8"]), ["0.0.0.0 end"]);
        assert!(shown(&[]).is_empty());
    }

    #[test]
    fn edges_are_read_back_as_ranges_in_any_order() {
        let entry = |address: &str, ends_range| ElementEntry {
            key: Value::from(address.parse::<IpAddr>().unwrap()),
            data: ElementData::None,
            comment: None,
            ends_range,
            leaving: false,
        };
        let edges = [
            entry("10.0.1.0", true),
            entry("0.0.0.0", true),
            entry("10.0.1.0", false),
            entry("10.0.0.0", false),
            entry("10.0.2.0", true),
            entry("224.0.0.0", false),
        ];
        let wanted = ranges(&nets(&["10.0.0.0/23", "224.0.0.0/3"]));
        assert_eq!(read_ranges(&edges, DataType::Ipv4Addr), Some(wanted));
        assert_eq!(read_ranges(&edges, DataType::Ipv6Addr), None);
    }
}
