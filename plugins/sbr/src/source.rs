//! The addresses whose packets are routed by a table of their own.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::AddResult;
use linuxnet::route::Route;

use crate::conf::StaticGateways;

/// An address of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The address with its subnet.
    pub(crate) address: IpNet,
    /// Where its default route leads; `None`: it has none.
    pub(crate) gateway: Option<IpAddr>,
    /// The gateway is the configuration's, which other default routes give way to.
    pub(crate) is_gateway_static: bool,
}

impl Source {
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.addr()
    }

    /// Whether the route is of its family.
    pub(crate) fn is_family_of(&self, route: &Route) -> bool {
        self.address.addr().is_ipv4() == route.dst.addr().is_ipv4()
    }

    /// Whether the route serves this address: it is in the address's subnet, or says nothing of an address.
    pub(crate) fn is_served_by(&self, route: &Route) -> bool {
        let in_subnet = |ip: Option<IpAddr>| ip.is_some_and(|ip| self.address.contains(&ip));
        let says_nothing = route.src.is_none() && route.gw.is_none();
        self.is_family_of(route) && (in_subnet(route.src) || in_subnet(route.gw) || says_nothing)
    }

    /// The prefix of the default route of its family.
    pub(crate) fn everywhere(&self) -> IpNet {
        if self.address.addr().is_ipv4() { IpNet::from(DEFAULT_V4) } else { IpNet::from(DEFAULT_V6) }
    }
}

const DEFAULT_V4: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0);
const DEFAULT_V6: ipnet::Ipv6Net = ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0);

/// The addresses of `ifname` in the result: those that it does not give to another interface.
pub(crate) fn of(result: &AddResult, ifname: &str, gateways: StaticGateways) -> Vec<Source> {
    let elsewhere = |index: usize| result.interfaces.get(index).is_some_and(|interface| interface.name != ifname);
    let ours = result.ips.iter().filter(|ip| !ip.interface.is_some_and(elsewhere));
    ours.map(|ip| {
        let configured = gateways.of_family(ip.address.addr());
        Source { address: ip.address, gateway: configured.or(ip.gateway), is_gateway_static: configured.is_some() }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::types::{Interface, IpConfig};

    fn ip(address: &str, interface: Option<usize>) -> IpConfig {
        IpConfig { address: address.parse().unwrap(), gateway: None, interface }
    }

    #[test]
    fn other_interfaces_addresses_are_left_alone() {
        let interface = |name: &str| Interface { name: name.to_owned(), ..Interface::default() };
        let result = AddResult {
            interfaces: vec![interface("cni0"), interface("eth0")],
            ips: vec![
                ip("10.0.0.1/8", Some(0)),
                ip("10.1.0.5/24", Some(1)),
                ip("10.2.0.5/24", None),
                ip("10.3.0.5/24", Some(9)),
            ],
            ..AddResult::default()
        };
        let found = of(&result, "eth0", StaticGateways::default());
        let texts: Vec<_> = found.iter().map(|source| source.address.to_string()).collect();
        assert_eq!(texts, ["10.1.0.5/24", "10.2.0.5/24", "10.3.0.5/24"]);
    }

    #[test]
    fn a_route_serves_the_addresses_of_its_subnet() {
        let result = AddResult { ips: vec![ip("10.1.0.5/24", None)], ..AddResult::default() };
        let source = of(&result, "eth0", StaticGateways::default()).pop().unwrap();
        let to = |dst: &str| Route::to(dst.parse().unwrap());
        let gw = |gw: &str| Route { gw: gw.parse().ok(), ..to("0.0.0.0/0") };
        let src = |src: &str| Route { src: src.parse().ok(), ..to("10.1.0.0/24") };
        assert!(source.is_served_by(&gw("10.1.0.1")) && !source.is_served_by(&gw("10.2.0.1")));
        assert!(source.is_served_by(&src("10.1.0.5")) && !source.is_served_by(&src("10.2.0.5")));
        assert!(source.is_served_by(&to("10.9.0.0/16")) && !source.is_served_by(&to("fd00::/64")));
    }
}
