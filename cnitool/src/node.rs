//! What is on this node now: attachments, namespaces, links, and every object that is somebody's, with its owner.
//!
//! Everything is read from the calling thread's network namespace, the host's. A part that cannot be read is a
//! [`Note`] of the inventory; the rest of it is as true as before.

pub(crate) mod attachment;
pub(crate) mod config;
mod files;
pub(crate) mod iptables;
mod namespace;
mod nftables;
pub(crate) mod overlay;
pub(crate) mod owned;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use libcni::error::causes;
use libcni::netns::Netns;
use libcni::runtime::{Cache, NetworkList, Networks, Skipped};
use linuxnet::link::{Dev, Link};
use linuxnet::nft::Nfnetlink;

pub(crate) use attachment::{Attached, Life, PortMapping};
pub(crate) use namespace::{LinkAt, Namespace};
pub(crate) use overlay::Overlay;
use owned::Index;
pub(crate) use owned::{Object, Owned, Owner, Standing};

/// Where the parts of an inventory are found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'s> {
    /// What runtimes remember.
    pub(crate) cache: &'s Cache,
    /// The configuration directory.
    pub(crate) conf_dir: &'s Path,
}

/// A node, as it was while it was read.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// What the cache has, in the order of network, container, interface.
    pub(crate) attachments: Vec<Attached>,
    /// Cache entries that nobody can read: each may be of a living container.
    pub(crate) unreadable: Vec<Skipped>,
    /// The networks of the configuration directory, with their files.
    pub(crate) networks: Vec<(PathBuf, NetworkList)>,
    /// The host's namespace first, then those of attachments, then others that have a name.
    pub(crate) namespaces: Vec<Namespace>,
    /// What was made for attachments, of today or long gone.
    pub(crate) owned: Vec<Owned>,
    /// The ports that the kernel publishes.
    pub(crate) bindings: Vec<Binding>,
    /// All that may publish ports could be read.
    pub(crate) is_firewall_read: bool,
    /// The overlays of this node: mostly none or one.
    pub(crate) overlays: Vec<Overlay>,
    /// What could not be read.
    pub(crate) notes: Vec<Note>,
}

/// A port that the kernel publishes.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// The ports.
    pub(crate) mapping: PortMapping,
    /// The address of the container.
    pub(crate) target: IpAddr,
    /// Whose it is, as its mark says.
    pub(crate) owner: Owner,
    /// The places of the attachments that the mark fits.
    pub(crate) attachments: Vec<usize>,
}

/// A part of the node that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The part, such as `the rules of nftables`.
    pub(crate) part: String,
    /// Why.
    pub(crate) reason: String,
}

impl Note {
    /// `part` could not be read because of `fault`.
    pub(crate) fn of(part: impl Into<String>, fault: &(dyn std::error::Error + 'static)) -> Self {
        Self { part: part.into(), reason: causes(Some(fault)) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.part, self.reason)
    }
}

impl Inventory {
    /// Reads the node.
    pub(crate) fn read(sources: Sources<'_>) -> Self {
        let mut inventory = Self::default();
        inventory.read_networks(sources.conf_dir);
        inventory.read_cache(sources.cache);
        inventory.read_namespaces();
        inventory.read_owned();
        let mut notes = Vec::new();
        inventory.overlays = overlay::read(&inventory, &mut notes);
        inventory.notes.append(&mut notes);
        inventory
    }

    /// The host's namespace.
    pub(crate) fn host(&self) -> Option<&Namespace> {
        self.namespaces.first().filter(|namespace| namespace.is_host)
    }

    /// The link at a place of this inventory.
    pub(crate) fn link(&self, at: LinkAt) -> Option<&Link> {
        self.namespaces.get(at.namespace)?.link(at.index)
    }

    /// What a link leads to: a veth's other end, the link that a macvlan, ipvlan or VLAN is on.
    pub(crate) fn other_end(&self, at: LinkAt) -> Option<LinkAt> {
        namespace::other_end(&self.namespaces, at)
    }

    /// Whether a link of the host leads elsewhere than to attachments: it is no loopback, no bridge, no port of one but
    /// an uplink's, and nothing that was made for an attachment.
    pub(crate) fn is_uplink(&self, link: &Link) -> bool {
        let leads_to =
            |attached: &Attached| attached.host_link.is_some_and(|at| at.index == link.index) && link.kind == "veth";
        let is_owned = |owned: &Owned| matches!(&owned.object, Object::Link { name, .. } if *name == link.name);
        link.index != Dev::LOOPBACK.index
            && !["bridge", "ifb"].contains(&link.kind.as_str())
            && !self.attachments.iter().any(leads_to)
            && !self.owned.iter().any(is_owned)
    }

    /// Whether what `owned` belongs to is alive.
    pub(crate) fn standing(&self, owned: &Owned) -> Standing {
        let lives: Vec<&Life> = owned
            .attachments
            .iter()
            .filter_map(|&at| self.attachments.get(at))
            .map(|attached| &attached.life)
            .collect();
        if lives.iter().any(|life| !matches!(life, Life::Gone)) {
            Standing::Alive
        } else if !lives.is_empty() {
            Standing::Dead
        } else if self.unreadable.is_empty() {
            Standing::Nobodys
        } else {
            Standing::Doubtful
        }
    }

