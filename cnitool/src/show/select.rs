//! The part of a node that the command line asks for.

use std::net::IpAddr;

use ipnet::IpNet;

use super::view::{Row, View};

/// The least of a container ID that is taken for its beginning, in characters.
const LEAST_OF_ID: usize = 4;

impl View<'_> {
    /// Only what is called so: a network, a container ID or its beginning, a pod, an address or those of a subnet, a link
    /// or bridge of the host. `false`: there is nothing of this name.
    pub(crate) fn narrow(&mut self, what: &str) -> bool {
        self.is_whole = false;
        self.rows.retain(|row| is_called(row, what));
        let rows = &self.rows;
        self.bridges.retain(|bridge| {
            bridge.link.name == what || rows.iter().any(|row| row.bridge == Some(bridge.link.name.as_str()))
        });
        self.stray_ports.clear();
        !self.rows.is_empty() || !self.bridges.is_empty()
    }
}

fn is_called(row: &Row<'_>, what: &str) -> bool {
    let attached = row.attached;
    let id = attached.id.container_id.as_str();
    let is_pod = attached.pod.as_ref().is_some_and(|pod| pod.name == what || pod.to_string() == what);
    let is_link = row.bridge == Some(what) || row.host_link.is_some_and(|link| link.name == what);
    let is_network = attached.network.as_str() == what;
    is_network
        || is_pod
        || is_link
        || (what.len() >= LEAST_OF_ID && id.starts_with(what))
        || id == what
        || has(row, what)
}

/// Whether it has this address, or one of this subnet.
fn has(row: &Row<'_>, what: &str) -> bool {
    let of_row = |holds: &dyn Fn(IpAddr) -> bool| row.addresses.iter().any(|net| holds(net.addr()));
    match (what.parse::<IpAddr>(), what.parse::<IpNet>()) {
        (Ok(address), _) => of_row(&|own| own == address),
        // As it stands in the table, it is the address; else the subnet.
        (_, Ok(net)) if net.addr() != net.network() => of_row(&|own| own == net.addr()),
        (_, Ok(net)) => of_row(&|own| net.contains(&own)),
        _ => false,
    }
}
