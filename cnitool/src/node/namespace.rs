//! Network namespaces, and the links and addresses in them.

use std::path::{Path, PathBuf};

use libcni::netns::Netns;
use libcni::store;
use linuxnet::addr::Address;
use linuxnet::link::Link;
use linuxnet::netlink::Netlink;

use super::Note;

/// Where `ip netns` and runtimes name namespaces; the second is the first one's old place.
const NAMED_DIRS: [&str; 2] = [libcni::netns::NAMED_DIR, "/var/run/netns"];

/// A link, by its namespace's place in the inventory and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LinkAt {
    /// The place of the namespace in [`Inventory::namespaces`](super::Inventory::namespaces).
    pub(crate) namespace: usize,
    /// The kernel's number of the link there.
    pub(crate) index: u32,
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// The paths that lead to it: of attachments, and names.
    pub(crate) paths: Vec<PathBuf>,
    /// It is the one in which this command runs.
    pub(crate) is_host: bool,
    /// The device and inode of nsfs.
    pub(crate) identity: (u64, u64),
    /// The host's number for it (`link-netnsid`), if it has one.
    pub(crate) id: Option<u32>,
    /// Its number for the host's namespace.
    pub(crate) id_of_host: Option<u32>,
    /// Its links.
    pub(crate) links: Vec<Link>,
    /// The addresses of its links.
    pub(crate) addresses: Vec<Address>,
    netns: Netns,
}

impl Namespace {
    /// What is in `netns`; of what cannot be read, nothing.
    pub(super) fn read(netns: Netns, identity: (u64, u64), is_host: bool, notes: &mut Vec<Note>) -> Self {
        let (links, addresses) = match contents(&netns, is_host) {
            Ok(contents) => contents,
            Err(fault) => {
                notes.push(Note::of(format!("the links of network namespace {}", netns.path().display()), &fault));
                Default::default()
            }
        };
        // The calling thread's own is no path for others.
        let paths = if is_host { Vec::new() } else { vec![netns.path().to_owned()] };
        Self { paths, is_host, identity, id: None, id_of_host: None, links, addresses, netns }
    }

    /// The link of this index.
    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The link of this name.
    pub(crate) fn link_called(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The addresses of a link.
    pub(crate) fn addresses_of(&self, link: &Link) -> impl Iterator<Item = &Address> {
        let index = link.index;
        self.addresses.iter().filter(move |address| address.link == index)
    }

    /// The links that are ports of `master`.
    pub(crate) fn ports_of(&self, master: &Link) -> impl Iterator<Item = &Link> {
        let index = master.index;
        self.links.iter().filter(move |link| link.master == Some(index))
    }
}

fn contents(netns: &Netns, is_host: bool) -> Result<(Vec<Link>, Vec<Address>), linuxnet::NetlinkError> {
    // Where we are, everybody may look; entering takes a privilege.
    let mut socket = if is_host { Netlink::open()? } else { Netlink::open_in(netns)? };
    Ok((socket.links()?, socket.all_addresses()?))
}

/// The paths of namespaces that have a name.
pub(super) fn named(notes: &mut Vec<Note>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for dir in NAMED_DIRS {
        match store::files(Path::new(dir)) {
            Ok(files) => paths.extend(files),
            Err(fault) => notes.push(Note::of(format!("the named network namespaces of {dir}"), &fault)),
        }
    }
    paths
}

/// Asks for the numbers that the host and the other namespaces have for each other, by which links name the namespace of
/// their other end. The kernel gave them when the links were listed.
pub(super) fn number(namespaces: &mut [Namespace], notes: &mut Vec<Note>) {
    let Some((host, others)) = namespaces.split_first_mut() else { return };
    let numbered = Netlink::open().and_then(|mut socket| {
        others.iter_mut().try_for_each(|other| {
            other.id = socket.netns_id(&other.netns)?;
            other.id_of_host = Netlink::open_in(&other.netns)?.netns_id(&host.netns)?;
            Ok(())
        })
    });
    if let Err(fault) = numbered {
        notes.push(Note::of("the numbers of network namespaces", &fault));
    }
}

/// What a link leads to: a veth's other end, the link that a macvlan, ipvlan or VLAN is on. `None`: it leads nowhere, or
/// to a namespace that is not in the inventory.
///
/// An index alone is another link's in another namespace; so the numbers must fit that the two have for each other.
pub(super) fn other_end(namespaces: &[Namespace], at: LinkAt) -> Option<LinkAt> {
    let here = namespaces.get(at.namespace)?;
    let link = here.link(at.index)?;
    let index = link.peer_index?;
    let namespace = match link.link_netns_id {
        None => at.namespace,
        id if here.is_host => namespaces.iter().position(|other| !other.is_host && other.id == id)?,
        id if id == here.id_of_host => 0,
        Some(_) => return None,
    };
    let other = namespaces.get(namespace)?.link(index)?;
    let is_pair = other.kind == "veth" && other.peer_index == Some(link.index);
    (link.kind != "veth" || is_pair).then_some(LinkAt { namespace, index })
}
