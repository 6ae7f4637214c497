//! The host's end of the veth: it is the container's gateway, and the way to the container.

use ipnet::IpNet;
use libcni::plugin::Call;
use libcni::types::IpConfig;
use linuxnet::NetlinkError;
use linuxnet::addr::{self, Dad};
use linuxnet::attach;
use linuxnet::link::{self, Dev, Link};
use linuxnet::netlink::{Batch, Netlink};
use linuxnet::route::{self, Route};
use linuxnet::tag::Tag;

/// The scope of the routes to containers, as the reference's (rtnetlink(7): host).
const SCOPE_HOST: u8 = 254;

/// Says whose it is, and prepares it before there is anybody at its other end.
pub(crate) fn own(call: &Call<'_>, host: &mut Netlink, link: &Link, tag: &Tag) -> Result<(), NetlinkError> {
    host.run(link::set_alias(Dev::from(link), &tag.to_string()))?;
    attach::prepare_gateway(call, &link.name);
    Ok(())
}

/// Gives it the gateways of `ips` as addresses, and routes to the container's own.
pub(crate) fn configure(host: &mut Netlink, link: &Link, ips: &[IpConfig]) -> Result<(), NetlinkError> {
    let dev = Dev::from(link);
    let mut changes = Batch::new();
    changes.extend(gateways(ips).into_iter().map(|net| addr::add(dev, net, Dad::Skip)));
    // Whoever had the address before is gone, and its route must not get the packets.
    changes.extend(routes(ips).iter().map(|route| route::replace(dev, route)));
    changes.send(host)
}

/// The gateways as addresses of their own (/32, /128); several addresses may share one.
pub(crate) fn gateways(ips: &[IpConfig]) -> Vec<IpNet> {
    let mut gateways: Vec<IpNet> = ips.iter().filter_map(|ip| ip.gateway).map(IpNet::from).collect();
    gateways.sort_unstable();
    gateways.dedup();
    gateways
}

/// The routes to the container's addresses.
pub(crate) fn routes(ips: &[IpConfig]) -> Vec<Route> {
    let route = |ip: &IpConfig| {
        let address = ip.address.addr();
        // Of this scope the kernel takes 127.0.0.1 as source where the link has no address. IPv6 knows no scope.
        let is_host = address.is_ipv4() && ip.gateway.is_some();
        Route { scope: is_host.then_some(SCOPE_HOST), ..Route::to(address.into()) }
    };
    ips.iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str, gateway: Option<&str>) -> IpConfig {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        IpConfig { address: address.parse().unwrap(), gateway, interface: Some(1) }
    }

    #[test]
    fn gateways_are_shared_and_may_be_missing() {
        let ips = [
            ip("10.1.0.5/16", Some("10.1.0.1")),
            ip("10.1.0.6/16", Some("10.1.0.1")),
            ip("10.2.0.6/16", None),
            ip("fd00::5/64", Some("fd00::1")),
        ];
        let found: Vec<_> = gateways(&ips).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.0.1/32", "fd00::1/128"]);
        let found: Vec<_> = routes(&ips).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.0.5/32", "10.1.0.6/32", "10.2.0.6/32", "fd00::5/128"]);
    }
}
