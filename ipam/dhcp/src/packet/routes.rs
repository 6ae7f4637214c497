use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use libcni::types::Route;

/// `RT_SCOPE_LINK` of rtnetlink(7): the destination is on the link, there is no router.
const SCOPE_LINK: u8 = 253;
/// Bytes of an address.
const ADDRESS: usize = 4;

/// The option "classless static routes" (RFC 3442): prefix length, as many bytes of the destination as it covers,
/// router. `None` if it is malformed.
pub(crate) fn classless(mut option: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((&length, rest)) = option.split_first() {
        let significant = usize::from(length).div_ceil(8);
        let (destination, rest) = rest.split_at_checked(significant)?;
        let (router, rest) = rest.split_first_chunk::<ADDRESS>()?;
        let mut octets = [0; ADDRESS];
        octets.get_mut(..significant)?.copy_from_slice(destination);
        let net = Ipv4Net::new(octets.into(), length).ok()?.trunc();
        routes.push(route(net, Ipv4Addr::from(*router)));
        option = rest;
    }
    Some(routes)
}

/// The option "static routes" (RFC 2132, section 5.8): pairs of destination and router. The destination's class says
/// how long its prefix is; one with bits beyond that is a host. A default route is not allowed here, nor a destination
/// without a class.
pub(crate) fn classful(option: &[u8]) -> Vec<Route> {
    let (pairs, _cut_off) = option.as_chunks::<{ 2 * ADDRESS }>();
    pairs
        .iter()
        .filter_map(|&[a, b, c, d, router @ ..]| {
            let destination = Ipv4Addr::new(a, b, c, d);
            let length = match a {
                0 => return None,
                1..=127 => 8,
                128..=191 => 16,
                192..=223 => 24,
                _ => return None,
            };
            let class = Ipv4Net::new(destination, length).ok()?;
            let net = if class.network() == destination { class } else { Ipv4Net::from(destination) };
            Some(route(net, Ipv4Addr::from(router)))
        })
        .collect()
}

fn route(net: Ipv4Net, router: Ipv4Addr) -> Route {
    let mut route = Route::to(IpNet::V4(net));
    if router.is_unspecified() {
        route.scope = Some(SCOPE_LINK);
    } else {
        route.gw = Some(IpAddr::V4(router));
    }
    route
}
