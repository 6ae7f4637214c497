//! Links on the host that are ours: their alias says whose they are, so that DEL and GC find them without the
//! container's namespace.

use crate::error::NetlinkError;
use crate::netlink::Netlink;
use crate::tag::{self, Tag, Valid};

use super::{Dev, Link, LinkError, Veth};

/// The name of an attachment's link on the host: `prefix` and eight hexadecimal digits, as the reference's; here the
/// digits are a hash of the attachment, so that the link is found by its name.
#[must_use]
pub fn owned_name(prefix: &str, tag: &Tag) -> String {
    let hash = tag::short_hash(&tag.to_string());
    format!("{prefix}{}", hash.get(..8).unwrap_or(&hash))
}

impl Link {
    /// Whose link it is, if its alias is a tag.
    #[must_use]
    pub fn owner(&self) -> Option<Tag> {
        self.alias.as_deref().and_then(|alias| alias.parse().ok())
    }
}

impl Netlink {
    /// Makes a veth pair ([`Netlink::create_veth`]) whose host end has the name of `tag`'s attachment,
    /// [`owned_name`]; a random one if that is taken: by a link of an earlier namespace of this container or, once in
    /// four billion, of somebody else. The alias is still to be set.
    ///
    /// # Errors
    /// As [`Netlink::create_veth`].
    pub fn create_owned_veth(&mut self, veth: Veth<'_>, tag: &Tag) -> Result<Link, LinkError> {
        let name = owned_name("veth", tag);
        match self.create_veth(&Veth { host_name: Some(&name), ..veth }) {
            Err(LinkError::HostNameTaken { .. }) => self.create_veth(&Veth { host_name: None, ..veth }),
            made => made,
        }
    }

    /// Removes the veth pair of `tag`'s attachment by its host end, if that is there and is the attachment's.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_owned_veth(&mut self, tag: &Tag) -> Result<(), NetlinkError> {
        match self.find_owned(&owned_name("veth", tag), "veth", tag)? {
            Some(link) => self.remove_link(Dev::from(&link)),
            None => Ok(()),
        }
    }

    /// The link `name` of this `kind`, if `tag`'s attachment owns it.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn find_owned(&mut self, name: &str, kind: &str, tag: &Tag) -> Result<Option<Link>, NetlinkError> {
        let is_ours =
            |link: &Link| link.kind == kind && link.owner().is_some_and(|owner| owner.is_same_attachment(tag));
        Ok(self.find_link(name)?.filter(is_ours))
    }

    /// Removes the links of this `kind` that this network's attachments own, but for the valid ones.
    ///
    /// # Errors
    /// The first that cannot be removed.
    pub fn remove_stale(&mut self, kind: &str, valid: &Valid) -> Result<(), NetlinkError> {
        let is_stale = |link: &&Link| link.kind == kind && link.owner().is_some_and(|tag| valid.is_stale(&tag));
        for stale in self.links()?.iter().filter(is_stale) {
            self.remove_link(Dev::from(stale))?;
        }
        Ok(())
    }
}
