//! Comparing an interface with the result that it was made by.

use ipnet::IpNet;
use libcni::types::{AddResult, IpConfig};

use crate::error::NetlinkError;
use crate::link::{Dev, Link};
use crate::netlink::Netlink;
use crate::route::{self, Filter, Route};

use super::{Gateways, reaches, resolve};

/// One thing that is not as the result says. Its text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The interface is gone.
    #[error("the container has no interface {ifname}")]
    NoInterface {
        /// The interface.
        ifname: String,
    },
    /// The interface is down.
    #[error("interface {ifname} is down")]
    Down {
        /// The interface.
        ifname: String,
    },
    /// The interface has another hardware address.
    #[error("interface {ifname} has MAC address {is}, not {expected}")]
    Mac {
        /// The interface.
        ifname: String,
        /// What the result says.
        expected: String,
        /// What it has.
        is: String,
    },
    /// An address is missing, or has another prefix length.
    #[error("interface {ifname} does not have address {address}; it has {}", list(has))]
    Address {
        /// The interface.
        ifname: String,
        /// What the result says.
        address: IpNet,
        /// The addresses of this family that it has.
        has: Vec<IpNet>,
    },
    /// The route to an address's own subnet is missing, so its gateway cannot be reached.
    #[error("interface {ifname} has no route to its subnet {subnet}")]
    Subnet {
        /// The interface.
        ifname: String,
        /// The subnet.
        subnet: IpNet,
    },
    /// A route is missing, or goes another way.
    #[error("route {route} by interface {ifname} is missing{}", others(has))]
    Route {
        /// The interface.
        ifname: String,
        /// What the result says.
        route: Box<Route>,
        /// The routes by this interface to the same destination.
        has: Vec<Route>,
    },
}

fn list(nets: &[IpNet]) -> String {
    if nets.is_empty() {
        return "none".to_owned();
    }
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn others(has: &[Route]) -> String {
    let routes: Vec<_> = has.iter().map(ToString::to_string).collect();
    if routes.is_empty() { String::new() } else { format!("; there is {}", routes.join(", ")) }
}

/// What of `result` is not so on the interface `ifname` in `netlink`'s namespace. Empty: all is well.
///
/// Only what is this interface's is compared: its hardware address, if the result says one; the addresses with its
/// index (all, in results of old versions, which have no index); and of the routes those by a gateway in its subnets
/// and, where it is the only interface with addresses, the others. A route that names no table may be in any: plugins
/// further down the chain (`vrf`, `sbr`) move them. More addresses and routes than the result has are no difference.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn verify(netlink: &mut Netlink, ifname: &str, result: &AddResult) -> Result<Vec<Difference>, NetlinkError> {
    let Some(link) = netlink.find_link(ifname)? else {
        return Ok(vec![Difference::NoInterface { ifname: ifname.to_owned() }]);
    };
    let addresses: Vec<IpNet> = netlink.addresses(Dev::from(&link))?.into_iter().map(|address| address.net).collect();
    let routes = netlink.routes(Filter { link: Some(link.index), table: None })?;
    Ok(compare(&link, &addresses, &routes, result))
}

/// The comparison itself, without the kernel.
fn compare(link: &Link, addresses: &[IpNet], routes: &[Route], result: &AddResult) -> Vec<Difference> {
    let ifname = || link.name.clone();
    let ips = ips_of(result, &link.name);
    let mut differences = Vec::new();
    if !link.is_up {
        differences.push(Difference::Down { ifname: ifname() });
    }
    differences.extend(mac_difference(link, result));
    for ip in &ips {
        if !addresses.contains(&ip.address) {
            let v4 = ip.address.addr().is_ipv4();
            let has = addresses.iter().filter(|net| net.addr().is_ipv4() == v4).copied().collect();
            differences.push(Difference::Address { ifname: ifname(), address: ip.address, has });
        } else if !has_subnet(routes, ip) {
            differences.push(Difference::Subnet { ifname: ifname(), subnet: ip.address.trunc() });
        }
    }
    for wanted in routes_of(result, &ips) {
        if !routes.iter().any(|route| is_as_wanted(route, wanted, &ips)) {
            let has = routes.iter().filter(|route| route.dst == wanted.dst.trunc()).cloned().collect();
            let route = Box::new(resolve(wanted, Gateways::of(ips.iter().copied())));
            differences.push(Difference::Route { ifname: ifname(), route, has });
        }
    }
    differences
}

