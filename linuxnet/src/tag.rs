//! Whose is it? The names that firewall state and links carry, so that DEL and GC find them without the interface.
//!
//! [`Tag`] is ours: a comment of at most [`Tag::MAX_BYTES`] bytes on an element or rule. [`chain_name`], [`link_name`] and
//! [`short_hash`] are what the Go reference plugins use (their `utils.MustFormatChainNameWithPrefix` and
//! `utils.MustFormatHashWithPrefix`): their leavings are found by them, and our iptables chains are named so too.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::str::FromStr;

use libcni::names::{ContainerId, IfName, NetworkName};
use libcni::types::AttachmentId;
use sha2::{Digest, Sha512};

/// The bit of the packet mark by which the plugin `firewall` says, within the hook forward, that a packet of a container
/// may pass: an interface for other people's rules.
pub const FORWARD_MARK: u32 = 0x1000;

/// What a network name may take of a tag, in bytes.
const NETWORK_MAX: usize = 31;

/// What a container ID may take of a tag, in bytes: the 64 hexadecimal digits that runtimes use.
const CONTAINER_ID_MAX: usize = 64;

/// The length of iptables chain names that the reference makes, in bytes (`maxChainLength`).
const CHAIN_NAME_LEN: usize = 28;

/// The longest name of a link, in bytes.
const LINK_NAME_LEN: usize = 15;

/// Which attachment a piece of firewall state belongs to, as text: `<network> <container id> <ifname>[ <host veth>]`.
///
/// A network name of more than 31 bytes and a container ID of more than 64 are shortened, each by itself and always
/// in the same way: its beginning, `~`, and the first 16 hexadecimal digits of its SHA-512. No name holds a `~`, so
/// a shortened one never equals a whole one. Tags are compared in this form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    network: String,
    container_id: String,
    ifname: String,
    host_veth: Option<String>,
}

impl Tag {
    /// The longest tag, in bytes: what nftables takes as a comment (`NFTNL_UDATA_COMMENT_MAXLEN`).
    pub const MAX_BYTES: usize = 128;

    /// The tag of the attachment `id` to `network`.
    #[must_use]
    pub fn new(network: &NetworkName, id: &AttachmentId) -> Self {
        Self {
            network: network_part(network).into_owned(),
            container_id: container_part(&id.container_id).into_owned(),
            ifname: id.ifname.to_string(),
            host_veth: None,
        }
    }

    /// The same tag with the name of the link that leads to the container on the host.
    #[must_use]
    pub fn with_host_veth(self, host_veth: &IfName) -> Self {
        Self { host_veth: Some(host_veth.to_string()), ..self }
    }

    /// The network's name, perhaps shortened.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The container ID, perhaps shortened.
    #[must_use]
    pub fn container_id(&self) -> &str {
        &self.container_id
    }

    /// The interface's name in the container.
    #[must_use]
    pub fn ifname(&self) -> &str {
        &self.ifname
    }

    /// The link on the host, where the tag names one.
    #[must_use]
    pub fn host_veth(&self) -> Option<&str> {
        self.host_veth.as_deref()
    }

    /// Whether both name the same attachment; the host's link does not count.
    #[must_use]
    pub fn is_same_attachment(&self, other: &Self) -> bool {
        // The interface is mostly eth0, the network mostly the same: the container ID tells soonest.
        self.container_id == other.container_id && self.ifname == other.ifname && self.network == other.network
    }

    /// Whether the attachment is one of `network`.
    #[must_use]
    pub fn belongs_to(&self, network: &NetworkName) -> bool {
        self.network == network_part(network)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.network, self.container_id, self.ifname)?;
        self.host_veth.as_ref().map_or(Ok(()), |veth| write!(f, " {veth}"))
    }
}

/// A comment that is no tag: somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no tag of the form <network> <container id> <ifname>[ <host veth>]")]
pub struct NotATag(String);

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let mut words = text.split(' ').map(str::to_owned);
        let (Some(network), Some(container_id), Some(ifname), host_veth, None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err(NotATag(text.to_owned()));
        };
        let empty = [&network, &container_id, &ifname].into_iter().chain(&host_veth).any(String::is_empty);
        if empty { Err(NotATag(text.to_owned())) } else { Ok(Self { network, container_id, ifname, host_veth }) }
    }
}

