//! VLANs of bridge ports (`bridge vlan`).

use std::ops::RangeInclusive;

use nix::libc;

use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{attributes, find, ne32};
use crate::packet::{
    AddressFamily, AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkExtentMask, LinkMessage,
};

use super::{Dev, of};

/// `IFLA_BRIDGE_VLAN_INFO` of linux/if_bridge.h: `struct bridge_vlan_info { u16 flags, vid }`.
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

/// All numbers that a VLAN can have (0 and 4095 are reserved by IEEE 802.1Q).
pub const ALL_VLANS: RangeInclusive<u16> = 1..=4094;

/// A VLAN that a bridge's port is a member of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortVlan {
    /// Its number, 1 to 4094.
    pub vid: u16,
    /// Frames that come in without a tag belong to it.
    pub pvid: bool,
    /// Its frames go out without a tag.
    pub untagged: bool,
}

impl PortVlan {
    /// The one VLAN of an access port: untagged both ways.
    #[must_use]
    pub fn access(vid: u16) -> Self {
        Self { vid, pvid: true, untagged: true }
    }

    /// A VLAN of a trunk: tagged both ways.
    #[must_use]
    pub fn tagged(vid: u16) -> Self {
        Self { vid, pvid: false, untagged: false }
    }
}

impl Netlink {
    /// The VLANs of a bridge's port, ascending (`bridge vlan show dev PORT`). None in a kernel without bridge VLANs.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn port_vlans(&mut self, port: Dev<'_>) -> Result<Vec<PortVlan>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan]));
        let doing = format!("list VLANs of bridge port {}", port.name);
        // The kernel lists the ports of all bridges; it has no filter.
        let request = Request::new(doing, libc::RTM_GETLINK, Mode::Change, &message);
        let vlans =
            self.dump(&request, |bytes| (bytes.get(4..8).and_then(ne32) == Some(port.index)).then(|| parse(bytes)));
        Ok(vlans?.into_iter().flatten().collect())
    }
}

/// Makes a bridge's port a member of a VLAN (`bridge vlan add dev PORT vid VID [pvid] [untagged]`); one that it is in
/// already is changed.
#[must_use]
pub fn add_vlan(port: Dev<'_>, vlan: PortVlan) -> Request {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    let message = message(port, vec![AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan.vid })]);
    let doing = format!("add VLAN {} to bridge port {}", vlan.vid, port.name);
    Request::new(doing, libc::RTM_SETLINK, Mode::Change, &message)
}

/// Makes a bridge's port a tagged member of several VLANs (`bridge vlan add dev PORT vid FIRST-LAST`).
#[must_use]
pub fn add_vlans(port: Dev<'_>, vids: RangeInclusive<u16>) -> Request {
    let doing = format!("add VLANs {} to {} to bridge port {}", vids.start(), vids.end(), port.name);
    Request::new(doing, libc::RTM_SETLINK, Mode::Change, &message(port, range(&vids)))
}

/// Takes a bridge's port from all of these VLANs that it is in (`bridge vlan del dev PORT vid FIRST-LAST`).
#[must_use]
pub fn remove_vlans(port: Dev<'_>, vids: RangeInclusive<u16>) -> Request {
    let doing = format!("remove VLANs {} to {} from bridge port {}", vids.start(), vids.end(), port.name);
    Request::new(doing, libc::RTM_DELLINK, Mode::Change, &message(port, range(&vids)))
}

/// A range as the kernel takes it: its first and its last VLAN, marked so.
fn range(vids: &RangeInclusive<u16>) -> Vec<AfSpecBridge> {
    let one = |vid, flags| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
    if vids.start() == vids.end() {
        return vec![one(*vids.start(), BridgeVlanInfoFlags::empty())];
    }
    vec![one(*vids.start(), BridgeVlanInfoFlags::RangeBegin), one(*vids.end(), BridgeVlanInfoFlags::RangeEnd)]
}

fn message(port: Dev<'_>, vlans: Vec<AfSpecBridge>) -> LinkMessage {
    let mut message = of(port);
    message.header.interface_family = AddressFamily::Bridge;
    message.attributes.push(LinkAttribute::AfSpecBridge(vlans));
    message
}

/// Reads the VLANs in an `RTM_NEWLINK` of family `AF_BRIDGE`.
fn parse(message: &[u8]) -> Vec<PortVlan> {
    let spec = message.get(16..).and_then(|list| find(list, libc::IFLA_AF_SPEC)).unwrap_or_default();
    attributes(spec).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO).filter_map(|(_, value)| vlan(value)).collect()
}

fn vlan(value: &[u8]) -> Option<PortVlan> {
    let &[flags_low, flags_high, vid_low, vid_high] = value.first_chunk()?;
    let flags = BridgeVlanInfoFlags::from_bits_retain(u16::from_ne_bytes([flags_low, flags_high]));
    Some(PortVlan {
        vid: u16::from_ne_bytes([vid_low, vid_high]),
        pvid: flags.contains(BridgeVlanInfoFlags::Pvid),
        untagged: flags.contains(BridgeVlanInfoFlags::Untagged),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Dev<'static> = Dev { index: 9, name: "veth1" };
    /// ifinfomsg of family AF_BRIDGE (7), link 9.
    const HEADER: [u8; 16] = [7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn says_what_the_bridge_command_says() {
        // bridge vlan add dev veth1 vid 100 pvid untagged; bridge vlan add dev veth1 vid 10-20
        let access = add_vlan(PORT, PortVlan::access(100));
        assert_eq!(access.body().get(..16).unwrap(), HEADER);
        assert_eq!(access.body().get(16..).unwrap(), [12, 0, 26, 0, 8, 0, 2, 0, 6, 0, 100, 0]);
        let trunk = add_vlans(PORT, 10..=20);
        let expected = [20, 0, 26, 0, 8, 0, 2, 0, 8, 0, 10, 0, 8, 0, 2, 0, 16, 0, 20, 0];
        assert_eq!(trunk.body().get(16..).unwrap(), expected);
        assert_eq!(remove_vlans(PORT, 5..=5).body().get(16..).unwrap(), [12, 0, 26, 0, 8, 0, 2, 0, 0, 0, 5, 0]);
    }

    #[test]
    fn reads_what_it_would_say() {
        let request = add_vlan(PORT, PortVlan::access(100));
        assert_eq!(parse(request.body()), [PortVlan::access(100)]);
        assert_eq!(parse(&HEADER), []);
        assert_eq!(parse(&[]), []);
    }
}