/// The addresses of the interface.
fn ips_of<'a>(result: &'a AddResult, ifname: &str) -> Vec<&'a IpConfig> {
    let without_indexes = result.ips.iter().all(|ip| ip.interface.is_none());
    let here = result.container_interface(ifname).map(|(index, _)| index);
    result.ips.iter().filter(|ip| without_indexes || (ip.interface.is_some() && ip.interface == here)).collect()
}

/// The routes that must be by the interface.
fn routes_of<'a>(result: &'a AddResult, ips: &[&IpConfig]) -> impl Iterator<Item = &'a libcni::types::Route> {
    let nets: Vec<IpNet> = ips.iter().map(|ip| ip.address).collect();
    // Routes say no interface. By what was applied, they are all by the only one with addresses.
    let is_only = result.ips.iter().filter(|ip| ip.interface.is_some()).count() <= ips.len();
    result.routes.iter().filter(move |route| {
        let family_here = nets.iter().any(|net| net.addr().is_ipv4() == route.dst.addr().is_ipv4());
        match route.gw {
            Some(gw) if reaches(&nets, gw) => true,
            _ => is_only && family_here,
        }
    })
}

pub(crate) fn mac_difference(link: &Link, result: &AddResult) -> Option<Difference> {
    let (_, interface) = result.container_interface(&link.name)?;
    // What is no Ethernet address is compared by nobody.
    let expected = interface.mac.parse().ok()?;
    let is = link.mac.filter(|&mac| mac != expected)?;
    Some(Difference::Mac { ifname: link.name.clone(), expected: interface.mac.clone(), is: is.to_string() })
}

/// Whether the subnet of the address can be reached. Of a single address (/32, /128) there is none.
fn has_subnet(routes: &[Route], ip: &IpConfig) -> bool {
    let subnet = ip.address.trunc();
    subnet.prefix_len() == subnet.max_prefix_len() || routes.iter().any(|route| route.dst == subnet)
}

fn is_as_wanted(route: &Route, wanted: &libcni::types::Route, ips: &[&IpConfig]) -> bool {
    let gw = resolve(wanted, Gateways::of(ips.iter().copied())).gw;
    // Metrics (mtu, advmss) are not compared: the Go plugins report them and do not set them.
    route.dst == wanted.dst.trunc()
        && route.gw == gw
        && match wanted.table {
            // 0 says nothing, to the kernel as to the Go plugins.
            None | Some(0) => route.table != route::LOCAL,
            Some(table) => route.table == table,
        }
        // 0 is what the kernel chooses: none for IPv4, 1024 for IPv6.
        && wanted.priority.is_none_or(|priority| priority == 0 || route.priority == Some(priority))
}

#[cfg(test)]
mod tests {
    use libcni::types::Interface;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn interface(name: &str) -> Interface {
        Interface { name: name.into(), sandbox: "/run/netns/x".into(), ..Default::default() }
    }

    fn ip(address: &str, gateway: &str, interface: Option<usize>) -> IpConfig {
        IpConfig { address: net(address), gateway: Some(gateway.parse().unwrap()), interface }
    }

    fn via(dst: &str, gw: &str) -> Route {
        Route { gw: Some(gw.parse().unwrap()), link: Some(2), ..Route::to(net(dst)) }
    }

    fn eth0() -> Link {
        Link {
            index: 2,
            name: "eth0".into(),
            mac: "0a:58:0a:01:00:05".parse().ok(),
            mtu: 1500,
            is_up: true,
            is_running: true,
            is_promiscuous: false,
            promiscuity: 0,
            is_all_multicast: false,
            tx_queue_len: 1000,
            kind: "veth".into(),
            master: None,
            peer_index: Some(9),
            link_netns_id: Some(0),
            alias: None,
            alt_names: Vec::new(),
            bridge: None,
            port: None,
            macvlan: None,
            ipvlan: None,
            tap: None,
            vlan: None,
            vrf_table: None,
            vxlan: None,
            ipip: None,
            ipv6: None,
        }
    }

    /// Two interfaces of one container, each with a subnet; eth0 has both default routes.
    fn result() -> AddResult {
        let to = |dst: &str| libcni::types::Route::to(net(dst));
        AddResult {
            interfaces: vec![interface("eth0"), interface("eth1")],
            ips: vec![
                ip("10.1.0.5/16", "10.1.0.1", Some(0)),
                ip("fd00::5/64", "fd00::1", Some(0)),
                ip("10.2.0.5/16", "10.2.0.1", Some(1)),
            ],
            routes: vec![
                libcni::types::Route { gw: Some("10.1.0.1".parse().unwrap()), ..to("0.0.0.0/0") },
                libcni::types::Route { gw: Some("fd00::1".parse().unwrap()), ..to("::/0") },
                libcni::types::Route { gw: Some("10.2.0.1".parse().unwrap()), ..to("192.0.2.0/24") },
            ],
            ..Default::default()
        }
    }

