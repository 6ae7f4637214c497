//! Interfaces in a VRF. The kernel sets an interface down and up to put it there or take it out, and forgets on the way
//! its routes, and its IPv6 addresses unless sysctl `keep_addr_on_down` is set.

use libcni::types::{self, AddResult};
use linuxnet::NetlinkError;
use linuxnet::addr::{self, Address, Dad};
use linuxnet::link::{self, Dev};
use linuxnet::netlink::{Batch, Netlink};
use linuxnet::route::{LOCAL, MAIN, SavedRoute};

use crate::device::Vrf;

/// What an interface would lose.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    addresses: Vec<Address>,
    routes: Vec<SavedRoute>,
}

impl Saved {
    /// The interface's addresses, and the routes that the kernel does not make by itself.
    pub(crate) fn of(netlink: &mut Netlink, dev: Dev<'_>) -> Result<Self, NetlinkError> {
        let mut addresses = netlink.addresses(dev)?;
        // Those of a router, and the link-local one, come by themselves.
        addresses.retain(|address| address.is_permanent && address.scope == 0);
        let mut routes = netlink.save_routes(dev)?;
        routes.retain(|saved| match saved.route.table {
            MAIN => !saved.is_automatic,
            table => table != LOCAL,
        });
        Ok(Self { addresses, routes })
    }

    /// Gives the interface back what it lost: the addresses, and the routes, those of the main table in `table`.
    fn restore(&self, netlink: &mut Netlink, dev: Dev<'_>, table: u32) -> Result<(), NetlinkError> {
        let now = netlink.addresses(dev)?;
        let mut changes = Batch::new();
        for was in &self.addresses {
            changes.extend(restore_address(dev, was, now.iter().find(|is| is.net == was.net)));
        }
        changes.extend(self.routes.iter().map(|saved| match saved.route.table {
            MAIN => saved.restore(dev, table),
            other => saved.restore(dev, other),
        }));
        changes.send(netlink)
    }

    /// The result with the table that its routes are in now.
    pub(crate) fn report(&self, result: &AddResult, vrf: &Vrf) -> AddResult {
        let is_moved = |route: &types::Route| self.routes.iter().any(|saved| saved.is_meant_by(route));
        let mut result = result.clone();
        for route in &mut result.routes {
            if is_moved(route) {
                route.table = Some(vrf.table);
            }
        }
        result
    }
}

/// What it takes to have the address as it was. One that is there may be probed for duplicates anew, and is of no use
/// meanwhile. It was none before, so that is not waited for.
fn restore_address(dev: Dev<'_>, was: &Address, is: Option<&Address>) -> Vec<linuxnet::netlink::Request> {
    let add = if was.is_alone { addr::add_alone } else { addr::add };
    match is {
        Some(is) if is.is_tentative && !was.is_tentative => {
            vec![addr::remove(dev, was.net), add(dev, was.net, Dad::Skip)]
        }
        Some(_) => Vec::new(),
        None => vec![add(dev, was.net, Dad::Skip)],
    }
}

/// Puts the interface into the VRF with all that it has.
pub(crate) fn enslave(netlink: &mut Netlink, dev: Dev<'_>, saved: &Saved, vrf: &Vrf) -> Result<(), NetlinkError> {
    netlink.run(link::set_master(dev, Dev::from(&vrf.link)))?;
    saved.restore(netlink, dev, vrf.table)
}

/// Takes the interface out of its VRF with all that it had before.
pub(crate) fn release(netlink: &mut Netlink, dev: Dev<'_>, saved: &Saved) -> Result<(), NetlinkError> {
    let is_port = netlink.find_link_by_index(dev.index)?.is_some_and(|link| link.master.is_some());
    if !is_port {
        return Ok(());
    }
    netlink.run(link::clear_master(dev))?;
    saved.restore(netlink, dev, MAIN)
}