/// What GC may keep of a network: the attachments that its caller calls valid. Of other networks it keeps all.
#[derive(Clone, Debug)]
pub struct Valid {
    network: NetworkName,
    ids: Vec<AttachmentId>,
    tagged: HashSet<(String, String)>,
}

impl Valid {
    /// The attachments `ids` of `network`.
    #[must_use]
    pub fn new(network: &NetworkName, ids: &[AttachmentId]) -> Self {
        let part = |id: &AttachmentId| (container_part(&id.container_id).into_owned(), id.ifname.to_string());
        Self { network: network.clone(), ids: ids.to_vec(), tagged: ids.iter().map(part).collect() }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The attachments.
    #[must_use]
    pub fn ids(&self) -> &[AttachmentId] {
        &self.ids
    }

    /// Whether what carries `tag` is to be removed: it is of this network and of none of its valid attachments.
    #[must_use]
    pub fn is_stale(&self, tag: &Tag) -> bool {
        tag.belongs_to(&self.network) && !self.tagged.contains(&(tag.container_id.clone(), tag.ifname.clone()))
    }

    /// Whether any valid attachment is of the container `id`: for leavings that do not name an interface.
    #[must_use]
    pub fn has_container(&self, id: &str) -> bool {
        self.ids.iter().any(|valid| valid.container_id.as_str() == id)
    }
}

fn network_part(network: &NetworkName) -> Cow<'_, str> {
    shortened(network.as_str(), NETWORK_MAX)
}

fn container_part(id: &ContainerId) -> Cow<'_, str> {
    shortened(id.as_str(), CONTAINER_ID_MAX)
}

/// `name`, or if it is longer than `max` bytes its beginning, `~` and its hash: `max` bytes in all.
fn shortened(name: &str, max: usize) -> Cow<'_, str> {
    if name.len() <= max {
        return Cow::Borrowed(name);
    }
    let hash = short_hash(name);
    // The names are ASCII: a character is a byte.
    let beginning: String = name.chars().take(max - hash.len() - 1).collect();
    Cow::Owned(format!("{beginning}~{hash}"))
}

/// The name that the reference gives the iptables chain of a container in a network: the first 28 characters of
/// `CNI-`, `prefix` (`""`, `"DN-"`, `"SN-"`) and the hexadecimal SHA-512 of both names together. It does not depend
/// on the interface: two attachments of a container to one network share a chain.
#[must_use]
pub fn chain_name(prefix: &str, network: &NetworkName, container_id: &ContainerId) -> String {
    let mut name = format!("CNI-{prefix}{}", sha512_hex(&[network.as_str(), container_id.as_str()]));
    name.truncate(CHAIN_NAME_LEN);
    name
}

/// The name that the reference gives a link of a container in a network: `prefix` and the beginning of the hexadecimal
/// SHA-512 of both names together, 15 bytes in all (`IFNAMSIZ` less its NUL). It does not depend on the interface.
#[must_use]
pub fn link_name(prefix: &str, network: &NetworkName, container_id: &ContainerId) -> String {
    let mut name = format!("{prefix}{}", sha512_hex(&[network.as_str(), container_id.as_str()]));
    name.truncate(LINK_NAME_LEN);
    name
}

/// The first 16 hexadecimal digits of the SHA-512 of `text`: what the reference calls networks and attachments in
/// the comments of its nftables rules.
#[must_use]
pub fn short_hash(text: &str) -> String {
    let mut hash = sha512_hex(&[text]);
    hash.truncate(16);
    hash
}

