//! The other end of a pair of links, in this namespace.

use std::os::fd::{AsFd, AsRawFd};

use libcni::netns::Netns;
use nix::libc;

use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, find, ne32};

use super::Link;

/// `NETNSA_NSID` and `NETNSA_FD` of linux/net_namespace.h.
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// `struct rtgenmsg`, padded: the family, which does not matter.
const RTGENMSG: [u8; 4] = [0; 4];

impl Netlink {
    /// The other end of the veth `end` of `netns`. `None`: it is not in this socket's namespace.
    ///
    /// An index alone does not tell: in another namespace it is another link's. So the link of that index must have
    /// `end` for its other end, in a namespace that this one knows by the same number as `netns`.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn find_other_end(&mut self, end: &Link, netns: &Netns) -> Result<Option<Link>, NetlinkError> {
        let Some(index) = end.peer_index else { return Ok(None) };
        let Some(link) = self.find_link_by_index(index)? else { return Ok(None) };
        // Asked after the link, in whose description the kernel numbers the namespace if it has no number yet.
        let is_other_end = link.kind == end.kind
            && link.peer_index == Some(end.index)
            && link.link_netns_id.is_some()
            && link.link_netns_id == self.netns_id(netns)?;
        Ok(is_other_end.then_some(link))
    }

    /// This namespace's number for `netns` (`ip netns list-id`), by which its links name the one that their other end is
    /// in ([`Link::link_netns_id`]); `None` if it has none.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn netns_id(&mut self, netns: &Netns) -> Result<Option<u32>, NetlinkError> {
        let mut attributes = Attributes::new();
        attributes.bytes(NETNSA_FD, &netns.as_fd().as_raw_fd().to_ne_bytes());
        let doing = format!("look up the number of network namespace \"{}\"", netns.path().display());
        let request = Request::of_parts(doing, libc::RTM_GETNSID, Mode::Change, &RTGENMSG, &attributes);
        let answer = self.get(&request, |message| find(message.get(RTGENMSG.len()..)?, NETNSA_NSID).and_then(ne32))?;
        // NETNSA_NSID_NOT_ASSIGNED is -1.
        Ok(answer.filter(|&id| id != u32::MAX))
    }
}