    /// The configuration lists of a network: as its attachments were made with, and as it is configured now.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &NetworkList> {
        let cached = self.attachments.iter().filter_map(|attached| attached.list.as_ref());
        cached.chain(self.networks.iter().map(|(_, list)| list))
    }

    /// The configuration lists of networks: as they are configured, then as attachments were made with.
    pub(crate) fn lists_now_and_then(&self) -> impl Iterator<Item = &NetworkList> {
        let cached = self.attachments.iter().filter_map(|attached| attached.list.as_ref());
        self.networks.iter().map(|(_, list)| list).chain(cached)
    }

    fn read_networks(&mut self, dir: &Path) {
        match Networks::read(dir) {
            Ok(Networks { lists, skipped }) => {
                self.networks = lists;
                let note = |skipped: Skipped| Note { part: skipped.path.display().to_string(), reason: skipped.reason };
                self.notes.extend(skipped.into_iter().map(note));
            }
            Err(fault) => self.notes.push(Note::of("the network configurations", &fault)),
        }
    }

    fn read_cache(&mut self, cache: &Cache) {
        match cache.attachments() {
            Ok(found) => {
                self.attachments = found.attachments.into_iter().map(Attached::of).collect();
                self.attachments.sort_by(|a, b| (&a.network, &a.id).cmp(&(&b.network, &b.id)));
                self.unreadable = found.skipped;
            }
            Err(fault) => self.notes.push(Note::of("the attachments that runtimes remember", &fault)),
        }
    }

    /// Opens the namespace of the host, those of attachments, and those that have a name; each once.
    fn read_namespaces(&mut self) {
        match Netns::current() {
            Ok(host) => self.add_namespace(host, true),
            Err(fault) => return self.notes.push(Note::of("the host's network namespace", &fault)),
        };
        for at in 0..self.attachments.len() {
            let Some(path) = self.attachments.get(at).and_then(|attached| attached.netns.clone()) else { continue };
            let life = self.open_namespace(&path);
            if let Some(attached) = self.attachments.get_mut(at) {
                attached.life = life;
            }
        }
        for path in namespace::named(&mut self.notes) {
            self.open_namespace(&path);
        }
        namespace::number(&mut self.namespaces, &mut self.notes);
        attachment::find_links(&mut self.attachments, &self.namespaces);
    }

    fn open_namespace(&mut self, path: &Path) -> Life {
        match Netns::open(path) {
            Ok(netns) => self.add_namespace(netns, false).map_or(Life::Unknown, Life::Alive),
            // A file that is left where a namespace was mounted before a restart of the machine.
            Err(libcni::netns::NetnsError::NotFound(_) | libcni::netns::NetnsError::NotANamespace { .. }) => Life::Gone,
            Err(fault) => {
                self.notes.push(Note::of(format!("network namespace {}", path.display()), &fault));
                Life::Unknown
            }
        }
    }

    /// The place of `netns`, which is read if it is a new one.
    fn add_namespace(&mut self, netns: Netns, is_host: bool) -> Option<usize> {
        let path = netns.path().to_owned();
        let identity = match netns.identity() {
            Ok(identity) => identity,
            Err(fault) => {
                self.notes.push(Note::of(format!("network namespace {}", path.display()), &fault));
                return None;
            }
        };
        let known = self.namespaces.iter_mut().enumerate().find(|(_, namespace)| namespace.identity == identity);
        if let Some((at, namespace)) = known {
            if !namespace.paths.contains(&path) {
                namespace.paths.push(path);
            }
            return Some(at);
        }
        self.namespaces.push(Namespace::read(netns, identity, is_host, &mut self.notes));
        Some(self.namespaces.len() - 1)
    }

    fn read_owned(&mut self) {
        let mut found = owned::links(self);
        found.extend(files::read(self));
        let known = self.notes.len();
        let mut nft = self.open_nft();
        let (owned, mut bindings) = iptables::read(nft.as_mut(), &mut self.notes);
        found.extend(owned);
        if let Some(nft) = &mut nft {
            let (owned, more) = nftables::read(nft, &mut self.notes);
            found.extend(owned);
            bindings.extend(more);
        }
        self.is_firewall_read = self.notes.len() == known;
        let index = Index::of(&self.attachments);
        owned::find_owners(&mut found, &index);
        for binding in &mut bindings {
            binding.attachments = index.find(&binding.owner);
        }
        self.owned = found;
        self.bindings = bindings;
    }

    /// `None`: the kernel has none, or does not let us.
    fn open_nft(&mut self) -> Option<Nfnetlink> {
        Nfnetlink::open_if_supported().unwrap_or_else(|fault| {
            self.notes.push(Note::of("the rules of nftables", &fault));
            None
        })
    }
}
