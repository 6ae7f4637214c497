//! What a device was before it went into a container, and whose it is since. The device carries it as an alternative
//! name: so it is there wherever the device is, also when it was renamed, when its alias was changed, and when the
//! kernel has put it back on the host because the container's namespace ended.

use std::fmt::{self, Write};
use std::str::FromStr;

use libcni::names::{IfName, NetworkName};
use libcni::types::{AttachmentId, MacAddr};
use linuxnet::link::Link;
use linuxnet::tag;

/// How the alternative name begins.
const PREFIX: &str = "ferrule";

/// Whose a device is: hashes of the network and of the attachment, so that both fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    network: String,
    attachment: String,
}

impl Owner {
    /// The attachment `id` of `network`.
    pub(crate) fn new(network: &NetworkName, id: &AttachmentId) -> Self {
        let attachment = tag::short_hash(&format!("{} {}", id.container_id, id.ifname));
        Self { network: network_hash(network), attachment }
    }

    /// Whether it is none of the attachments `valid` of `network`.
    pub(crate) fn is_stale(&self, network: &NetworkName, valid: &[AttachmentId]) -> bool {
        self.network == network_hash(network) && !valid.iter().any(|id| Self::new(network, id) == *self)
    }
}

fn network_hash(network: &NetworkName) -> String {
    tag::short_hash(network.as_str())
}

/// The mark of a device, as text: `ferrule_<network>_<attachment>_<mtu>_<mac>_<flags>_<name>`, where the flags are `u`
/// for up and `p` for promiscuous, and `-` stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Whose it is.
    pub(crate) owner: Owner,
    /// Its name on the host.
    pub(crate) name: IfName,
    /// Its MTU there, in bytes.
    pub(crate) mtu: u32,
    /// Its Ethernet address there, if it has one.
    pub(crate) mac: Option<MacAddr>,
    /// It was up.
    pub(crate) is_up: bool,
    /// It was promiscuous by the administrator's wish.
    pub(crate) is_promiscuous: bool,
}

impl Mark {
    /// What `link` is now.
    pub(crate) fn of(link: &Link, name: IfName, owner: Owner) -> Self {
        let Link { mtu, mac, is_up, is_promiscuous, .. } = *link;
        Self { owner, name, mtu, mac, is_up, is_promiscuous }
    }

    /// The mark on `link`, if it has one.
    pub(crate) fn on(link: &Link) -> Option<Self> {
        link.alt_names.iter().find_map(|name| name.parse().ok())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner: Owner { network, attachment }, name, mtu, mac, is_up, is_promiscuous } = self;
        write!(f, "{PREFIX}_{network}_{attachment}_{mtu}_")?;
        match mac {
            Some(MacAddr(bytes)) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?,
            None => f.write_char('-')?,
        }
        let flags = match (is_up, is_promiscuous) {
            (true, true) => "up",
            (true, false) => "u",
            (false, true) => "p",
            (false, false) => "-",
        };
        write!(f, "_{flags}_{name}")
    }
}

/// An alternative name that somebody else gave.
#[derive(Debug)]
pub(crate) struct NotAMark;

impl FromStr for Mark {
    type Err = NotAMark;

    fn from_str(text: &str) -> Result<Self, NotAMark> {
        read(text).ok_or(NotAMark)
    }
}

fn read(text: &str) -> Option<Mark> {
    // The name comes last, since it may hold anything.
    let mut parts = text.splitn(7, '_');
    if parts.next()? != PREFIX {
        return None;
    }
    let owner = Owner { network: parts.next()?.to_owned(), attachment: parts.next()?.to_owned() };
    let mtu = parts.next()?.parse().ok()?;
    let mac = match parts.next()? {
        "-" => None,
        hex => Some(mac(hex)?),
    };
    let flags = parts.next()?;
    let name = parts.next()?.parse().ok()?;
    Some(Mark { owner, name, mtu, mac, is_up: flags.contains('u'), is_promiscuous: flags.contains('p') })
}

fn mac(hex: &str) -> Option<MacAddr> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes = (0..hex.len() / 2).map(byte).collect::<Option<Vec<_>>>()?;
    MacAddr::from_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(container: &str) -> Owner {
        let id = AttachmentId { container_id: container.parse().unwrap(), ifname: "net1".parse().unwrap() };
        Owner::new(&"net".parse().unwrap(), &id)
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_fits() {
        let full = Mark {
            owner: owner("c1"),
            name: "en_p3s0.1000000".parse().unwrap(),
            mtu: u32::MAX,
            mac: "0a:58:0a:01:02:03".parse().ok(),
            is_up: true,
            is_promiscuous: true,
        };
        let empty = Mark { mac: None, is_up: false, is_promiscuous: false, mtu: 0, ..full.clone() };
        for mark in [full, empty] {
            let text = mark.to_string();
            assert!(text.len() <= linuxnet::link::ALT_NAME_MAX, "{text}");
            assert_eq!(text.parse::<Mark>().unwrap(), mark);
        }
        for other in ["", "enp3s0", "ferrule_a_b_1500_-_-", "ferrule_a_b_x_-_-_eth0", "ferrule_a_b_1_0a58_-_eth0"] {
            assert!(other.parse::<Mark>().is_err(), "{other:?}");
        }
    }

    #[test]
    fn gc_keeps_valid_attachments_and_other_networks() {
        let (net, other): (NetworkName, NetworkName) = ("net".parse().unwrap(), "other".parse().unwrap());
        let valid = [AttachmentId { container_id: "c1".parse().unwrap(), ifname: "net1".parse().unwrap() }];
        assert!(!owner("c1").is_stale(&net, &valid));
        assert!(owner("c2").is_stale(&net, &valid));
        assert!(!owner("c2").is_stale(&other, &valid));
    }
}
