//! Pairs of virtual Ethernet links: one end in the container, one on the host.

use libcni::netns::Netns;
use libcni::types::MacAddr;

use crate::error::{Cause, NetlinkError};
use crate::netlink::{Netlink, Request};
use crate::packet::{InfoData, InfoKind, InfoVeth};

use super::create::{LinkError, NewLink, random};
use super::{Dev, Link};

/// How many random names are tried for the host's end; as the reference.
const NAME_ATTEMPTS: u32 = 10;

/// A veth pair to be made by [`Netlink::create_veth`]. Everything but the first two is optional.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// Name of the container's end.
    pub name: &'a str,
    /// Namespace of the container's end; it is born there, never seen on the host.
    pub netns: &'a Netns,
    /// Ethernet address of the container's end; random otherwise.
    pub mac: Option<MacAddr>,
    /// Name of the host's end; `veth` and eight random hexadecimal digits otherwise.
    pub host_name: Option<&'a str>,
    /// Ethernet address of the host's end; random otherwise. With one, a pair whose making failed half-way is known
    /// and removed.
    pub host_mac: Option<MacAddr>,
    /// The bridge that the host's end becomes a port of.
    pub bridge: Option<Dev<'a>>,
    /// MTU of both ends in bytes; 1500 otherwise.
    pub mtu: Option<u32>,
    /// Number of send and of receive queues of both ends; one of each per possible CPU otherwise. With 1 the pair is
    /// made in two thirds of the time.
    pub queues: Option<u32>,
}

impl<'a> Veth<'a> {
    /// A pair whose one end is `name` in `netns`.
    #[must_use]
    pub fn new(name: &'a str, netns: &'a Netns) -> Self {
        Self { name, netns, mac: None, host_name: None, host_mac: None, bridge: None, mtu: None, queues: None }
    }

    /// The message: the host's end, up and a port of the bridge, with the container's end as its `VETH_INFO_PEER`.
    /// (The container's end cannot be up from the start: `veth_open` says ENOTCONN.)
    pub(super) fn request(&self, host_name: &str) -> Request {
        let peer = NewLink {
            mac: self.mac,
            mtu: self.mtu,
            queues: self.queues,
            netns: Some(self.netns),
            ..NewLink::called(self.name)
        };
        let host = NewLink {
            mac: self.host_mac,
            mtu: self.mtu,
            queues: self.queues,
            master: self.bridge,
            up: true,
            ..NewLink::called(host_name)
        };
        let doing = match self.bridge {
            Some(bridge) => {
                format!("create veth {} with its host end {host_name} on bridge {}", self.name, bridge.name)
            }
            None => format!("create veth {} with its host end {host_name}", self.name),
        };
        host.request(doing, InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(peer.message())))
    }
}

impl Netlink {
    /// Makes a veth pair by one message, and gives the host's end, which is in this socket's namespace and up
    /// (`ip link add HOST up master BRIDGE type veth peer name NAME netns NETNS`). The container's end is
    /// [`Link::peer_index`] there, and down.
    ///
    /// # Errors
    /// [`LinkError::ContainerNameTaken`], [`LinkError::HostNameTaken`], [`LinkError::NoFreeName`], or what the
    /// kernel says. Nothing is left then.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<Link, LinkError> {
        for _attempt in 0..NAME_ATTEMPTS {
            let name = match veth.host_name {
                Some(name) => name.to_owned(),
                None => random_name()?,
            };
            match self.run(veth.request(&name)) {
                Ok(()) => return self.created(&name).inspect_err(|_told| self.remove_unwanted(veth.host_mac, &name)),
                // The kernel says the same for either end: it was the container's if the host has no such link.
                Err(e) if e.is_exists() => {
                    if self.find_link(&name)?.is_none() {
                        return Err(LinkError::ContainerNameTaken { name: veth.name.to_owned() });
                    }
                    if veth.host_name.is_some() {
                        return Err(LinkError::HostNameTaken { name });
                    }
                }
                Err(e) => {
                    self.remove_unwanted(veth.host_mac, &name);
                    return Err(e.into());
                }
            }
        }
        Err(LinkError::NoFreeName { name: veth.name.to_owned(), attempts: NAME_ATTEMPTS })
    }

    /// After a failure, removes the link if it was made nevertheless: what was lost may be the kernel's answer. It is
    /// known by the address that it was given.
    pub(super) fn remove_unwanted(&mut self, mac: Option<MacAddr>, name: &str) {
        if let Ok(Some(link)) = self.find_link(name)
            && link.mac.is_some()
            && link.mac == mac
        {
            // The first failure is the one to tell.
            let _ = self.remove_link(Dev::from(&link));
        }
    }

    /// The link that was just made.
    pub(super) fn created(&mut self, name: &str) -> Result<Link, LinkError> {
        let gone = || NetlinkError::new(format!("look up link {name}"), Cause::Answer("it was just made and is gone"));
        Ok(self.find_link(name)?.ok_or_else(gone)?)
    }
}

/// `veth` and eight hexadecimal digits: the reference's names.
fn random_name() -> Result<String, LinkError> {
    let number = u32::from_ne_bytes(random::<4>().map_err(LinkError::Random)?);
    Ok(format!("veth{number:08x}"))
}
