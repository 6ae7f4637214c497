//! What ADD changes, as a function of the addresses, the interface's routes, and the tables in use.

use libcni::types::{self, AddResult};
use linuxnet::link::Dev;
use linuxnet::netlink::Batch;
use linuxnet::route::{self, MAIN, Route, SavedRoute};
use linuxnet::rule::Rule;
use linuxnet::table::Tables;

use crate::error::SbrError;
use crate::rules;
use crate::source::Source;

/// The first number of an own table, as the reference's.
const FIRST_TABLE: u32 = 100;

/// An address with a table of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Own<'s> {
    source: Source,
    table: u32,
    /// Routes of the main table that are in this one, too.
    copies: Vec<&'s SavedRoute>,
    /// The default route, where none of the copies is it.
    default: Option<Route>,
}

/// What becomes of the interface's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan<'s> {
    own: Vec<Own<'s>>,
    /// Routes of the main table that get the address as source.
    hinted: Vec<Route>,
    /// Routes that the main table loses.
    removed: Vec<&'s SavedRoute>,
}

impl<'s> Plan<'s> {
    /// Each address gets a table: the next one that nobody uses.
    pub(crate) fn new(
        sources: &[Source],
        saved: &'s [SavedRoute],
        mut tables: Tables,
        hints: bool,
    ) -> Result<Self, SbrError> {
        let in_main: Vec<_> = saved.iter().filter(|saved| saved.route.table == MAIN).collect();
        let mut own = Vec::new();
        for source in sources {
            let table = tables.take_free(FIRST_TABLE).ok_or(SbrError::NoFreeTable)?;
            let is_first = !own.iter().any(|own: &Own<'_>| own.source.ip().is_ipv4() == source.ip().is_ipv4());
            let copies = in_main.iter().copied().filter(|saved| belongs(&saved.route, source, sources, is_first));
            let copies: Vec<_> = copies.collect();
            let default = default_route(source, &copies);
            own.push(Own { source: *source, table, copies, default });
        }
        let stays = |saved: &SavedRoute| is_link_local(&saved.route) || (hints && saved.route.gw.is_none());
        let removed = in_main.iter().copied().filter(|saved| !stays(saved)).collect();
        let hinted = if hints { hinted(sources, &in_main) } else { Vec::new() };
        Ok(Self { own, hinted, removed })
    }

    /// The own tables are filled; nothing looks into them yet.
    pub(crate) fn fill(&self, dev: Dev<'_>) -> Batch {
        let table = |own: &Own<'_>| {
            let copies: Vec<_> = own.copies.iter().map(|saved| saved.restore(dev, own.table)).collect();
            let default =
                own.default.as_ref().map(|default| route::add(dev, &Route { table: own.table, ..default.clone() }));
            copies.into_iter().chain(default)
        };
        self.own.iter().flat_map(table).collect()
    }

    /// The addresses' packets are routed by their tables.
    pub(crate) fn rules(&self) -> impl Iterator<Item = Rule> {
        self.own.iter().map(|own| rules::of(own.source.ip(), own.table))
    }

    /// The main table loses what the others have now.
    pub(crate) fn clear_main(&self, dev: Dev<'_>) -> Batch {
        let hints = self.hinted.iter().map(|route| route::replace(dev, route));
        hints.chain(self.removed.iter().map(|saved| saved.remove(dev))).collect()
    }

    /// The result, its routes as they are now: each in the tables that it is in, and the new default routes.
    pub(crate) fn report(&self, result: &AddResult) -> AddResult {
        let mut routes = Vec::new();
        for reported in &result.routes {
            let Some(saved) = self.find(reported) else {
                routes.push(reported.clone());
                continue;
            };
            if !self.removed.contains(&saved) {
                routes.push(reported.clone());
            }
            let tables = self.own.iter().filter(|own| own.copies.contains(&saved));
            routes.extend(tables.map(|own| types::Route { table: Some(own.table), ..reported.clone() }));
        }
        routes.extend(self.own.iter().filter_map(|own| {
            let default = own.default.as_ref()?;
            Some(types::Route { gw: default.gw, table: Some(own.table), ..types::Route::to(default.dst) })
        }));
        AddResult { routes, ..result.clone() }
    }

    /// The interface's route in the main table that the result means, of those that are moved or copied.
    fn find(&self, reported: &types::Route) -> Option<&'s SavedRoute> {
        let copied = self.own.iter().flat_map(|own| own.copies.iter().copied());
        self.removed.iter().copied().chain(copied).find(|saved| saved.is_meant_by(reported))
    }
}

/// Whether the route goes into the table of `source`. What serves none of the addresses is not lost: it goes with the
/// first of its family.
fn belongs(route: &Route, source: &Source, sources: &[Source], is_first: bool) -> bool {
    if source.is_gateway_static && route.dst.prefix_len() == 0 {
        return false;
    }
    let is_nobodys = || !sources.iter().any(|source| source.is_served_by(route));
    source.is_served_by(route) || (is_first && source.is_family_of(route) && is_nobodys())
}

/// The default route by the source's gateway, unless one of the copies is it.
fn default_route(source: &Source, copies: &[&SavedRoute]) -> Option<Route> {
    let dst = source.everywhere();
    let is_there = |gw| copies.iter().any(|saved| saved.route.dst == dst && saved.route.gw == Some(gw));
    let gw = source.gateway.filter(|&gw| !is_there(gw))?;
    Some(Route { gw: Some(gw), ..Route::to(dst) })
}

/// The routes to the addresses' subnets, where they do not say the address yet.
fn hinted(sources: &[Source], in_main: &[&SavedRoute]) -> Vec<Route> {
    let hint = |source: &Source| {
        let is_the_subnets = |route: &Route| route.dst == source.address.trunc() && route.gw.is_none();
        let subnet = in_main.iter().map(|saved| &saved.route).find(|route| is_the_subnets(route))?;
        // Of several addresses of one subnet the kernel's choice stays.
        subnet.src.is_none().then(|| Route { src: Some(source.ip()), ..subnet.clone() })
    };
    let mut hinted: Vec<Route> = Vec::new();
    for route in sources.iter().filter_map(hint) {
        if !hinted.iter().any(|first| first.dst == route.dst) {
            hinted.push(route);
        }
    }
    hinted
}

/// Without the route to fe80::/64 the container could not speak to its neighbours' link-local addresses: its packets
/// to them have no source yet when they are routed.
fn is_link_local(route: &Route) -> bool {
    matches!(route.dst, ipnet::IpNet::V6(net) if net.addr().is_unicast_link_local())
}
