//! What the kernel has made of a route's attributes.

use libcni::types;
use nix::libc;

use crate::route::{MAIN, Route};

/// Whether the route says anything beyond destination and gateway.
pub(super) fn has_attributes(route: &types::Route) -> bool {
    let types::Route { dst: _, gw: _, mtu, advmss, priority, table, scope } = route;
    mtu.is_some() || advmss.is_some() || priority.is_some() || table.is_some() || scope.is_some()
}

/// The kernel's route that `wanted` has become.
pub(super) fn find<'k>(wanted: &Route, kernel: &'k [Route]) -> Option<&'k Route> {
    // RT_TABLE_UNSPEC is the main table.
    let table = if wanted.table == 0 { MAIN } else { wanted.table };
    let candidates = || kernel.iter().filter(|is| (is.dst, is.gw, is.table) == (wanted.dst, wanted.gw, table));
    // There may be one for each metric.
    candidates().find(|is| is.priority.unwrap_or(0) == wanted.priority.unwrap_or(0)).or_else(|| candidates().next())
}

/// Has `route` say of each attribute that it names what `is` has.
pub(super) fn report(route: &mut types::Route, is: &Route) {
    route.mtu = route.mtu.and(is.mtu);
    route.advmss = route.advmss.and(is.advmss);
    // IPv4 does not tell a metric of 0, which it has all the same.
    route.priority = route.priority.map(|_| is.priority.unwrap_or(0));
    route.table = route.table.map(|_| is.table);
    route.scope = route.scope.and_then(|asked| scope(asked, is));
}

/// IPv6 has no scopes, but a route on the link is what [`super::resolve`] makes of this one.
fn scope(asked: u8, is: &Route) -> Option<u8> {
    let v6_on_link = is.dst.addr().is_ipv6() && is.gw.is_none() && asked >= libc::RT_SCOPE_LINK;
    if v6_on_link { Some(libc::RT_SCOPE_LINK) } else { is.scope }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(dst: &str) -> types::Route {
        types::Route {
            mtu: Some(70000),
            advmss: Some(1360),
            priority: Some(0),
            table: Some(0),
            scope: Some(253),
            ..types::Route::to(dst.parse().unwrap())
        }
    }

    fn is(dst: &str) -> Route {
        Route { mtu: Some(65520), advmss: Some(1360), scope: Some(0), ..Route::to(dst.parse().unwrap()) }
    }

    #[test]
    fn the_kernels_values_are_reported() {
        let mut v4 = asked("10.7.0.0/16");
        report(&mut v4, &Route { scope: Some(253), ..is("10.7.0.0/16") });
        assert_eq!((v4.mtu, v4.advmss, v4.priority), (Some(65520), Some(1360), Some(0)));
        assert_eq!((v4.table, v4.scope), (Some(MAIN), Some(253)));
        let mut v6 = asked("fd00::/64");
        report(&mut v6, &Route { priority: Some(1024), advmss: None, ..is("fd00::/64") });
        assert_eq!((v6.mtu, v6.advmss, v6.priority, v6.scope), (Some(65520), None, Some(1024), Some(253)));
        report(&mut v6, &Route { gw: "fd00::1".parse().ok(), ..is("fd00::/64") });
        assert_eq!(v6.scope, Some(0));
    }

    #[test]
    fn what_nobody_asked_for_is_not_reported() {
        let mut plain = types::Route::to("fd00::/64".parse().unwrap());
        assert!(!has_attributes(&plain));
        plain.mtu = Some(1400);
        assert!(has_attributes(&plain));
        report(&mut plain, &Route { priority: Some(1024), ..is("fd00::/64") });
        assert_eq!(plain, types::Route { mtu: Some(65520), ..types::Route::to("fd00::/64".parse().unwrap()) });
    }

    #[test]
    fn the_route_of_the_same_metric_is_the_one() {
        let with = |priority| Route { priority, ..is("10.7.0.0/16") };
        let kernel = [with(Some(9)), with(None), Route { table: 7, ..with(Some(5)) }];
        let find =
            |priority, table| find(&Route { priority, table, ..Route::to("10.7.0.0/16".parse().unwrap()) }, &kernel);
        assert_eq!(find(Some(0), 0), Some(&kernel[1]));
        assert_eq!(find(Some(9), MAIN), Some(&kernel[0]));
        // IPv6 makes 1024 of it, and so on.
        assert_eq!(find(Some(0), 7), Some(&kernel[2]));
        assert_eq!(find(Some(9), 8), None);
    }
}
