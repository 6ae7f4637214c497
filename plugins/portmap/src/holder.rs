//! Who holds a host port already, and whether they have to give way.

use std::fmt;
use std::net::IpAddr;

use linuxnet::NetlinkError;
use linuxnet::iptables::Family;
use linuxnet::nft::{Table, Value};
use linuxnet::tag::Tag;

use crate::container::Container;
use crate::error::PortmapError;
use crate::mapping::{Binding, HostPort};

/// Whose a mapping is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Our nftables elements say all of it.
    Tagged(Tag),
    /// Rules of the reference name the container, those of iptables also the network.
    Untagged { network: Option<String>, container_id: String },
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tagged(tag) => {
                write!(f, "container {}, interface {}, network {}", tag.container_id(), tag.ifname(), tag.network())
            }
            Self::Untagged { network: Some(network), container_id } => {
                write!(f, "container {container_id}, network {network}")
            }
            Self::Untagged { network: None, container_id } => {
                write!(f, "container {container_id}, attached by the Go plugin")
            }
        }
    }
}

/// Where the kernel keeps a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An element of our table.
    Element { set: String, key: Value },
    /// A rule of the Go plugin's nftables table.
    Rule { table: Table<'static>, chain: &'static str, handle: u64 },
    /// A chain of iptables, with all its mappings.
    Chain { family: Family, name: String },
}

/// A mapping that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) host: HostPort,
    /// Where it leads to.
    pub(crate) target: Option<IpAddr>,
    pub(crate) owner: Owner,
    pub(crate) place: Place,
}

/// What a mapping that is in the way means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is of this attachment, from an earlier ADD.
    Ours,
    /// It is of this container's attachment to another network: the port leads to the container either way.
    Sibling,
    /// Its container is gone, or has lost its address to us.
    Stale,
    /// It is somebody else's.
    Live,
}

impl Holder {
    fn standing(
        &self,
        container: &Container,
        link_exists: &mut impl FnMut(&str) -> Result<bool, NetlinkError>,
    ) -> Result<Standing, NetlinkError> {
        let leads_to_us = self.target.is_some_and(|target| container.has(target));
        Ok(match &self.owner {
            Owner::Tagged(tag) if tag.is_same_attachment(&container.tag) => Standing::Ours,
            // The chain of a container in a network is one, whatever the interface.
            Owner::Untagged { network: Some(network), container_id }
                if *network == container.network.as_str() && *container_id == container.id.container_id.as_str() =>
            {
                Standing::Ours
            }
            _ if leads_to_us => Standing::Stale,
            Owner::Tagged(tag) if tag.container_id() == container.tag.container_id() => Standing::Sibling,
            Owner::Untagged { container_id, .. } if *container_id == container.id.container_id.as_str() => {
                Standing::Sibling
            }
            Owner::Tagged(tag) => match tag.host_veth() {
                Some(veth) if !link_exists(veth)? => Standing::Stale,
                Some(_) | None => Standing::Live,
            },
            Owner::Untagged { .. } => Standing::Live,
        })
    }
}

/// What to do about the mappings that are in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// To be removed as ours are made.
    pub(crate) gives_way: Vec<Place>,
    /// Ports that lead to this container through another of its networks: to be left as they are.
    pub(crate) siblings: Vec<HostPort>,
}

/// Judges all `holders` that overlap one of `bindings`. `link_exists` tells whether the host has a link.
///
/// # Errors
/// [`PortmapError::HostPortInUse`] for the first that stays.
pub(crate) fn settle(
    bindings: &[Binding],
    holders: Vec<Holder>,
    container: &Container,
    mut link_exists: impl FnMut(&str) -> Result<bool, NetlinkError>,
) -> Result<Settlement, PortmapError> {
    let mut settlement = Settlement::default();
    for holder in holders {
        if !bindings.iter().any(|binding| binding.host.overlaps(&holder.host)) {
            continue;
        }
        let is_same_port = bindings.iter().any(|binding| binding.host == holder.host);
        match holder.standing(container, &mut link_exists)? {
            Standing::Live => return Err(PortmapError::in_use(&holder.host, &holder.owner)),
            Standing::Stale => settlement.remove(holder.place),
            Standing::Sibling if is_same_port => settlement.siblings.push(holder.host),
            // One for every address beside one for a single address: both lead to this container.
            Standing::Ours if matches!(holder.place, Place::Element { .. }) && !is_same_port => {}
            Standing::Ours => settlement.remove(holder.place),
            Standing::Sibling => {}
        }
    }
    Ok(settlement)
}

impl Settlement {
    /// Adds what was decided about other holders.
    pub(crate) fn extend(&mut self, other: Self) {
        other.gives_way.into_iter().for_each(|place| self.remove(place));
        self.siblings.extend(other.siblings);
    }

    fn remove(&mut self, place: Place) {
        if !self.gives_way.contains(&place) {
            self.gives_way.push(place);
        }
    }
}
