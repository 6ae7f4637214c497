//! What all kinds of new link have in common: the one RTM_NEWLINK.

use std::os::fd::{AsFd, AsRawFd};

use libcni::netns::Netns;
use libcni::types::MacAddr;
use nix::errno::Errno;
use nix::libc;

use crate::error::{Cause, NetlinkError};
use crate::netlink::{Mode, Netlink, Request};
use crate::packet::{InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use super::Dev;

/// Why a link cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The container has an interface of this name already.
    #[error(
        "cannot create interface {name}: the container has an interface {name} already; hint: another attachment uses \
         this interface name, or an earlier ADD was not followed by DEL"
    )]
    ContainerNameTaken {
        /// The name of the container's end.
        name: String,
    },
    /// The host has a link of the wished name already.
    #[error("cannot create link {name}: the host has a link of this name already")]
    HostNameTaken {
        /// The name of the host's end.
        name: String,
    },
    /// Every random name was taken.
    #[error("cannot create veth {name}: {attempts} random names for the host's end were all taken")]
    NoFreeName {
        /// The name of the container's end.
        name: String,
        /// How many names were tried.
        attempts: u32,
    },
    /// A bridge is wanted, and something else has its name.
    #[error("\"{name}\" already exists but is not a bridge (it is {})", if kind.is_empty() { "no virtual link" } else { kind })]
    NotABridge {
        /// The name.
        name: String,
        /// Its kind; empty for hardware.
        kind: String,
    },
    /// The kernel has no links of this kind.
    #[error(
        "cannot create {kind} {name}: this kernel has no {kind} links (hint: load or install its module {})",
        module(kind)
    )]
    NoSuchKind {
        /// The name of the link.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// The lower link serves something else, which leaves no room for a link on it.
    #[error(
        "cannot create {kind} {name}: {lower} is in use (hint: a port of a bridge or bond takes no macvlan or ipvlan, and \
         a link with one of these two kinds takes none of the other)"
    )]
    LowerBusy {
        /// The name of the link.
        name: String,
        /// Its kind.
        kind: String,
        /// The link below.
        lower: String,
    },
    /// The lower link has a link of this VLAN already.
    #[error(
        "cannot create VLAN {id} of {lower} as {name}: {lower} has a link of this VLAN already, here or in a container"
    )]
    VlanTaken {
        /// The name of the link.
        name: String,
        /// The link that the VLAN is on.
        lower: String,
        /// The VLAN.
        id: u16,
    },
    /// The kernel gave no random bytes.
    #[error("cannot make a random name or address")]
    Random(#[source] Errno),
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// The kernel module that has the links of this kind.
fn module(kind: &str) -> &str {
    if kind == "vlan" { "8021q" } else { kind }
}

/// A link to be made. What one kind alone has is in `data`.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewLink<'a> {
    pub(super) name: &'a str,
    pub(super) index: Option<u32>,
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: Option<u32>,
    pub(super) queues: Option<u32>,
    pub(super) master: Option<Dev<'a>>,
    pub(super) lower: Option<Dev<'a>>,
    pub(super) netns: Option<&'a Netns>,
    pub(super) up: bool,
}

impl<'a> NewLink<'a> {
    pub(super) fn called(name: &'a str) -> Self {
        Self {
            name,
            index: None,
            mac: None,
            mtu: None,
            queues: None,
            master: None,
            lower: None,
            netns: None,
            up: false,
        }
    }

    /// Header and attributes, without the kind: the form of a veth's other end too.
    pub(super) fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = self.index.unwrap_or_default();
        if self.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        let attributes = [
            Some(LinkAttribute::IfName(self.name.to_owned())),
            self.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())),
            self.mtu.map(LinkAttribute::Mtu),
            self.queues.map(LinkAttribute::NumTxQueues),
            self.queues.map(LinkAttribute::NumRxQueues),
            self.master.map(|master| LinkAttribute::Controller(master.index)),
            self.lower.map(|lower| LinkAttribute::Link(lower.index)),
            self.netns.map(|netns| LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd())),
        ];
        message.attributes.extend(attributes.into_iter().flatten());
        message
    }

    /// The request that makes it.
    pub(super) fn request(&self, doing: String, kind: InfoKind, data: InfoData) -> Request {
        let mut message = self.message();
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        Request::new(doing, libc::RTM_NEWLINK, Mode::Create, &message)
    }
}

