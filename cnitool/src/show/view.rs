//! What is shown of an inventory, whatever the form: attachments with their two ends, bridges, what is odd.

use std::collections::BTreeMap;

use ipnet::IpNet;
use linuxnet::link::Link;

use crate::node::{Attached, Inventory, Life, PortMapping};

/// What is shown.
#[derive(Debug)]
pub(crate) struct View<'i> {
    pub(crate) inventory: &'i Inventory,
    /// In the order of network, container, interface.
    pub(crate) rows: Vec<Row<'i>>,
    /// In the order of their names.
    pub(crate) bridges: Vec<Bridge<'i>>,
}

/// An attachment.
#[derive(Debug)]
pub(crate) struct Row<'i> {
    pub(crate) attached: &'i Attached,
    /// The addresses of the result.
    pub(crate) addresses: Vec<IpNet>,
    /// The host's link that leads to it.
    pub(crate) host_link: Option<&'i Link>,
    /// The name of the bridge that this link is a port of.
    pub(crate) bridge: Option<&'i str>,
    /// The ports that are published for it.
    pub(crate) ports: Vec<PortMapping>,
    /// What is not as it should be, each in a few words.
    pub(crate) odd: Vec<String>,
}

/// A bridge of the host.
#[derive(Debug)]
pub(crate) struct Bridge<'i> {
    pub(crate) link: &'i Link,
    pub(crate) addresses: Vec<IpNet>,
    /// Its ports.
    pub(crate) ports: Vec<&'i Link>,
    /// The networks whose attachments are on it.
    pub(crate) networks: Vec<&'i str>,
}

impl<'i> View<'i> {
    /// All of the node.
    pub(crate) fn of(inventory: &'i Inventory) -> Self {
        let rows: Vec<Row<'i>> = inventory.attachments.iter().map(|attached| row(inventory, attached)).collect();
        let bridges = bridges(inventory, &rows);
        Self { inventory, rows, bridges }
    }
}

fn row<'i>(inventory: &'i Inventory, attached: &'i Attached) -> Row<'i> {
    let host_link = attached.host_link.and_then(|at| inventory.link(at));
    let master = host_link.and_then(|link| inventory.host()?.link(link.master?));
    Row {
        attached,
        addresses: attached.result.ips.iter().map(|ip| ip.address).collect(),
        host_link,
        bridge: master.filter(|master| master.kind == "bridge").map(|master| master.name.as_str()),
        ports: attached.asked_ports(),
        odd: oddities(inventory, attached),
    }
}

/// What is not as ADD left it.
fn oddities(inventory: &Inventory, attached: &Attached) -> Vec<String> {
    let at = match attached.life {
        Life::Gone => return vec!["namespace gone".to_owned()],
        Life::Unknown => return Vec::new(),
        Life::Alive(at) => at,
    };
    let ifname = &attached.id.ifname;
    let Some(link) = attached.link.and_then(|at| inventory.link(at)) else { return vec![format!("{ifname} missing")] };
    let Some(namespace) = inventory.namespaces.get(at) else { return Vec::new() };
    let mut odd = Vec::new();
    if !link.is_up {
        odd.push(format!("{ifname} down"));
    }
    let present: Vec<IpNet> = namespace.addresses_of(link).map(|address| address.net).collect();
    let own = attached.result.container_interface(ifname.as_str()).map(|(index, _)| index);
    let of_link = attached.result.ips.iter().filter(|ip| ip.interface.is_none() || ip.interface == own);
    let missing = of_link.filter(|ip| !present.contains(&ip.address));
    odd.extend(missing.map(|ip| format!("{} missing", ip.address)));
    odd
}

fn bridges<'i>(inventory: &'i Inventory, rows: &[Row<'i>]) -> Vec<Bridge<'i>> {
    let Some(host) = inventory.host() else { return Vec::new() };
    let of = |link: &'i Link| {
        let on_it = rows.iter().filter(|row| row.bridge == Some(&link.name));
        let mut networks: Vec<&str> = on_it.map(|row| row.attached.network.as_str()).collect();
        networks.dedup();
        let addresses = host.addresses_of(link).map(|address| address.net).collect();
        Bridge { link, addresses, ports: host.ports_of(link).collect(), networks }
    };
    let by_name: BTreeMap<&str, Bridge<'i>> =
        host.links.iter().filter(|link| link.kind == "bridge").map(|link| (link.name.as_str(), of(link))).collect();
    by_name.into_values().collect()
}
