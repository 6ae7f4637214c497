//! The host as the containers' gateway: its address on the bridge, and forwarding.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::{AddResult, IpConfig, Route};
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Dev, Link};
use linuxnet::netlink::{Batch, Netlink};

use crate::conf::Conf;
use crate::error::BridgeError;

/// Gives every address of `result` its gateway, by default the first address of its subnet, and with
/// `isDefaultGateway` each family a default route unless it has one.
pub(crate) fn complete(result: &mut AddResult, conf: &Conf) {
    if !conf.is_gateway {
        return;
    }
    for ip in &mut result.ips {
        ip.gateway.get_or_insert_with(|| first_address(&ip.address));
    }
    if !conf.is_default_gateway {
        return;
    }
    for ip in &result.ips {
        let has_default =
            |route: &Route| route.is_default() && route.dst.addr().is_ipv4() == ip.address.addr().is_ipv4();
        if let Some(gateway) = ip.gateway
            && !result.routes.iter().any(has_default)
        {
            result.routes.push(Route { gw: Some(gateway), ..Route::to(anywhere(gateway)) });
        }
    }
}

/// The gateway addresses of `result`, with the prefix length of their subnets.
pub(crate) fn addresses(result: &AddResult) -> Vec<IpNet> {
    let on_link = |ip: &IpConfig| IpNet::new(ip.gateway?, ip.address.prefix_len()).ok();
    let mut gateways: Vec<IpNet> = result.ips.iter().filter_map(on_link).collect();
    gateways.sort_unstable();
    gateways.dedup();
    gateways
}

/// Puts the addresses `wanted` on `link`, if they are missing. An address in the way is replaced with `force`, else an
/// error: any other one of IPv4, an overlapping one of IPv6.
pub(crate) fn ensure(host: &mut Netlink, link: &Link, wanted: &[IpNet], force: bool) -> Result<(), BridgeError> {
    let dev = Dev::from(link);
    let present = present(host, link)?;
    let mut changes = Batch::new();
    let missing = without(wanted, &present);
    for &missing in &missing {
        for &found in present.iter().filter(|found| !wanted.contains(found) && is_in_the_way(found, &missing)) {
            if !force {
                return Err(BridgeError::OtherAddress { bridge: link.name.clone(), wanted: missing, found });
            }
            changes.push(addr::remove(dev, found));
        }
    }
    if !missing.is_empty()
        && let Some(mac) = link.mac
    {
        // A MAC address that was set stays. Without this, that of a bridge which somebody else made changes with its
        // ports, under the neighbours of its gateway address.
        changes.push(link::set_mac(dev, mac));
    }
    changes.send(host)?;
    for net in missing {
        match host.run(addr::add(dev, net, Dad::Skip)) {
            // Another ADD was faster.
            Err(e) if e.is_exists() => {}
            done => done?,
        }
    }
    Ok(())
}

/// Whether the host cannot be `wanted` beside `found`.
fn is_in_the_way(found: &IpNet, wanted: &IpNet) -> bool {
    match (found, wanted) {
        (IpNet::V4(_), IpNet::V4(_)) => true,
        (IpNet::V6(found), IpNet::V6(wanted)) => found.contains(&wanted.addr()) || wanted.contains(&found.addr()),
        (IpNet::V4(_), IpNet::V6(_)) | (IpNet::V6(_), IpNet::V4(_)) => false,
    }
}

/// The addresses of `wanted` that `link` lacks.
pub(crate) fn missing(host: &mut Netlink, link: &Link, wanted: &[IpNet]) -> Result<Vec<IpNet>, BridgeError> {
    Ok(without(wanted, &present(host, link)?))
}

/// The addresses of `link`.
fn present(host: &mut Netlink, link: &Link) -> Result<Vec<IpNet>, BridgeError> {
    Ok(host.addresses(Dev::from(link))?.into_iter().map(|address| address.net).collect())
}

fn without(wanted: &[IpNet], present: &[IpNet]) -> Vec<IpNet> {
    wanted.iter().copied().filter(|net| !present.contains(net)).collect()
}

/// The first address after the network's own: 10.1.0.1 of 10.1.0.5/16.
fn first_address(net: &IpNet) -> IpAddr {
    match net {
        IpNet::V4(net) => IpAddr::V4((u32::from(net.network()) | 1).into()),
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()) | 1).into()),
    }
}

/// The destination of default routes in the family of `gateway`.
fn anywhere(gateway: IpAddr) -> IpNet {
    match gateway {
        IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::tests::conf;
    use serde_json::json;

    fn result(ips: &[&str]) -> AddResult {
        let ips = ips.iter().map(|ip| IpConfig { address: ip.parse().unwrap(), gateway: None, interface: None });
        AddResult { ips: ips.collect(), ..AddResult::default() }
    }

    #[test]
    fn a_gateway_is_the_first_address_of_the_subnet() {
        let mut result = result(&["10.1.2.3/16", "fd00::5/64"]);
        complete(&mut result, &conf(&json!({"isGateway": true})).unwrap());
        assert_eq!(addresses(&result), ["10.1.0.1/16".parse().unwrap(), "fd00::1/64".parse().unwrap()]);
        assert!(result.routes.is_empty());
    }

    #[test]
    fn each_family_gets_one_default_route_unless_it_has_one() {
        let mut result = result(&["10.1.2.3/16", "10.2.0.3/16", "fd00::5/64"]);
        result.routes.push(Route { gw: "fd00::9".parse().ok(), ..Route::to("::/0".parse().unwrap()) });
        complete(&mut result, &conf(&json!({"isDefaultGateway": true})).unwrap());
        let routes: Vec<_> = result.routes.iter().map(|r| (r.dst.to_string(), r.gw.unwrap().to_string())).collect();
        assert_eq!(routes, [("::/0".into(), "fd00::9".into()), ("0.0.0.0/0".to_string(), "10.1.0.1".to_string())]);
    }

    #[test]
    fn another_address_is_in_the_way_of_ipv4_always_and_of_ipv6_where_they_overlap() {
        let clash = |a: &str, b: &str| is_in_the_way(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(clash("10.9.0.1/16", "10.1.0.1/16"));
        assert!(clash("fd00::2/64", "fd00::1/64"));
        assert!(!clash("fd01::2/64", "fd00::1/64"));
        assert!(!clash("fe80::1/64", "10.1.0.1/16"));
    }
}