    fn subnets() -> Vec<Route> {
        ["10.1.0.0/16", "fd00::/64"].map(|dst| Route { link: Some(2), ..Route::to(net(dst)) }).into()
    }

    fn good_routes() -> Vec<Route> {
        let mut routes = subnets();
        routes.extend([via("0.0.0.0/0", "10.1.0.1"), via("::/0", "fd00::1")]);
        routes
    }

    fn texts(addresses: &[&str], routes: &[Route], result: &AddResult) -> Vec<String> {
        let addresses: Vec<_> = addresses.iter().map(|a| net(a)).collect();
        compare(&eth0(), &addresses, routes, result).iter().map(ToString::to_string).collect()
    }

    const ADDRESSES: [&str; 3] = ["10.1.0.5/16", "fd00::5/64", "fe80::1/64"];

    #[test]
    fn what_is_another_interfaces_is_not_missed() {
        assert_eq!(texts(&ADDRESSES, &good_routes(), &result()), [""; 0]);
    }

    #[test]
    fn each_difference_is_a_sentence() {
        let told = texts(&["10.1.0.5/24", "fd00::5/64"], &good_routes(), &result());
        assert_eq!(told, ["interface eth0 does not have address 10.1.0.5/16; it has 10.1.0.5/24"]);
        let told = texts(&["10.1.0.5/16"], &good_routes(), &result());
        assert_eq!(told, ["interface eth0 does not have address fd00::5/64; it has none"]);
        let told = texts(&ADDRESSES, good_routes().get(1..).unwrap(), &result());
        assert_eq!(told, ["interface eth0 has no route to its subnet 10.1.0.0/16"]);
        let mut down = eth0();
        down.is_up = false;
        down.mac = "0a:58:0a:01:00:99".parse().ok();
        let mut result = AddResult { interfaces: vec![interface("eth0")], ..Default::default() };
        result.interfaces[0].mac = "0A:58:0a:01:00:05".into();
        let told: Vec<_> = compare(&down, &[], &[], &result).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["interface eth0 is down", "interface eth0 has MAC address 0a:58:0a:01:00:99, not 0A:58:0a:01:00:05"]
        );
    }

    #[test]
    fn a_default_route_of_the_other_family_or_gateway_is_not_ours() {
        let mut routes = subnets();
        routes.push(via("::/0", "fd00::1"));
        let missing = "route 0.0.0.0/0 via 10.1.0.1 by interface eth0 is missing";
        assert_eq!(texts(&ADDRESSES, &routes, &result()), [missing]);
        routes.push(via("0.0.0.0/0", "10.1.0.254"));
        let told = texts(&ADDRESSES, &routes, &result());
        assert_eq!(told, [format!("{missing}; there is 0.0.0.0/0 via 10.1.0.254")]);
    }

    #[test]
    fn the_table_must_be_the_one_that_is_said() {
        let mut result = result();
        result.routes = vec![libcni::types::Route {
            gw: Some("10.1.0.1".parse().unwrap()),
            table: Some(1000),
            priority: Some(50),
            ..libcni::types::Route::to(net("198.51.100.0/24"))
        }];
        let mut routes = good_routes();
        routes.push(via("198.51.100.0/24", "10.1.0.1"));
        assert_eq!(texts(&ADDRESSES, &routes, &result).len(), 1);
        routes.push(Route { table: 1000, priority: Some(50), ..via("198.51.100.0/24", "10.1.0.1") });
        assert_eq!(texts(&ADDRESSES, &routes, &result), [""; 0]);
        // None said: a later plugin may have moved it.
        result.routes[0].table = None;
        result.routes[0].priority = None;
        routes.remove(4);
        assert_eq!(texts(&ADDRESSES, &routes, &result), [""; 0]);
    }

    #[test]
    fn results_of_old_versions_have_no_indexes() {
        let mut old = result();
        old.interfaces.clear();
        old.ips.truncate(2);
        old.ips.iter_mut().for_each(|ip| ip.interface = None);
        old.routes.truncate(2);
        // Routes without a gateway go by the family's.
        old.routes.iter_mut().for_each(|route| route.gw = None);
        assert_eq!(texts(&ADDRESSES, &good_routes(), &old), [""; 0]);
        assert_eq!(texts(&ADDRESSES, &subnets(), &old).len(), 2);
    }
}
