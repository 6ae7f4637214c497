//! What there is on the node that an attachment may leave behind.

use std::collections::BTreeSet;
use std::path::Path;

use libcni::netns::Netns;
use linuxnet::link::Dev;
use linuxnet::netlink::Netlink;
use linuxnet::route;

use crate::ipam;
use crate::node::NodeError;
use crate::wire;

/// Where plugins keep files.
const FILES: [&str; 2] = ["/var/lib/cni", "/run/cni"];

/// How the line of a link begins that is up and cannot carry packets.
pub(crate) const NO_CARRIER: &str = "no carrier";

/// One line for each link, address, route, rule and file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(BTreeSet<String>);

impl State {
    /// What there is now in this process's namespaces.
    pub(crate) fn of_node() -> Result<Self, NodeError> {
        let mut lines = BTreeSet::new();
        let mut netlink = Netlink::open_in(&Netns::current()?)?;
        for link in netlink.links()?.iter().filter(|link| !link.name.starts_with(wire::PREFIX)) {
            lines.insert(format!("link {} {}", or_dash(&link.kind), link.name));
            for address in netlink.addresses(Dev::from(link))?.iter().filter(|address| !is_link_local(address.net)) {
                lines.insert(format!("address {} {}", link.name, address.net));
            }
            let routes = netlink.routes(route::Filter { link: Some(link.index), table: None })?;
            for route in routes.iter().filter(|route| !is_link_local(route.dst)) {
                lines.insert(format!("route {} {route}", link.name));
            }
        }
        for rule in netlink.rules()? {
            lines.insert(format!("rule {rule}"));
        }
        for dir in FILES {
            files(Path::new(dir), &mut lines);
        }
        let addresses = ipam::addresses_dir();
        for file in libcni::store::files(&addresses).unwrap_or_default() {
            let owner = std::fs::read_to_string(&file).unwrap_or_default();
            lines.insert(format!("conformance-ipam {} of {owner}", file.file_name().unwrap_or_default().display()));
        }
        Ok(Self(lines))
    }

    /// What there is in a container, too: also whether its links are up and can carry packets. Link-local addresses of
    /// IPv6, which come when the kernel pleases, do not count.
    pub(crate) fn add_container(&mut self, name: &str, netlink: &mut Netlink) -> Result<(), NodeError> {
        for link in netlink.links()? {
            let up = if link.is_up { "up" } else { "down" };
            let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
            let (kind, own) = (or_dash(&link.kind), &link.name);
            self.0.insert(format!("link {kind} {own} in {name}: {up}, MTU {}, {mac}", link.mtu));
            if link.is_up && !link.is_running {
                self.0.insert(format!("{NO_CARRIER} {own} in {name}"));
            }
            for address in netlink.addresses(Dev::from(&link))?.iter().filter(|address| !is_link_local(address.net)) {
                self.0.insert(format!("address {own} in {name}: {}", address.net));
            }
            let routes = netlink.routes(route::Filter { link: Some(link.index), table: None })?;
            for route in routes.iter().filter(|route| !is_link_local(route.dst) && !route.dst.addr().is_multicast()) {
                self.0.insert(format!("route {own} in {name}: {route}"));
            }
        }
        Ok(())
    }

    /// What is in `self` and not in `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Vec<String> {
        self.0.difference(&earlier.0).cloned().collect()
    }

    /// What appeared since `before` and belongs to an attachment: all but the infrastructure that plugins keep by design,
    /// a bridge with its addresses and routes, and the files of an allocator that are no address.
    pub(crate) fn left_since(&self, before: &Self) -> Vec<String> {
        let bridges: Vec<&str> = self.0.iter().filter_map(|line| line.strip_prefix("link bridge ")).collect();
        self.0.difference(&before.0).filter(|line| !is_infrastructure(line, &bridges)).cloned().collect()
    }
}

fn is_link_local(net: ipnet::IpNet) -> bool {
    matches!(net.addr(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn or_dash(kind: &str) -> &str {
    if kind.is_empty() { "-" } else { kind }
}

/// Whether plugins keep this between attachments, by design and as the reference does.
fn is_infrastructure(line: &str, bridges: &[&str]) -> bool {
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some("link"), Some("bridge")) => true,
        (Some("address" | "route"), Some(device)) => bridges.contains(&device),
        (Some("file"), Some(path)) => {
            let name = path.rsplit('/').next().unwrap_or(path);
            name.parse::<std::net::IpAddr>().is_err() && !name.ends_with(".json")
        }
        _ => false,
    }
}

/// `file PATH`, of everything below a directory.
fn files(dir: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, lines);
        } else {
            lines.insert(format!("file {}", path.display()));
        }
    }
}
