//! Links that change their namespace.

use std::os::fd::{AsFd, AsRawFd};

use libcni::netns::Netns;
use nix::libc;

use crate::netlink::{Mode, Request};
use crate::packet::LinkAttribute;

use super::{Dev, of, set};

/// Moves a link to another namespace under its name (`ip link set DEV netns NETNS`). It waits for RCU: some 15 ms.
#[must_use]
pub fn move_to(dev: Dev<'_>, netns: &Netns) -> Request {
    let attribute = LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd());
    set(dev, attribute, format!("move {} to network namespace \"{}\"", dev.name, netns.path().display()))
}

/// Moves a link to another namespace and calls it `name` there; `%d` in it becomes the first number that is free. With
/// `alias`, that is set, too (`ip link set DEV netns NETNS name NAME alias TEXT`). The link is down afterwards. If the
/// name is taken there, the link may have been moved under its present name nevertheless.
#[must_use]
pub fn move_as(dev: Dev<'_>, netns: &Netns, name: &str, alias: Option<&str>) -> Request {
    let mut message = of(dev);
    message.attributes.push(LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()));
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.extend(alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned())));
    let doing = format!("move {} to network namespace \"{}\" as {name}", dev.name, netns.path().display());
    Request::new(doing, libc::RTM_SETLINK, Mode::Change, &message)
}