fn sha512_hex(parts: &[&str]) -> String {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().iter().fold(String::with_capacity(128), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str) -> NetworkName {
        name.parse().unwrap()
    }

    fn id(container_id: &str, ifname: &str) -> AttachmentId {
        AttachmentId { container_id: container_id.parse().unwrap(), ifname: ifname.parse().unwrap() }
    }

    #[test]
    fn chain_names_are_the_references() {
        // pkg/utils/utils_test.go of containernetworking/plugins, and two runs of its plugins.
        let long = "icee6giejonei6sohng6ahngee7laquohquee9shiGo7fohferakah3Feiyoolu2pei7ciPhoh7shaoX6vai3vuf0ahfaeng8yo\
                    hb9ceu0daez5hashee8ooYai5wa3y";
        for (prefix, net, container_id, chain) in [
            ("", "test", "1234", "CNI-2bbe0c48b91a7d1b8a6753a8"),
            ("PREFIX-", "test", "1234", "CNI-PREFIX-2bbe0c48b91a7d1b8"),
            ("", "testalongnamethatdoesnotmakesense", "1234", "CNI-374f33fe84ab0ed84dcdebe3"),
            ("", "mynet", "ctr1", "CNI-5145007e2a8415ce07579739"),
            ("DN-", "mynet", "ctr1", "CNI-DN-5145007e2a8415ce07579"),
            ("SN-", "mynet", "ctr1", "CNI-SN-5145007e2a8415ce07579"),
            ("DN-", "test", long, "CNI-DN-67e92b96e692a494b6b85"),
            ("DN-", "testNetName", long, "CNI-DN-bfd599665540dd91d5d28"),
        ] {
            assert_eq!(chain_name(prefix, &network(net), &container_id.parse().unwrap()), chain);
        }
    }

    #[test]
    fn link_names_are_the_references() {
        // A run of its bandwidth.
        assert_eq!(link_name("bwp", &network("mynet"), &"ctr1".parse().unwrap()), "bwp5145007e2a84");
    }

    #[test]
    fn short_hashes_are_the_references() {
        assert_eq!(short_hash("unit-test"), "6fd94d501e58f0aa");
        assert_eq!(short_hash("eth0:one"), "287fc69eff0574a2");
    }

    #[test]
    fn a_tag_is_read_as_it_was_written() {
        let tag = Tag::new(&network("net"), &id("c1", "eth0"));
        assert_eq!(tag.to_string(), "net c1 eth0");
        assert_eq!("net c1 eth0".parse(), Ok(tag.clone()));
        let with = tag.clone().with_host_veth(&"veth0".parse().unwrap());
        assert_eq!(with.to_string(), "net c1 eth0 veth0");
        assert_eq!("net c1 eth0 veth0".parse(), Ok(with.clone()));
        assert_eq!(with.host_veth(), Some("veth0"));
        assert!(with.is_same_attachment(&tag));
        for other in ["", "a", "a b", "a  b", "a b c ", "a b c d e", "name: \"a\" id: \"b\" in words"] {
            assert!(other.parse::<Tag>().is_err(), "{other:?}");
        }
    }

    #[test]
    fn the_longest_tag_fits_and_long_names_stay_apart() {
        let (net_a, net_b) = (network(&"n".repeat(99)), network(&format!("{}b", "n".repeat(98))));
        let long = |end: &str| id(&format!("{}{end}", "c".repeat(99)), "012345678901234");
        let tag = Tag::new(&net_a, &long("")).with_host_veth(&"vethvethvethvet".parse().unwrap());
        assert_eq!(tag.to_string().len(), Tag::MAX_BYTES);
        assert_eq!(tag.to_string().parse(), Ok(tag.clone()));
        assert!(tag.is_same_attachment(&Tag::new(&net_a, &long(""))));
        assert!(!tag.is_same_attachment(&Tag::new(&net_a, &long("d"))));
        assert!(!tag.is_same_attachment(&Tag::new(&net_b, &long(""))));
        assert!(tag.belongs_to(&net_a) && !tag.belongs_to(&net_b));
    }

    #[test]
    fn what_just_fits_is_not_shortened() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(Tag::new(&network("n"), &id(&hex, "eth0")).container_id(), hex);
        assert!(Tag::new(&network("n"), &id(&format!("{hex}0"), "eth0")).container_id().contains('~'));
    }

    #[test]
    fn gc_keeps_valid_attachments_and_other_networks() {
        let long = "c".repeat(70);
        let valid = Valid::new(&network("net"), &[id("c1", "eth0"), id(&long, "eth0")]);
        let stale = |net: &str, container_id: &str, ifname: &str| {
            valid.is_stale(&Tag::new(&network(net), &id(container_id, ifname)))
        };
        assert!(!stale("net", "c1", "eth0"));
        assert!(!stale("net", &long, "eth0"));
        assert!(stale("net", "c1", "eth1"));
        assert!(stale("net", "c2", "eth0"));
        assert!(!stale("other", "c2", "eth0"));
        assert!(valid.has_container("c1") && !valid.has_container("c2"));
    }
}
