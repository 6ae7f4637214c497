//! Bridges and their ports.

use libcni::types::MacAddr;
use nix::libc;

use crate::netlink::{Mode, Netlink, Request};
use crate::packet::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo,
};

use super::create::{LinkError, NewLink};
use super::{Dev, Link, of};

/// A bridge to be made by [`Netlink::ensure_bridge`]. Everything but the name is optional.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its Ethernet address. Without one it takes the lowest of its ports', which changes with them.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes. Without one it takes the lowest of its ports'.
    pub mtu: Option<u32>,
    /// Whether it looks at VLAN tags.
    pub vlan_filtering: bool,
}

impl<'a> Bridge<'a> {
    /// A bridge as the kernel makes it.
    #[must_use]
    pub fn new(name: &'a str) -> Self {
        Self { name, mac: None, mtu: None, vlan_filtering: false }
    }
}

impl Netlink {
    /// Makes a bridge, and sets it up (`ip link add NAME up type bridge`), unless there is one: that one is returned
    /// as it is, with false. Several callers at once are fine.
    ///
    /// # Errors
    /// [`LinkError::NotABridge`] if another kind of link has the name, or what the kernel says.
    pub fn ensure_bridge(&mut self, bridge: &Bridge<'_>) -> Result<(Link, bool), LinkError> {
        if let Some(link) = self.find_link(bridge.name)? {
            return a_bridge(link).map(|link| (link, false));
        }
        match self.run(create(bridge)) {
            Ok(()) => self.created(bridge.name).map(|link| (link, true)),
            Err(e) if e.is_exists() => self.created(bridge.name).and_then(a_bridge).map(|link| (link, false)),
            Err(e) => Err(e.into()),
        }
    }
}

fn a_bridge(link: Link) -> Result<Link, LinkError> {
    if link.bridge.is_some() { Ok(link) } else { Err(LinkError::NotABridge { name: link.name, kind: link.kind }) }
}

pub(super) fn create(bridge: &Bridge<'_>) -> Request {
    let new = NewLink { mac: bridge.mac, mtu: bridge.mtu, up: true, ..NewLink::called(bridge.name) };
    // Not said where it is not wanted: a kernel without bridge VLANs refuses the attribute.
    let data = bridge.vlan_filtering.then_some(InfoBridge::VlanFiltering(true)).into_iter().collect();
    new.request(format!("create bridge {}", bridge.name), InfoKind::Bridge, InfoData::Bridge(data))
}

/// Has a bridge look at VLAN tags, or not (`ip link set BRIDGE type bridge vlan_filtering 1`). Ports that are there
/// keep talking: they are untagged members of VLAN 1.
#[must_use]
pub fn set_vlan_filtering(bridge: Dev<'_>, on: bool) -> Request {
    let mut message = of(bridge);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(on)])),
    ]));
    let verb = if on { "enable" } else { "disable" };
    let doing = format!("{verb} VLAN filtering of bridge {}", bridge.name);
    Request::new(doing, libc::RTM_NEWLINK, Mode::Change, &message)
}

/// Sets a bridge's port to send frames back by the port that they came by, or not (`bridge link set dev PORT hairpin
/// on`).
#[must_use]
pub fn set_hairpin(port: Dev<'_>, on: bool) -> Request {
    set_port(port, InfoBridgePort::HairpinMode(on), format!("set hairpin mode of bridge port {}", port.name))
}

/// Sets whether a bridge's port is cut off from other isolated ports (`bridge link set dev PORT isolated on`).
#[must_use]
pub fn set_isolated(port: Dev<'_>, on: bool) -> Request {
    set_port(port, InfoBridgePort::Isolated(on), format!("isolate bridge port {}", port.name))
}

/// A message of its own after the link was made: in the RTM_NEWLINK that makes it the kernel ignores these silently.
fn set_port(port: Dev<'_>, setting: InfoBridgePort, doing: String) -> Request {
    let mut message = of(port);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![setting])),
    ]));
    Request::new(doing, libc::RTM_NEWLINK, Mode::Change, &message)
}
