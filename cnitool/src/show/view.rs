//! What is shown of an inventory, whatever the form: attachments with their two ends, bridges, what is odd.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use linuxnet::link::Link;

use crate::node::{Attached, Binding, Inventory, Life, PortMapping, Standing};

/// What is shown.
#[derive(Debug)]
pub(crate) struct View<'i> {
    pub(crate) inventory: &'i Inventory,
    /// By network, in the order of their names as people read them: `web-2` before `web-10`.
    pub(crate) rows: Vec<Row<'i>>,
    /// In the order of their names.
    pub(crate) bridges: Vec<Bridge<'i>>,
    /// Published ports of nobody whom the cache knows.
    pub(crate) stray_ports: Vec<&'i Binding>,
    /// The whole node is shown.
    pub(crate) is_whole: bool,
}

/// An attachment.
#[derive(Debug)]
pub(crate) struct Row<'i> {
    pub(crate) attached: &'i Attached,
    /// Its place in the inventory.
    pub(crate) at: usize,
    /// The addresses of the result.
    pub(crate) addresses: Vec<IpNet>,
    /// Its interface, now.
    pub(crate) link: Option<&'i Link>,
    /// The host's link that leads to it.
    pub(crate) host_link: Option<&'i Link>,
    /// The name of the bridge that this link is a port of.
    pub(crate) bridge: Option<&'i str>,
    /// The ports that are published for it, or should be.
    pub(crate) ports: Vec<Port>,
    /// What is not as it should be, each in a few words.
    pub(crate) odd: Vec<String>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) mapping: PortMapping,
    /// The runtime asked for it.
    pub(crate) is_asked: bool,
    /// The kernel has it; `None`: nobody knows.
    pub(crate) is_published: Option<bool>,
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
        let attachments = inventory.attachments.iter().enumerate();
        let mut rows: Vec<Row<'i>> = attachments.map(|(at, attached)| row(inventory, at, attached)).collect();
        rows.sort_by_cached_key(|row| (row.attached.network.clone(), natural(&row.name()), row.attached.id.clone()));
        let bridges = bridges(inventory, &rows);
        let stray_ports = inventory.bindings.iter().filter(|binding| binding.attachments.is_empty()).collect();
        Self { inventory, rows, bridges, stray_ports, is_whole: true }
    }

    /// The rows by network.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &[Row<'i>]> {
        self.rows.chunk_by(|a, b| a.attached.network == b.attached.network)
    }

    /// How many things were made for attachments that are gone, and for nobody whom the cache knows.
    pub(crate) fn leftovers(&self) -> (usize, usize) {
        let count =
            |standing| self.inventory.owned.iter().filter(|owned| self.inventory.standing(owned) == standing).count();
        (count(Standing::Dead), count(Standing::Nobodys))
    }
}

impl Bridge<'_> {
    /// The addresses that somebody gave it: what the kernel gives each link of itself is of no interest.
    pub(crate) fn shown_addresses(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().filter(|net| !matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local()))
    }
}

/// A name in words and numbers.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = vec![(String::new(), 0)];
    let mut after_digit = false;
    for character in name.chars() {
        if after_digit && !character.is_ascii_digit() {
            parts.push(Default::default());
        }
        after_digit = character.is_ascii_digit();
        let Some((word, number)) = parts.last_mut() else { continue };
        match character.to_digit(10) {
            Some(digit) => *number = number.saturating_mul(10).saturating_add(digit.into()),
            None => word.push(character),
        }
    }
    parts
}

impl Row<'_> {
    /// The name of its pod, or the beginning of the container ID.
    pub(crate) fn name(&self) -> String {
        match &self.attached.pod {
            Some(pod) => pod.to_string(),
            None => self.short_id().to_owned(),
        }
    }

    /// The container ID; of one as long as those of container runtimes as much as container tools show.
    pub(crate) fn short_id(&self) -> &str {
        const SHOWN: usize = 12;
        const LONG: usize = 32;
        let id = self.attached.id.container_id.as_str();
        if id.len() < LONG { id } else { id.get(..SHOWN).unwrap_or(id) }
    }
}

fn row<'i>(inventory: &'i Inventory, at: usize, attached: &'i Attached) -> Row<'i> {
    let host_link = attached.host_link.and_then(|at| inventory.link(at));
    let master = host_link.and_then(|link| inventory.host()?.link(link.master?));
    let ports = ports(inventory, at, attached);
    let mut odd = oddities(inventory, attached);
    if matches!(attached.life, Life::Alive(_)) {
        let missing = ports.iter().filter(|port| port.is_published == Some(false));
        let missing: Vec<String> = missing.map(|port| port.mapping.to_string()).collect();
        odd.extend(
            Some(missing).filter(|ports| !ports.is_empty()).map(|ports| format!("not published: {}", ports.join(" "))),
        );
    }
    Row {
        attached,
        at,
        addresses: attached.result.ips.iter().map(|ip| ip.address).collect(),
        link: attached.link.and_then(|at| inventory.link(at)),
        host_link,
        bridge: master.filter(|master| master.kind == "bridge").map(|master| master.name.as_str()),
        ports,
        odd,
    }
}

/// The ports that the runtime asked for and those that the kernel publishes, each once.
fn ports(inventory: &Inventory, at: usize, attached: &Attached) -> Vec<Port> {
    let own: Vec<IpAddr> = attached.result.ips.iter().map(|ip| ip.address.addr()).collect();
    // The mark of the Go plugin's rules does not name the network.
    let is_own = |binding: &&Binding| binding.attachments.contains(&at) && own.contains(&binding.target);
    let published: BTreeSet<&PortMapping> =
        inventory.bindings.iter().filter(is_own).map(|binding| &binding.mapping).collect();
    let mut ports: Vec<Port> = Vec::new();
    if attached.has_portmap() {
        ports.extend(attached.asked_ports().into_iter().map(|mapping| {
            let is_published =
                if published.contains(&mapping) { Some(true) } else { inventory.is_firewall_read.then_some(false) };
            Port { mapping, is_asked: true, is_published }
        }));
    }
    for mapping in published {
        if !ports.iter().any(|port| port.mapping == *mapping) {
            ports.push(Port { mapping: mapping.clone(), is_asked: false, is_published: Some(true) });
        }
    }
    ports.sort();
    ports.dedup();
    ports
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
    let mut bridges: Vec<Bridge<'i>> = host.links.iter().filter(|link| link.kind == "bridge").map(of).collect();
    bridges.sort_by(|a, b| a.link.name.cmp(&b.link.name));
    bridges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let mut names = ["web-10", "web-2", "web", "db-3", "web-2-b", "web-2-a"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["db-3", "web", "web-2", "web-2-a", "web-2-b", "web-10"]);
    }
}