impl Netlink {
    /// Makes a link that is all in one namespace, this socket's or another.
    pub(super) fn create(&mut self, new: &NewLink<'_>, kind: &InfoKind, data: &InfoData) -> Result<(), LinkError> {
        let Err(e) = self.create_beside_namesakes(new, kind, data) else { return Ok(()) };
        if !e.is_refused() {
            self.remove_unanswered(new, kind);
        }
        let (name, kind) = (new.name.to_owned(), kind.to_string());
        Err(match new.lower {
            _ if e.is_unknown_link_kind() => LinkError::NoSuchKind { name, kind },
            Some(lower) if e.is_busy() => LinkError::LowerBusy { name, kind, lower: lower.name.to_owned() },
            _ => e.into(),
        })
    }

    /// Kernels before 6.14 look for the new link's name in the socket's namespace, not in the one that it is born in:
    /// a container could have no `eth0` while the host has one. Where an index is said they look for that instead.
    fn create_beside_namesakes(
        &mut self,
        new: &NewLink<'_>,
        kind: &InfoKind,
        data: &InfoData,
    ) -> Result<(), NetlinkError> {
        let doing = match new.lower {
            Some(lower) => format!("create {kind} {} on {}", new.name, lower.name),
            None => format!("create {kind} {}", new.name),
        };
        let request = |new: &NewLink<'_>| new.request(doing.clone(), kind.clone(), data.clone());
        match self.run(request(new)) {
            Err(e) if e.is_exists() && new.netns.is_some() && self.find_link(new.name)?.is_some() => {
                let index = random_index().map_err(|errno| NetlinkError::new(doing.as_str(), Cause::Socket(errno)))?;
                self.run(request(&NewLink { index: Some(index), ..*new }))
            }
            done => done,
        }
    }

    /// After a request without an answer, removes the link if it was made nevertheless. The caller knew before that
    /// the name was free.
    fn remove_unanswered(&mut self, new: &NewLink<'_>, kind: &InfoKind) {
        let remove = |netlink: &mut Self| match netlink.find_link(new.name)? {
            Some(link) if link.kind == kind.to_string() => netlink.remove_link(Dev::from(&link)),
            _ => Ok(()),
        };
        // The first failure is the one to tell.
        let _ = match new.netns {
            Some(netns) => Self::open_in(netns).and_then(|mut there| remove(&mut there)),
            None => remove(self),
        };
    }
}

/// A link index that is far from those that the kernel gives, which count from 1.
fn random_index() -> Result<u32, Errno> {
    Ok(u32::from_ne_bytes(random::<4>()?) & 0x00ff_ffff | 0x0100_0000)
}

/// A random Ethernet address: locally administered, of a single interface. An address that is given at creation is
/// left alone by udev, and a bridge with one does not take its ports'.
///
/// # Errors
/// If the kernel gives no random bytes.
pub fn random_mac() -> Result<MacAddr, LinkError> {
    let [first, rest @ ..] = random::<6>().map_err(LinkError::Random)?;
    let [b, c, d, e, f] = rest;
    Ok(MacAddr([first & 0xfc | 0x02, b, c, d, e, f]))
}

/// Random bytes of getrandom(2). So few never come in parts and are not interrupted.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Errno> {
    let mut bytes = [0u8; N];
    // SAFETY: pointer and length are those of `bytes`, which outlives the call.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    Errno::result(got).map(|_all| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_addresses_are_local_and_of_one_interface() {
        let (a, b) = (random_mac().unwrap(), random_mac().unwrap());
        for MacAddr([first, ..]) in [a, b] {
            assert_eq!(first & 3, 2, "{first:x}");
        }
        assert_ne!(a, b);
    }
}
