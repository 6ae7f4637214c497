//! The default route: where packets go that no other route leads.

use crate::error::NetlinkError;
use crate::netlink::Netlink;
use crate::packet::AddressFamily;

use super::{Filter, MAIN, Route};

impl Netlink {
    /// The default route of the main table by a link: that of IPv4 with the lowest metric, without one that of IPv6
    /// (`ip route show default`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn default_route(&mut self) -> Result<Option<Route>, NetlinkError> {
        let main = Filter { table: Some(MAIN), link: None };
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let best = best(self.routes_of(family, main)?);
            if best.is_some() {
                return Ok(best);
            }
        }
        Ok(None)
    }
}

/// Of several with the same metric the first, as the kernel uses them.
fn best(routes: Vec<Route>) -> Option<Route> {
    let defaults = routes.into_iter().filter(|route| route.dst.prefix_len() == 0 && route.link.is_some());
    defaults.min_by_key(|route| route.priority.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_metric_wins_and_then_the_first() {
        let by = |link: Option<u32>, dst: &str, priority| Route { link, priority, ..Route::to(dst.parse().unwrap()) };
        let routes = vec![
            by(Some(1), "10.0.0.0/8", None),
            by(Some(2), "0.0.0.0/0", Some(600)),
            by(None, "0.0.0.0/0", None),
            by(Some(3), "0.0.0.0/0", Some(100)),
            by(Some(4), "0.0.0.0/0", Some(100)),
        ];
        assert_eq!(best(routes.clone()).and_then(|route| route.link), Some(3));
        assert_eq!(best(vec![]), None);
        let with_plain: Vec<_> = routes.into_iter().chain([by(Some(5), "0.0.0.0/0", None)]).collect();
        assert_eq!(best(with_plain).and_then(|route| route.link), Some(5));
    }
}
