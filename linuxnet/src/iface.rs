//! A plugin's result and a container's interface: [`apply()`] makes the second as the first says, [`verify()`] tells
//! what differs.

mod applied;
mod apply;
mod verify;

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::{AddResult, IpConfig};

use crate::route::Route;

pub use apply::{ApplyError, Options, Subnets, apply};
pub(crate) use verify::mac_difference;
pub use verify::{Difference, verify};

/// Why an address of a result has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// There is no interface of this number.
    #[error("interface index {index} of the result is out of range: it has {interfaces} interfaces")]
    OutOfRange {
        /// The number.
        index: usize,
        /// How many interfaces the result has.
        interfaces: usize,
    },
    /// The interface of this number is another one.
    #[error("interface index {index} of the result is {name}")]
    Other {
        /// The number.
        index: usize,
        /// The interface of this number.
        name: String,
    },
}

/// The gateways that routes without one of their own go by: the first of each family.
#[derive(Clone, Copy, Debug, Default)]
struct Gateways {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Gateways {
    fn of<'a>(ips: impl IntoIterator<Item = &'a IpConfig>) -> Self {
        let mut gateways = Self::default();
        for gateway in ips.into_iter().filter_map(|ip| ip.gateway) {
            gateways.of_family(gateway.is_ipv4()).get_or_insert(gateway);
        }
        gateways
    }

    fn of_family(&mut self, v4: bool) -> &mut Option<IpAddr> {
        if v4 { &mut self.v4 } else { &mut self.v6 }
    }
}

/// The result's route as it is set: without a gateway of its own it takes the family's, unless its scope says that
/// the destination is on the link (253) or nearer.
fn resolve(route: &libcni::types::Route, gateways: Gateways) -> Route {
    let mut resolved = Route::from(route);
    let on_link = route.scope.is_some_and(|scope| scope >= nix::libc::RT_SCOPE_LINK);
    if resolved.gw.is_none() && !on_link {
        resolved.gw = if route.dst.addr().is_ipv4() { gateways.v4 } else { gateways.v6 };
    }
    resolved
}

/// The routes of [`Subnets::ViaGateway`]: each gateway is on the link, and the rest of the subnet is reached by it.
/// Addresses that share a gateway or a subnet share the route, whose source is the first of them.
pub fn gateway_routes<'a>(ips: impl IntoIterator<Item = &'a IpConfig>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let mut push = |route: Route| {
        if !routes.iter().any(|other| other.dst == route.dst && other.gw == route.gw) {
            routes.push(route);
        }
    };
    for ip in ips {
        let (Some(gateway), src) = (ip.gateway, Some(ip.address.addr())) else { continue };
        push(Route { src, ..Route::to(gateway.into()) });
        // Of a single address (/32, /128) there is no rest.
        if ip.address.prefix_len() < ip.address.max_prefix_len() {
            push(Route { gw: Some(gateway), src, ..Route::to(ip.address) });
        }
    }
    routes
}

/// Whether an address of the result belongs on the interface; without an index it belongs on none.
fn belongs(result: &AddResult, ip: &IpConfig, ifname: &str) -> Result<bool, IndexError> {
    let Some(index) = ip.interface else { return Ok(false) };
    match result.interfaces.get(index) {
        None => Err(IndexError::OutOfRange { index, interfaces: result.interfaces.len() }),
        Some(interface) if interface.name == ifname => Ok(true),
        Some(interface) => Err(IndexError::Other { index, name: interface.name.clone() }),
    }
}

/// Whether the gateway is a neighbour of one of these addresses.
fn reaches(addresses: &[IpNet], gateway: IpAddr) -> bool {
    addresses.iter().any(|net| net.contains(&gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str, gateway: Option<&str>, interface: Option<usize>) -> IpConfig {
        IpConfig { address: address.parse().unwrap(), gateway: gateway.map(|g| g.parse().unwrap()), interface }
    }

    #[test]
    fn routes_take_the_first_gateway_of_their_family() {
        let ips = [
            ip("fd00::5/64", Some("fd00::1"), None),
            ip("10.1.0.5/16", None, None),
            ip("10.2.0.5/16", Some("10.2.0.1"), None),
            ip("10.3.0.5/16", Some("10.3.0.1"), None),
        ];
        let gateways = Gateways::of(&ips);
        let gw = |route: &libcni::types::Route| resolve(route, gateways).gw.map(|gw| gw.to_string());
        let to = |dst: &str| libcni::types::Route::to(dst.parse().unwrap());
        assert_eq!(gw(&to("0.0.0.0/0")).as_deref(), Some("10.2.0.1"));
        assert_eq!(gw(&to("::/0")).as_deref(), Some("fd00::1"));
        let own = libcni::types::Route { gw: Some("10.2.0.9".parse().unwrap()), ..to("10.9.0.0/16") };
        assert_eq!(gw(&own).as_deref(), Some("10.2.0.9"));
        assert_eq!(gw(&libcni::types::Route { scope: Some(253), ..to("10.9.0.0/16") }), None);
        assert_eq!(gw(&libcni::types::Route { scope: Some(0), ..to("10.9.0.0/16") }).as_deref(), Some("10.2.0.1"));
    }

    #[test]
    fn subnets_are_reached_by_gateways_that_are_on_the_link() {
        let ips = [
            ip("10.1.0.5/16", Some("10.1.0.1"), None),
            ip("10.1.0.6/16", Some("10.1.0.1"), None),
            ip("10.9.0.5/32", Some("169.254.1.1"), None),
            ip("10.3.0.5/16", None, None),
            ip("fd00::5/64", Some("fd00::1"), None),
        ];
        let routes: Vec<_> = gateway_routes(&ips).iter().map(ToString::to_string).collect();
        let expected = [
            "10.1.0.1/32 src 10.1.0.5",
            "10.1.0.0/16 via 10.1.0.1 src 10.1.0.5",
            "169.254.1.1/32 src 10.9.0.5",
            "fd00::1/128 src fd00::5",
            "fd00::/64 via fd00::1 src fd00::5",
        ];
        assert_eq!(routes, expected);
    }

    #[test]
    fn the_index_of_an_address_is_checked() {
        let interface = |name: &str| libcni::types::Interface { name: name.into(), ..Default::default() };
        let result = AddResult { interfaces: vec![interface("cni0"), interface("eth0")], ..Default::default() };
        assert!(belongs(&result, &ip("10.1.0.5/16", None, Some(1)), "eth0").unwrap());
        assert!(!belongs(&result, &ip("10.1.0.5/16", None, None), "eth0").unwrap());
        let error = belongs(&result, &ip("10.1.0.5/16", None, Some(0)), "eth0").unwrap_err();
        assert_eq!(error.to_string(), "interface index 0 of the result is cni0");
        let error = belongs(&result, &ip("10.1.0.5/16", None, Some(7)), "eth0").unwrap_err();
        assert_eq!(error.to_string(), "interface index 7 of the result is out of range: it has 2 interfaces");
    }
}
