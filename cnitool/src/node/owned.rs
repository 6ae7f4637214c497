//! Whose is it? Every object that was made for an attachment, the mark that says so, and the attachments that it fits.
//!
//! Our plugins tag what they make ([`Tag`]); the Go plugins leave a container ID, a hash, or no more than an address.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use linuxnet::link::Link;
use linuxnet::nft::Family;
use linuxnet::tag::{self, Tag};

use super::iptables::Place;
use super::{Attached, Inventory, config};

/// Hexadecimal digits of the shortest hash by which the Go plugins name something (bandwidth's links).
const HASH_DIGITS: usize = 12;

/// An object with an owner.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    /// The object.
    pub(crate) object: Object,
    /// What its mark says.
    pub(crate) owner: Owner,
    /// The places of the attachments that the mark fits; none: nobody in the cache owns it.
    pub(crate) attachments: Vec<usize>,
}

/// What can be left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// A link of the host.
    Link {
        /// Its name.
        name: String,
        /// Its kind: `veth`, `ifb`; empty for hardware.
        kind: String,
    },
    /// An address that host-local keeps for somebody.
    Reservation {
        /// The address.
        address: IpAddr,
        /// The file.
        path: PathBuf,
    },
    /// An element of a set or map of nftables.
    NftElement {
        /// The family of the table.
        family: Family,
        /// The table.
        table: String,
        /// The set or map.
        set: String,
        /// The key, as `nft` writes it.
        key: String,
        /// What the map gives for it, as `nft` writes it.
        data: Option<String>,
    },
    /// A rule of nftables.
    NftRule {
        /// The family of the table.
        family: Family,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
        /// The kernel's number of the rule.
        handle: u64,
        /// The rule, nearly as `nft` writes it.
        text: String,
    },
    /// A chain of nftables.
    NftChain {
        /// The family of the table.
        family: Family,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
    },
    /// A chain of iptables.
    IptablesChain {
        /// The table.
        place: Place,
        /// Its name.
        chain: String,
    },
    /// A rule of iptables in a chain of all.
    IptablesRule {
        /// The table.
        place: Place,
        /// The rule, as iptables-save prints it: `-A CHAIN …`.
        rule: String,
    },
    /// Another file of a plugin.
    File {
        /// What is in it, such as `settings before tuning`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { name, kind } if kind.is_empty() => write!(f, "link {name}"),
            Self::Link { name, kind } => write!(f, "{kind} link {name}"),
            Self::Reservation { address, path } => write!(f, "reservation of {address} ({})", path.display()),
            Self::NftElement { family, table, set, key, data } => {
                let data = data.as_ref().map(|data| format!(" : {data}")).unwrap_or_default();
                write!(f, "element {key}{data} of {set} in table {} {table}", family.as_str())
            }
            Self::NftRule { family, table, chain, text, .. } => {
                write!(f, "rule \"{text}\" of chain {chain} in table {} {table}", family.as_str())
            }
            Self::NftChain { family, table, chain } => {
                write!(f, "chain {chain} in table {} {table}", family.as_str())
            }
            Self::IptablesChain { place, chain } => write!(f, "chain {chain} of {place}"),
            Self::IptablesRule { place, rule } => write!(f, "rule \"{rule}\" of {place}"),
            Self::File { what, path } => write!(f, "{what} ({})", path.display()),
        }
    }
}

/// What the mark of an object says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Names; of our tags perhaps shortened ones.
    Named {
        /// The network, where it is said.
        network: Option<String>,
        /// The container ID.
        container: String,
        /// The interface, where it is said.
        ifname: Option<String>,
    },
    /// The first digits of the hash of network and container, from the name of a chain or link of the Go plugins.
    NameHash(String),
    /// The hashes of the network and of the attachment, joined by `-`: comments of the Go plugins' masquerading, marks
    /// of devices that went into a container.
    Hashes(String),
    /// An address that it is about.
    Address(IpAddr),
    /// It has no mark; where and what it is tells that a plugin made it.
    Unmarked,
}

impl From<&Tag> for Owner {
    fn from(tag: &Tag) -> Self {
        Self::Named {
            network: Some(tag.network().to_owned()),
            container: tag.container_id().to_owned(),
            ifname: Some(tag.ifname().to_owned()),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { network, container, ifname } => {
                write!(f, "container {container}")?;
                if let Some(ifname) = ifname {
                    write!(f, ", interface {ifname}")?;
                }
                network.as_ref().map_or(Ok(()), |network| write!(f, ", network {network}"))
            }
            Self::NameHash(hash) | Self::Hashes(hash) => write!(f, "the owner with the hash {hash}"),
            Self::Address(address) => write!(f, "the container with the address {address}"),
            Self::Unmarked => f.write_str("an owner that it does not name"),
        }
    }
}

/// Whether the owner of an object is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// An attachment that the cache has and whose namespace is there, or may be.
    Alive,
    /// The cache has its attachment, but the namespace is gone.
    Dead,
    /// No attachment in the cache owns it.
    Nobodys,
    /// No attachment that can be read owns it, but there are cache entries that cannot be read.
    Doubtful,
}

/// Sets [`Owned::attachments`]. Where it is set already, somebody knew better.
pub(super) fn find_owners(found: &mut [Owned], index: &Index<'_>) {
    for owned in found.iter_mut().filter(|owned| owned.attachments.is_empty()) {
        owned.attachments = index.find(&owned.owner);
    }
}

