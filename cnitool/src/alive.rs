//! Who is alive though the cache does not know it: containers of another runtime, those whose cache entry was lost, and
//! those that are being attached now. Nothing of theirs is a leak.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use libcni::netns::Netns;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::tag::{self, Tag};

use crate::node::owned::{Object, Owner};
use crate::node::{Attached, Inventory, Owned, Standing};

/// What a plugin of a container that is being attached or detached has in its environment.
const CONTAINER_ID: &[u8] = b"CNI_CONTAINERID=";

/// What speaks for the life of somebody.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    /// Addresses that a namespace has now.
    addresses: HashSet<IpAddr>,
    /// Container IDs, as tags have them.
    containers: HashSet<String>,
    /// Hashes of their names, as the Go plugins make them.
    hashes: HashSet<String>,
    /// Links of the host that lead into another namespace, or that packets are sent to.
    links: HashSet<String>,
}

impl Witnesses {
    /// Looks for them: in every namespace that has a name or a process, and among the processes.
    pub(crate) fn of(inventory: &Inventory) -> Self {
        let mut found = Self::default();
        for namespace in inventory.namespaces.iter().filter(|namespace| !namespace.is_host) {
            found.addresses.extend(namespace.addresses.iter().map(|address| address.net.addr()));
        }
        found.ask_processes(inventory);
        found.ask_other_ends(inventory);
        found.addresses.retain(|address| !is_everywhere(*address));
        found.ask_links(inventory);
        found.ask_objects(inventory);
        found
    }

    /// Whether `owned` is left over: its owner is gone or unknown, and nothing speaks for the owner's life.
    pub(crate) fn is_leaked(&self, inventory: &Inventory, owned: &Owned) -> bool {
        match inventory.standing(owned) {
            Standing::Alive | Standing::Doubtful => false,
            Standing::Dead => !self.speaks_for_object(&owned.object),
            // Without a mark it may be anybody's.
            Standing::Nobodys => {
                owned.owner != Owner::Unmarked
                    && !self.speaks_for_object(&owned.object)
                    && !self.speaks_for(&owned.owner)
            }
        }
    }

    /// Whether `owned`, which no attachment of the cache owns, is nevertheless somebody's who is alive.
    pub(crate) fn is_living(&self, inventory: &Inventory, owned: &Owned) -> bool {
        inventory.standing(owned) == Standing::Nobodys
            && owned.owner != Owner::Unmarked
            && (self.speaks_for_object(&owned.object) || self.speaks_for(&owned.owner))
    }

    /// What speaks for the life of an attachment whose namespace nobody knows.
    pub(crate) fn of_attachment(&self, attached: &Attached) -> Option<String> {
        let address = attached.result.ips.iter().map(|ip| ip.address.addr()).find(|ip| self.addresses.contains(ip));
        let container = || self.containers.contains(attached.tag.container_id());
        match address {
            Some(address) => Some(format!("its address {address} is in use")),
            None => container().then(|| "its host end is there, or a plugin works for it".to_owned()),
        }
    }

    fn speaks_for_object(&self, object: &Object) -> bool {
        match object {
            Object::Reservation { address, .. } => self.addresses.contains(address),
            Object::Link { name, kind } => kind.is_empty() || self.links.contains(name),
            _ => false,
        }
    }

