//! The link that the container's packets are sent to only to wait there: the kernel queues what a link sends, not what
//! comes in by it.
//!
//! The reference names it after network and container alone, so that a second attachment of the container to the network
//! finds the name taken. Here the first attachment takes that name, by which the Go plugin's CHECK and DEL know it, and
//! every other a name of its own. The alias tells whose it is.

use libcni::netns::Netns;
use libcni::plugin::{Attachment, Call};
use linuxnet::NetlinkError;
use linuxnet::link::{self, Dev, Ifb, Link};
use linuxnet::netlink::Netlink;
use linuxnet::tag::{self, Tag, Valid};

use crate::error::BandwidthError;

const KIND: &str = "ifb";
const PREFIX: &str = "bwp";
/// Hexadecimal digits in the reference's names. Ours have eight.
const REFERENCE_DIGITS: usize = 12;

/// An attachment, as its link is named.
pub(crate) struct Owner {
    tag: Tag,
    /// The name that the reference would take.
    reference: String,
    /// The name that no other attachment would take.
    own: String,
}

impl Owner {
    pub(crate) fn of(call: &Call<'_>, attachment: &Attachment) -> Self {
        let network = &call.config.name;
        let tag = Tag::new(network, &attachment.id);
        Self {
            reference: tag::link_name(PREFIX, network, &attachment.id.container_id),
            own: link::owned_name(PREFIX, &tag),
            tag,
        }
    }

    fn has(&self, link: &Link) -> bool {
        link.kind == KIND && link.owner().is_some_and(|owner| owner.is_same_attachment(&self.tag))
    }

    fn named(&self, host: &mut Netlink) -> Result<[Option<Link>; 2], NetlinkError> {
        Ok([host.find_link(&self.reference)?, host.find_link(&self.own)?])
    }
}

/// The attachment's link: that of an earlier ADD, or a new one with the MTU of `end`, down.
pub(crate) fn ensure(host: &mut Netlink, owner: &Owner, end: &Link) -> Result<Link, BandwidthError> {
    // Two attachments of one container must not find the same name free.
    let _lock = Netns::current()?.lock()?;
    let taken = owner.named(host)?;
    if let Some(link) = taken.iter().flatten().find(|link| owner.has(link)) {
        return Ok(link.clone());
    }
    let name = match &taken {
        [None, _] => &owner.reference,
        [_, None] => &owner.own,
        [Some(_), Some(_)] => return Err(BandwidthError::NameTaken(owner.own.clone())),
    };
    let alias = owner.tag.to_string();
    Ok(host.create_ifb(&Ifb { name, alias: &alias, mac: link::random_mac()?, mtu: end.mtu })?)
}

/// The attachment's links: ours by their alias; that of the Go plugin, which has none, by its name, and by the result
/// where it is known, since the name is the same for the container's other attachments to the network.
pub(crate) fn find(host: &mut Netlink, owner: &Owner, call: &Call<'_>) -> Result<Vec<Link>, NetlinkError> {
    let is_reported = |name: &str| {
        let result = call.config.prev_result.as_ref();
        result.is_none_or(|result| result.host_interfaces().any(|interface| interface.name == name))
    };
    let is_references = |link: &Link| {
        link.kind == KIND && link.alias.is_none() && link.name == owner.reference && is_reported(&link.name)
    };
    let found = owner.named(host)?.into_iter().flatten();
    Ok(found.filter(|link| owner.has(link) || is_references(link)).collect())
}

/// Removes the links of this network's attachments that are not valid; and those of the Go plugin that nothing is
/// redirected to any more.
pub(crate) fn collect_garbage(host: &mut Netlink, valid: &Valid) -> Result<(), NetlinkError> {
    host.remove_stale(KIND, valid)?;
    let links = host.links()?;
    let mut orphans: Vec<&Link> = links.iter().filter(|link| is_named_by_reference(link)).collect();
    if orphans.is_empty() {
        return Ok(());
    }
    let qdiscs = host.qdiscs()?;
    let is_on = |link: &Link, kind: &str| qdiscs.iter().any(|qdisc| qdisc.link == link.index && qdisc.kind == kind);
    // The Go plugin's ADD puts the token bucket there last: without it that is still to come, or was killed.
    orphans.retain(|link| is_on(link, "tbf"));
    for link in links.iter().filter(|link| is_on(link, "ingress")) {
        let used = host.redirections(Dev::from(link))?;
        orphans.retain(|orphan| !used.contains(&orphan.index));
    }
    orphans.into_iter().try_for_each(|orphan| host.remove_link(Dev::from(orphan)))
}

/// Whether the Go plugin made it. Its name is a hash of the network, which cannot be told from it.
fn is_named_by_reference(link: &Link) -> bool {
    let digits = link.name.strip_prefix(PREFIX).unwrap_or_default();
    link.kind == KIND
        && link.alias.is_none()
        && digits.len() == REFERENCE_DIGITS
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}
