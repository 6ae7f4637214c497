//! Intermediate functional blocks: links that packets are redirected to only to be queued.

use libcni::types::MacAddr;
use nix::libc;

use crate::netlink::{Batch, Mode, Netlink, Request};
use crate::packet::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::Link;
use super::create::{LinkError, NewLink};

/// A link of kind `ifb` to be made by [`Netlink::create_ifb`].
#[derive(Clone, Copy, Debug)]
pub struct Ifb<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its alias.
    pub alias: &'a str,
    /// Its Ethernet address. One whose making failed half-way is known by it.
    pub mac: MacAddr,
    /// Its MTU in bytes.
    pub mtu: u32,
}

impl Ifb<'_> {
    pub(super) fn request(&self) -> Request {
        let new = NewLink { mac: Some(self.mac), mtu: Some(self.mtu), ..NewLink::called(self.name) };
        let mut message = new.message();
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]));
        Request::new(format!("create ifb {}", self.name), libc::RTM_NEWLINK, Mode::Create, &message)
    }

    /// The alias, of the link that has this name: its index is not known yet.
    fn named(&self) -> Request {
        let mut message = LinkMessage::default();
        let attributes = [LinkAttribute::IfName(self.name.to_owned()), LinkAttribute::IfAlias(self.alias.to_owned())];
        message.attributes.extend(attributes);
        let doing = format!("set the alias of {} to \"{}\"", self.name, self.alias);
        Request::new(doing, libc::RTM_SETLINK, Mode::Change, &message)
    }
}

impl Netlink {
    /// Makes a link of kind `ifb` (`ip link add NAME type ifb; ip link set NAME alias ALIAS`). It is down: a queueing
    /// discipline is put on it sooner then.
    ///
    /// The kernel gives no alias to a link that it makes, so that is a second message, in the same send: no kill comes
    /// between. It goes to whoever has the name; the caller has to know that nobody has, and that nobody else is about
    /// to.
    ///
    /// # Errors
    /// [`LinkError::HostNameTaken`], or what the kernel says. Nothing is left then.
    pub fn create_ifb(&mut self, ifb: &Ifb<'_>) -> Result<Link, LinkError> {
        match Batch::from_iter([ifb.request(), ifb.named()]).send(self) {
            Ok(()) => self.created(ifb.name).inspect_err(|_told| self.remove_unwanted(Some(ifb.mac), ifb.name)),
            Err(e) if e.is_exists() => Err(LinkError::HostNameTaken { name: ifb.name.to_owned() }),
            Err(e) if e.is_unknown_link_kind() => {
                Err(LinkError::NoSuchKind { name: ifb.name.to_owned(), kind: InfoKind::Ifb.to_string() })
            }
            Err(e) => {
                self.remove_unwanted(Some(ifb.mac), ifb.name);
                Err(e.into())
            }
        }
    }
}