/// Attachments by what marks say.
pub(super) struct Index<'a> {
    attachments: &'a [Attached],
    containers: HashMap<&'a str, Vec<usize>>,
    name_hashes: HashMap<String, Vec<usize>>,
    hashes: HashMap<String, Vec<usize>>,
    addresses: HashMap<IpAddr, Vec<usize>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(attachments: &'a [Attached]) -> Self {
        let mut index = Self {
            attachments,
            containers: HashMap::new(),
            name_hashes: HashMap::new(),
            hashes: HashMap::new(),
            addresses: HashMap::new(),
        };
        for (at, attached) in attachments.iter().enumerate() {
            let id = &attached.id;
            for name in [id.container_id.as_str(), attached.tag.container_id()] {
                add(&mut index.containers, name, at);
            }
            let whole = name_hash(attached);
            add(&mut index.name_hashes, whole.chars().take(HASH_DIGITS).collect(), at);
            let network = tag::short_hash(attached.network.as_str());
            for parts in [format!("{}:{}", id.ifname, id.container_id), format!("{} {}", id.container_id, id.ifname)] {
                add(&mut index.hashes, format!("{network}-{}", tag::short_hash(&parts)), at);
            }
            for ip in &attached.result.ips {
                add(&mut index.addresses, ip.address.addr(), at);
            }
        }
        index
    }

    /// The places of those that the mark fits.
    pub(super) fn find(&self, owner: &Owner) -> Vec<usize> {
        let found = match owner {
            Owner::Named { container, .. } => self.containers.get(container.as_str()),
            Owner::NameHash(hash) => self.name_hashes.get(&hash.chars().take(HASH_DIGITS).collect::<String>()),
            Owner::Hashes(hashes) => self.hashes.get(hashes),
            Owner::Address(address) => self.addresses.get(address),
            Owner::Unmarked => None,
        };
        let fits = |at: &usize| self.attachments.get(*at).is_some_and(|attached| fits(owner, attached));
        found.into_iter().flatten().copied().filter(fits).collect()
    }
}

fn add<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<usize>>, key: K, at: usize) {
    let places = map.entry(key).or_default();
    if places.last() != Some(&at) {
        places.push(at);
    }
}

/// Whether the mark fits in all that it says.
fn fits(owner: &Owner, attached: &Attached) -> bool {
    let is = |said: &Option<String>, whole: &str, tagged: &str| {
        said.as_deref().is_none_or(|said| said == whole || said == tagged)
    };
    match owner {
        Owner::Named { network, ifname, .. } => {
            is(network, attached.network.as_str(), attached.tag.network())
                && is(ifname, attached.id.ifname.as_str(), attached.tag.ifname())
        }
        Owner::NameHash(hash) => name_hash(attached).starts_with(hash.as_str()),
        Owner::Hashes(_) | Owner::Address(_) => true,
        Owner::Unmarked => false,
    }
}

/// The hash in the longest name that the Go plugins make.
fn name_hash(attached: &Attached) -> String {
    let name = tag::chain_name("", &attached.network, &attached.id.container_id);
    name.trim_start_matches("CNI-").to_owned()
}

/// The links of the host that were made for attachments.
pub(super) fn links(inventory: &Inventory) -> Vec<Owned> {
    let Some(host) = inventory.host() else { return Vec::new() };
    let bridges = config::bridges(inventory);
    let is_on_bridge = |link: &Link| {
        let master = link.master.and_then(|master| host.link(master));
        master.is_some_and(|master| bridges.contains(&master.name))
    };
    let owned = |link: &Link| {
        let leads_to = |attached: &Attached| attached.host_link.is_some_and(|at| at.index == link.index);
        let owner = match mark_of(link) {
            Some(owner) => owner,
            None if is_veth_of_plugin(link) && is_on_bridge(link) => Owner::Unmarked,
            None if is_veth_of_plugin(link) && inventory.attachments.iter().any(leads_to) => Owner::Unmarked,
            None => return None,
        };
        let attachments = match owner {
            Owner::Unmarked => holders(inventory, |attached| leads_to(attached) || reports(attached, link)),
            _ => Vec::new(),
        };
        let object = Object::Link { name: link.name.clone(), kind: link.kind.clone() };
        Some(Owned { object, owner, attachments })
    };
    host.links.iter().filter_map(owned).collect()
}

fn holders(inventory: &Inventory, is_holder: impl Fn(&Attached) -> bool) -> Vec<usize> {
    inventory.attachments.iter().enumerate().filter(|(_, attached)| is_holder(attached)).map(|(at, _)| at).collect()
}

/// Whether the result of the attachment names the host's link.
fn reports(attached: &Attached, link: &Link) -> bool {
    attached.result.host_interfaces().any(|interface| interface.name == link.name)
}

/// What a link says of its owner: by its alias, by the name that the Go plugin bandwidth gives it, or by the
/// alternative name of a device that came back from a container.
fn mark_of(link: &Link) -> Option<Owner> {
    if let Some(tag) = link.owner() {
        return Some(Owner::from(&tag));
    }
    let hash = link.name.strip_prefix("bwp").filter(|hash| link.kind == "ifb" && is_hex(hash, HASH_DIGITS));
    if let Some(hash) = hash {
        return Some(Owner::NameHash(hash.to_owned()));
    }
    link.alt_names.iter().find_map(|name| {
        let mut parts = name.strip_prefix("ferrule_")?.split('_');
        let (network, attachment) = (parts.next()?, parts.next()?);
        (is_hex(network, 16) && is_hex(attachment, 16)).then(|| Owner::Hashes(format!("{network}-{attachment}")))
    })
}

/// Whether it is named as the plugins name the host's end of a veth: `veth` and eight digits.
fn is_veth_of_plugin(link: &Link) -> bool {
    link.kind == "veth" && link.name.strip_prefix("veth").is_some_and(|digits| is_hex(digits, 8))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}
