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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Reach;
    use crate::mapping::Protocol;
    use libcni::types::AttachmentId;

    fn tag(network: &str, container_id: &str, veth: &str) -> Tag {
        let id = AttachmentId { container_id: container_id.parse().unwrap(), ifname: "eth0".parse().unwrap() };
        let tag = Tag::new(&network.parse().unwrap(), &id);
        if veth.is_empty() { tag } else { tag.with_host_veth(&veth.parse().unwrap()) }
    }

    /// The attachment of container `me` to network `net`, address 10.1.0.2.
    fn me() -> Container {
        Container {
            network: "net".parse().unwrap(),
            id: AttachmentId { container_id: "me".parse().unwrap(), ifname: "eth0".parse().unwrap() },
            tag: tag("net", "me", "veth0"),
            reaches: vec![Reach { address: "10.1.0.2/16".parse().unwrap(), link: None }],
        }
    }

    fn host(ip: &str) -> HostPort {
        HostPort { protocol: Protocol::Tcp, ip: ip.parse().unwrap(), port: 8080 }
    }

    fn element(number: u8) -> Place {
        Place::Element { set: "hostports4".to_owned(), key: Value::from(IpAddr::from([0, 0, 0, number])) }
    }

    /// A holder of 0.0.0.0:8080 that leads to 10.1.0.3.
    fn held_by(owner: Owner) -> Holder {
        Holder { host: host("0.0.0.0"), target: "10.1.0.3".parse().ok(), owner, place: element(1) }
    }

    fn untagged(network: Option<&str>, container_id: &str) -> Owner {
        Owner::Untagged { network: network.map(str::to_owned), container_id: container_id.to_owned() }
    }

    /// The host has one link, `alive`.
    fn settled(wanted: &str, holder: Holder) -> Result<Settlement, String> {
        let bindings = [Binding { host: host(wanted), target: "10.1.0.2:80".parse().unwrap() }];
        settle(&bindings, vec![holder], &me(), |name| Ok(name == "alive")).map_err(|e| e.to_string())
    }

    fn gives_way() -> Result<Settlement, String> {
        Ok(Settlement { gives_way: vec![element(1)], siblings: Vec::new() })
    }

    #[test]
    fn whoever_may_be_alive_keeps_the_port() {
        for owner in [
            Owner::Tagged(tag("net", "you", "alive")),
            Owner::Tagged(tag("net", "you", "")),
            untagged(Some("net"), "you"),
            untagged(None, "you"),
        ] {
            for wanted in ["0.0.0.0", "192.0.2.1"] {
                let fault = settled(wanted, held_by(owner.clone())).unwrap_err();
                assert!(fault.starts_with("host port tcp 0.0.0.0:8080 is held by container you, "), "{fault}");
            }
        }
    }

    #[test]
    fn whoever_is_gone_gives_way() {
        let gone = held_by(Owner::Tagged(tag("net", "you", "veth9")));
        assert_eq!(settled("0.0.0.0", gone.clone()), gives_way());
        assert_eq!(settled("192.0.2.1", gone), gives_way(), "also where it only overlaps");
        for owner in [Owner::Tagged(tag("net", "you", "alive")), untagged(Some("net"), "you"), untagged(None, "you")] {
            let lost = Holder { target: "10.1.0.2".parse().ok(), ..held_by(owner) };
            assert_eq!(settled("0.0.0.0", lost), gives_way(), "its address is ours");
        }
    }

    #[test]
    fn ours_are_made_anew_and_what_is_beside_them_stays() {
        assert_eq!(settled("0.0.0.0", held_by(Owner::Tagged(tag("net", "me", "alive")))), gives_way());
        assert_eq!(settled("0.0.0.0", held_by(untagged(Some("net"), "me"))), gives_way());
        let beside = settled("192.0.2.1", held_by(Owner::Tagged(tag("net", "me", "alive"))));
        assert_eq!(beside, Ok(Settlement::default()));
    }

    #[test]
    fn another_network_of_this_container_keeps_the_port() {
        for owner in [Owner::Tagged(tag("other", "me", "alive")), untagged(Some("other"), "me"), untagged(None, "me")] {
            let kept = Settlement { gives_way: Vec::new(), siblings: vec![host("0.0.0.0")] };
            assert_eq!(settled("0.0.0.0", held_by(owner.clone())), Ok(kept));
            assert_eq!(settled("192.0.2.1", held_by(owner)), Ok(Settlement::default()));
        }
    }

    #[test]
    fn who_does_not_overlap_does_not_matter() {
        let elsewhere = Holder { host: host("192.0.2.9"), ..held_by(untagged(None, "you")) };
        assert_eq!(settled("192.0.2.1", elsewhere), Ok(Settlement::default()));
    }
}
