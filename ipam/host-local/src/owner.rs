//! Who an address belongs to, as it is written in the file of the address.

use std::collections::HashSet;

use libcni::names::{ContainerId, IfName};
use libcni::types::AttachmentId;

/// The owner of an address: an attachment, or (written by versions of the reference before 0.7) a container alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner {
    container_id: ContainerId,
    ifname: Option<IfName>,
}

impl Owner {
    /// The attachment `id`.
    pub(crate) fn attachment(id: &AttachmentId) -> Self {
        Self { container_id: id.container_id.clone(), ifname: Some(id.ifname.clone()) }
    }

    /// The container of `id`, without an interface: the old form.
    pub(crate) fn container(id: &AttachmentId) -> Self {
        Self { container_id: id.container_id.clone(), ifname: None }
    }

    /// Reads the content of a file: `<container ID>\r\n<interface name>`, or `<container ID>` alone; white space at
    /// both ends and further lines do not count. `None` for anything else: such a file has no owner.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?.trim();
        let mut lines = text.split("\r\n");
        let container_id = lines.next()?.parse().ok()?;
        let ifname = lines.next().map(str::parse).transpose().ok()?;
        Some(Self { container_id, ifname })
    }

    /// The content of the file, to the byte as the reference writes it.
    pub(crate) fn content(&self) -> String {
        self.joined("\r\n")
    }

    /// Container ID and interface name with `separator` between them.
    pub(crate) fn joined(&self, separator: &str) -> String {
        match &self.ifname {
            Some(ifname) => format!("{}{separator}{ifname}", self.container_id),
            None => self.container_id.to_string(),
        }
    }
}

/// The attachments that GC keeps.
#[derive(Debug)]
pub(crate) struct Valid<'a> {
    attachments: HashSet<(&'a ContainerId, &'a IfName)>,
    containers: HashSet<&'a ContainerId>,
}

impl<'a> Valid<'a> {
    pub(crate) fn new(ids: &'a [AttachmentId]) -> Self {
        Self {
            attachments: ids.iter().map(|id| (&id.container_id, &id.ifname)).collect(),
            containers: ids.iter().map(|id| &id.container_id).collect(),
        }
    }

    /// Whether `owner` stays. The old form stays as long as its container has any attachment.
    pub(crate) fn contains(&self, owner: &Owner) -> bool {
        match &owner.ifname {
            Some(ifname) => self.attachments.contains(&(&owner.container_id, ifname)),
            None => self.containers.contains(&owner.container_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(container: &str, ifname: &str) -> AttachmentId {
        AttachmentId { container_id: container.parse().unwrap(), ifname: ifname.parse().unwrap() }
    }

    #[test]
    fn content_is_the_references_to_the_byte_and_reads_back() {
        let owner = Owner::attachment(&id("abc", "eth0"));
        assert_eq!(owner.content(), "abc\r\neth0");
        assert_eq!(Owner::parse(b"abc\r\neth0"), Some(owner.clone()));
        assert_eq!(Owner::parse(b" abc\r\neth0\n"), Some(owner.clone()));
        assert_eq!(Owner::parse(b"abc\r\neth0\r\nmore"), Some(owner));
        assert_eq!(Owner::parse(b"abc\n"), Some(Owner::container(&id("abc", "eth0"))));
    }

    #[test]
    fn garbage_has_no_owner() {
        for garbage in [&b""[..], b"\0\0\0", b"\xff\xfe", b" \r\n", b"a b", b"../x", b"abc\r\n\0", b"abc\neth0"] {
            assert_eq!(Owner::parse(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn the_old_form_is_valid_with_any_interface() {
        let ids = [id("abc", "net1")];
        let valid = Valid::new(&ids);
        assert!(valid.contains(&Owner::container(&id("abc", "eth0"))));
        assert!(!valid.contains(&Owner::container(&id("def", "net1"))));
        assert!(!valid.contains(&Owner::attachment(&id("abc", "eth0"))));
        assert!(valid.contains(&Owner::attachment(&id("abc", "net1"))));
    }
}
