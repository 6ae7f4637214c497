//! Which node a packet is for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{PoisonError, RwLock};

use ipnet::Ipv4Net;

/// Subnets, of which none overlaps another, by their first address.
#[derive(Debug, Default)]
pub(super) struct Table(RwLock<BTreeMap<Ipv4Addr, (Ipv4Net, Ipv4Addr)>>);

impl Table {
    /// The node that has the subnet of `address`.
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let subnets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (_, (subnet, endpoint)) = subnets.range(..=address).next_back()?;
        subnet.contains(&address).then_some(*endpoint)
    }

    pub(super) fn all(&self) -> Vec<(Ipv4Net, Ipv4Addr)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }

    pub(super) fn set(&self, subnet: Ipv4Net, endpoint: Ipv4Addr) {
        let mut subnets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        subnets.insert(subnet.network(), (subnet, endpoint));
    }

    pub(super) fn remove(&self, subnet: Ipv4Net) {
        let mut subnets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if subnets.get(&subnet.network()).is_some_and(|(there, _)| *there == subnet) {
            subnets.remove(&subnet.network());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_at_the_node_of_its_subnet() {
        let table = Table::default();
        let [a, b] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let (first, second) = ("10.5.1.0/24".parse().unwrap(), "10.5.3.0/25".parse().unwrap());
        table.set(first, a);
        table.set(second, b);
        let find = |address: &str| table.find(address.parse().unwrap());
        assert_eq!((find("10.5.1.0"), find("10.5.1.255"), find("10.5.3.127")), (Some(a), Some(a), Some(b)));
        assert_eq!((find("10.5.0.255"), find("10.5.2.0"), find("10.5.3.128")), (None, None, None));
        // A subnet moves.
        table.set(first, b);
        assert_eq!((find("10.5.1.7"), table.all()), (Some(b), vec![(first, b), (second, b)]));
        table.remove("10.5.1.0/25".parse().unwrap());
        assert_eq!(find("10.5.1.7"), Some(b), "another subnet with the same first address");
        table.remove(first);
        assert_eq!(find("10.5.1.7"), None);
    }
}