    fn speaks_for(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Named { container, .. } => self.containers.contains(container),
            Owner::Address(address) => self.addresses.contains(address),
            // Names of chains have more or fewer digits of it.
            Owner::NameHash(hash) => self.hashes.iter().any(|known| known.starts_with(hash) || hash.starts_with(known)),
            Owner::Hashes(hash) => self.hashes.contains(hash),
            Owner::Unmarked => false,
        }
    }

    /// The addresses in namespaces that only processes have, and the containers that plugins work for now. What another
    /// user has cannot be seen, and without the privilege to see it nobody can remove it either.
    fn ask_processes(&mut self, inventory: &Inventory) {
        let mut known: HashSet<u64> = inventory.namespaces.iter().map(|namespace| namespace.identity.1).collect();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let path = process.path();
            if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            if let Some(container) = container_of(&path) {
                self.containers.insert(container);
            }
            let netns = path.join("ns/net");
            if inode_of(&netns).is_some_and(|inode| known.insert(inode)) {
                self.addresses.extend(addresses_in(&netns));
            }
        }
    }

    /// The addresses in the namespaces that links of the host lead into, also where nobody here knows a path to them.
    fn ask_other_ends(&mut self, inventory: &Inventory) {
        let known: HashSet<u32> = inventory.namespaces.iter().filter_map(|namespace| namespace.id).collect();
        let links = inventory.host().into_iter().flat_map(|host| &host.links);
        let unknown: HashSet<u32> =
            links.filter_map(|link| link.link_netns_id).filter(|id| !known.contains(id)).collect();
        let Ok(mut netlink) = Netlink::open() else { return };
        for id in unknown {
            let addresses = netlink.addresses_in_namespace(id).unwrap_or_default();
            self.addresses.extend(addresses.iter().map(|address| address.net.addr()));
        }
    }

    fn ask_links(&mut self, inventory: &Inventory) {
        let Some(host) = inventory.host() else { return };
        let mut netlink = Netlink::open().ok();
        for link in &host.links {
            if link.kind == "veth" && link.link_netns_id.is_some() {
                self.links.insert(link.name.clone());
                self.containers.extend(link.owner().map(|tag: Tag| tag.container_id().to_owned()));
            }
            let targets = netlink.as_mut().and_then(|netlink| netlink.redirections(Dev::from(link)).ok());
            let targets = targets.into_iter().flatten().filter_map(|index| host.link(index));
            self.links.extend(targets.map(|target: &Link| target.name.clone()));
        }
    }

    /// Whoever has something that is about an address in use is alive: a reservation, an element, a rule.
    fn ask_objects(&mut self, inventory: &Inventory) {
        for owned in &inventory.owned {
            if !addresses_of(&owned.object.to_string()).iter().any(|address| self.addresses.contains(address)) {
                continue;
            }
            match &owned.owner {
                Owner::Named { network, container, ifname } => {
                    self.containers.insert(container.clone());
                    self.hash(network.as_deref(), container, ifname.as_deref());
                }
                Owner::NameHash(hash) | Owner::Hashes(hash) => drop(self.hashes.insert(hash.clone())),
                Owner::Address(_) | Owner::Unmarked => {}
            }
        }
    }

    /// The hashes by which the Go plugins name what is this container's.
    fn hash(&mut self, network: Option<&str>, container: &str, ifname: Option<&str>) {
        let (Some(network), Ok(id)) = (network, container.parse()) else { return };
        let Ok(name) = network.parse() else { return };
        self.hashes.insert(tag::chain_name("", &name, &id).trim_start_matches("CNI-").to_owned());
        if let Some(ifname) = ifname {
            let network = tag::short_hash(network);
            self.hashes.insert(format!("{network}-{}", tag::short_hash(&format!("{ifname}:{container}"))));
        }
    }
}

/// The addresses in a text such as `-s 10.60.0.4/32` or `to 10.1.0.2:80`.
fn addresses_of(text: &str) -> Vec<IpAddr> {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':')));
    let address = |word: &str| {
        let word = word.trim_end_matches(':');
        word.parse().or_else(|_| word.parse::<SocketAddr>().map(|socket| socket.ip())).ok()
    };
    words.filter_map(address).collect()
}

/// Whether every namespace may have this address.
fn is_everywhere(address: IpAddr) -> bool {
    address.is_loopback() || matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The container in the environment of a process that is a plugin.
fn container_of(process: &Path) -> Option<String> {
    let environment = std::fs::read(process.join("environ")).ok()?;
    let is_call = environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(b"CNI_COMMAND="));
    let id = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(CONTAINER_ID))?;
    is_call.then(|| String::from_utf8_lossy(id).into_owned())
}

/// `net:[4026531840]`.
fn inode_of(netns: &Path) -> Option<u64> {
    let target = std::fs::read_link(netns).ok()?;
    target.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

fn addresses_in(netns: &Path) -> Vec<IpAddr> {
    let read = || -> Option<Vec<IpAddr>> {
        let mut netlink = Netlink::open_in(&Netns::open(netns).ok()?).ok()?;
        Some(netlink.all_addresses().ok()?.iter().map(|address| address.net.addr()).collect())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_rules_and_elements() {
        let found = |text| addresses_of(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("-A CNI-FORWARD -s 10.60.0.4/32 -j ACCEPT"), ["10.60.0.4"]);
        assert_eq!(found("element tcp . 8000 : 10.10.0.4 . 80 of hostports4"), ["10.10.0.4"]);
        assert_eq!(found("tcp dport 8080 dnat to 10.1.0.2:80"), ["10.1.0.2"]);
        assert_eq!(found("reservation of fd00:20::3 (/run/net): abc"), ["fd00:20::3"]);
    }

    #[test]
    fn the_hashes_are_those_of_the_go_plugins() {
        let mut witnesses = Witnesses::default();
        witnesses.hash(Some("net"), "c1", Some("eth0"));
        // From `nft list ruleset` after the reference's bridge plugin v1.9.1.
        assert!(witnesses.speaks_for(&Owner::Hashes("a4861f4ae9f7d238-f4d01f2ef4b92245".to_owned())));
        assert!(!witnesses.speaks_for(&Owner::NameHash("c100e68e6ff97ef338b9ce30".to_owned())));
    }
}
