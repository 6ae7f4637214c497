//! Links: found, made, changed, removed (`ip link`).

mod alt_name;
mod bridge;
mod bridge_vlan;
mod create;
mod dummy;
mod events;
mod ifb;
mod ipip;
mod ipv6;
mod ipvlan;
mod macvlan;
mod mode;
mod moving;
mod owned;
mod peer;
mod tap;
#[cfg(test)]
pub(crate) mod tests;
mod tun;
mod upper;
mod veth;
mod vlan;
mod vrf;
mod vxlan;
mod wireguard;

use libcni::json::FieldError;
use libcni::types::MacAddr;
use nix::libc;

use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{attributes, find, ne32, text};
use crate::packet::{AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};

pub use alt_name::{ALT_NAME_MAX, add_alt_name, remove_alt_name};
pub use bridge::{Bridge, set_hairpin, set_isolated, set_vlan_filtering};
pub use bridge_vlan::{ALL_VLANS, PortVlan, add_vlan, add_vlans, remove_vlans};
pub(crate) use create::random;
pub use create::{LinkError, random_mac};
pub use events::LinkEvents;
pub use ifb::Ifb;
pub use ipip::Ipip;
pub use ipv6::{Ipv6State, set_link_local};
pub use ipvlan::IpvlanMode;
pub use macvlan::{Macvlan, MacvlanMode};
pub use mode::UnknownMode;
pub use moving::{move_as, move_to};
pub use owned::owned_name;
pub use tap::{OpenTap, Tap, TapError, TapState, require_tap_devices};
pub use tun::Tun;
pub use upper::Upper;
pub use veth::Veth;
pub use vrf::create_vrf;
pub use vxlan::{Vnis, Vxlan, add_vni, remove_vnis};

/// A link as it is named in requests: by index for the kernel, by name for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dev<'a> {
    /// The kernel's number of the link, in its namespace.
    pub index: u32,
    /// Its name, for messages.
    pub name: &'a str,
}

impl Dev<'static> {
    /// `lo`, which is link 1 of every namespace (`LOOPBACK_IFINDEX`).
    pub const LOOPBACK: Self = Self { index: 1, name: "lo" };
}

impl<'a> From<&'a Link> for Dev<'a> {
    fn from(link: &'a Link) -> Self {
        Self { index: link.index, name: &link.name }
    }
}

/// A link, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of the link, in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` for links with addresses of another length, or none.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// `IFF_UP`: the administrator wants it up.
    pub is_up: bool,
    /// It can carry packets: its operational state is up, or unknown, which means up for links that cannot tell.
    pub is_running: bool,
    /// Whether it is in promiscuous mode by the administrator's wish (`IFF_PROMISC`).
    pub is_promiscuous: bool,
    /// How many want it promiscuous: the administrator, packet captures, a bridge that it is a port of.
    pub promiscuity: u32,
    /// Whether it takes every multicast frame by the administrator's wish (`IFF_ALLMULTI`).
    pub is_all_multicast: bool,
    /// How many packets may wait to be sent (`txqueuelen`).
    pub tx_queue_len: u32,
    /// Its kind: `veth`, `bridge`, `macvlan`, …; empty for `lo` and hardware.
    pub kind: String,
    /// The index of the link that it is a port of: a bridge, bond or VRF.
    pub master: Option<u32>,
    /// The index of the link that it belongs to (`IFLA_LINK`): a veth's other end, a VLAN's lower link. In another
    /// namespace if [`link_netns_id`](Self::link_netns_id) is there.
    pub peer_index: Option<u32>,
    /// This namespace's number for the one in which `peer_index` counts.
    pub link_netns_id: Option<u32>,
    /// Its alias (`ifalias`).
    pub alias: Option<String>,
    /// Its alternative names.
    pub alt_names: Vec<String>,
    /// What a bridge is set to; `None` for other links.
    pub bridge: Option<BridgeState>,
    /// What it is set to as a bridge's port; `None` for other links.
    pub port: Option<PortState>,
    /// A macvlan's mode; `None` for other links.
    pub macvlan: Option<MacvlanMode>,
    /// An ipvlan's mode; `None` for other links.
    pub ipvlan: Option<IpvlanMode>,
    /// What a tap device is set to; `None` for other links.
    pub tap: Option<TapState>,
    /// A VLAN link's number; `None` for other links.
    pub vlan: Option<u16>,
    /// The routing table of a VRF; `None` for other links.
    pub vrf_table: Option<u32>,
    /// What a VXLAN link is set to; `None` for other links.
    pub vxlan: Option<Vxlan>,
    /// What a tunnel of IP in IP is set to; `None` for other links.
    pub ipip: Option<Ipip>,
    /// What IPv6 is set to on it; `None` where the kernel has no IPv6, or the link cannot have any.
    pub ipv6: Option<Ipv6State>,
}

/// What a bridge is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeState {
    /// Whether it looks at VLAN tags (`vlan_filtering`).
    pub vlan_filtering: bool,
}

/// What a bridge's port is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortState {
    /// Frames may leave by the port that they came by.
    pub hairpin: bool,
    /// It does not talk to other isolated ports.
    pub isolated: bool,
}

/// `IFLA_BR_VLAN_FILTERING`, `IFLA_BRPORT_MODE` (hairpin) and `IFLA_BRPORT_ISOLATED` of linux/if_link.h.
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
/// `IF_OPER_UNKNOWN` and `IF_OPER_UP` of linux/if.h.
const OPER_UNKNOWN: u8 = 0;
const OPER_UP: u8 = 6;

impl Netlink {
    /// The link called `name`, if there is one (`ip link show NAME`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn find_link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut message = looking();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.get(&Request::new(format!("look up link {name}"), libc::RTM_GETLINK, Mode::Change, &message), parse)
    }

    /// The link with this index, if there is one.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn find_link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let mut message = looking();
        message.header.index = index;
        self.get(
            &Request::new(format!("look up link number {index}"), libc::RTM_GETLINK, Mode::Change, &message),
            parse,
        )
    }

    /// All links of the namespace.
    ///
    /// # Errors
    /// If the kernel cannot be asked, or links came and went all the while.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        self.dump(&Request::new("list links", libc::RTM_GETLINK, Mode::Change, &looking()), parse)
    }

    /// Removes a link (`ip link delete`). One that is gone already is success. Of a veth both ends go.
    ///
    /// # Errors
    /// If it is there and cannot be removed, as hardware.
    pub fn remove_link(&mut self, dev: Dev<'_>) -> Result<(), NetlinkError> {
        match self.run(Request::new(format!("remove link {}", dev.name), libc::RTM_DELLINK, Mode::Change, &of(dev))) {
            Err(e) if e.is_not_found() => Ok(()),
            done => done,
        }
    }
}

/// Sets a link up (`ip link set DEV up`).
#[must_use]
pub fn set_up(dev: Dev<'_>) -> Request {
    set_flag(dev, LinkFlags::Up, true, format!("set {} up", dev.name))
}

/// Sets a link down (`ip link set DEV down`).
#[must_use]
pub fn set_down(dev: Dev<'_>) -> Request {
    set_flag(dev, LinkFlags::Up, false, format!("set {} down", dev.name))
}

/// Has a link take every frame, or only its own (`ip link set DEV promisc on|off`).
#[must_use]
pub fn set_promiscuous(dev: Dev<'_>, on: bool) -> Request {
    let mode = if on { "promiscuous" } else { "not promiscuous" };
    set_flag(dev, LinkFlags::Promisc, on, format!("make {} {mode}", dev.name))
}

/// The MTU in bytes that a configuration asks for by its key `mtu`, 0 being the kernel's default. Below 68 IPv4 does not
/// work (RFC 791), above 65535 Ethernet links refuse (`ETH_MAX_MTU`).
///
/// # Errors
/// If it is out of range.
pub fn configured_mtu(mtu: u32) -> Result<Option<u32>, FieldError> {
    match mtu {
        0 => Ok(None),
        68..=65535 => Ok(Some(mtu)),
        _ => Err(FieldError::new("mtu", mtu, "0 (the kernel's default) or 68 to 65535")),
    }
}

/// Has a link take every multicast frame, or only those of its groups (`ip link set DEV allmulticast on|off`).
#[must_use]
pub fn set_all_multicast(dev: Dev<'_>, on: bool) -> Request {
    let what = if on { "every multicast frame" } else { "only multicast frames of its groups" };
    set_flag(dev, LinkFlags::Allmulti, on, format!("have {} take {what}", dev.name))
}

/// Sets how many packets may wait to be sent (`ip link set DEV txqueuelen PACKETS`).
#[must_use]
pub fn set_tx_queue_len(dev: Dev<'_>, packets: u32) -> Request {
    let doing = format!("set the transmit queue length of {} to {packets}", dev.name);
    set(dev, LinkAttribute::TxQueueLen(packets), doing)
}

/// Sets the MTU in bytes (`ip link set DEV mtu MTU`).
#[must_use]
pub fn set_mtu(dev: Dev<'_>, mtu: u32) -> Request {
    set(dev, LinkAttribute::Mtu(mtu), format!("set the MTU of {} to {mtu}", dev.name))
}

/// Sets the hardware address (`ip link set DEV address MAC`).
#[must_use]
pub fn set_mac(dev: Dev<'_>, mac: MacAddr) -> Request {
    set(dev, LinkAttribute::Address(mac.0.to_vec()), format!("set the MAC address of {} to {mac}", dev.name))
}

/// Makes a link a port of `master`: a bridge, bond or VRF (`ip link set DEV master MASTER`).
#[must_use]
pub fn set_master(dev: Dev<'_>, master: Dev<'_>) -> Request {
    set(dev, LinkAttribute::Controller(master.index), format!("attach {} to {}", dev.name, master.name))
}

/// Takes a link from its master (`ip link set DEV nomaster`).
#[must_use]
pub fn clear_master(dev: Dev<'_>) -> Request {
    set(dev, LinkAttribute::Controller(0), format!("detach {} from its master", dev.name))
}

/// Sets the alias, empty for none (`ip link set DEV alias TEXT`).
#[must_use]
pub fn set_alias(dev: Dev<'_>, alias: &str) -> Request {
    set(dev, LinkAttribute::IfAlias(alias.to_owned()), format!("set the alias of {} to \"{alias}\"", dev.name))
}

/// Gives a link another name (`ip link set DEV name NAME`). Before Linux 6.2 it must be down.
#[must_use]
pub fn rename(dev: Dev<'_>, name: &str) -> Request {
    set(dev, LinkAttribute::IfName(name.to_owned()), format!("rename {} to {name}", dev.name))
}

/// Has a link announce its IPv4 addresses by gratuitous ARP when it comes up: sysctl `net/ipv4/conf/DEV/arp_notify`,
/// without entering the link's namespace for /proc.
#[must_use]
pub fn set_arp_notify(dev: Dev<'_>) -> Request {
    let mut settings = InetDevConf::default();
    settings.arp_notify = 1;
    let spec = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(settings)]);
    set(dev, LinkAttribute::AfSpecUnspec(vec![spec]), format!("set arp_notify of {}", dev.name))
}

/// A message about nothing yet; with the statistics left out of the answer.
fn looking() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

/// A message about `dev`.
fn of(dev: Dev<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = dev.index;
    message
}

fn set(dev: Dev<'_>, attribute: LinkAttribute, doing: String) -> Request {
    let mut message = of(dev);
    message.attributes.push(attribute);
    Request::new(doing, libc::RTM_SETLINK, Mode::Change, &message)
}

fn set_flag(dev: Dev<'_>, flag: LinkFlags, on: bool, doing: String) -> Request {
    let mut message = of(dev);
    message.header.change_mask = flag;
    message.header.flags = if on { flag } else { LinkFlags::empty() };
    Request::new(doing, libc::RTM_SETLINK, Mode::Change, &message)
}

/// Reads an `RTM_NEWLINK`. `None`: it is cut off.
fn parse(message: &[u8]) -> Option<Link> {
    // struct ifinfomsg: family, pad, type (u16), index (i32), flags, change.
    let index = message.get(4..8).and_then(ne32)?;
    let flags = LinkFlags::from_bits_retain(message.get(8..12).and_then(ne32)?);
    let mut link = Link {
        index,
        name: String::new(),
        mac: None,
        mtu: 0,
        is_up: flags.contains(LinkFlags::Up),
        is_running: false,
        is_promiscuous: flags.contains(LinkFlags::Promisc),
        promiscuity: 0,
        is_all_multicast: flags.contains(LinkFlags::Allmulti),
        tx_queue_len: 0,
        kind: String::new(),
        master: None,
        peer_index: None,
        link_netns_id: None,
        alias: None,
        alt_names: Vec::new(),
        bridge: None,
        port: None,
        macvlan: None,
        ipvlan: None,
        tap: None,
        vlan: None,
        vrf_table: None,
        vxlan: None,
        ipip: None,
        ipv6: None,
    };
    for (kind, value) in attributes(message.get(16..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_ADDRESS => link.mac = MacAddr::from_bytes(value),
            libc::IFLA_MTU => link.mtu = ne32(value)?,
            libc::IFLA_OPERSTATE => link.is_running = matches!(value.first(), Some(&(OPER_UNKNOWN | OPER_UP))),
            libc::IFLA_TXQLEN => link.tx_queue_len = ne32(value)?,
            libc::IFLA_PROMISCUITY => link.promiscuity = ne32(value)?,
            libc::IFLA_MASTER => link.master = ne32(value),
            libc::IFLA_LINK => link.peer_index = ne32(value).filter(|&index| index != 0),
            libc::IFLA_LINK_NETNSID => link.link_netns_id = ne32(value),
            alt_name::IFLA_PROP_LIST => link.alt_names = alt_name::parse(value),
            libc::IFLA_IFALIAS => link.alias = Some(text(value)),
            libc::IFLA_LINKINFO => parse_info(value, &mut link),
            libc::IFLA_AF_SPEC => link.ipv6 = ipv6::parse(value),
            _ => {}
        }
    }
    link.is_running &= link.is_up;
    Some(link)
}

/// Whether an attribute of one byte is there and not 0.
fn flag(data: &[u8], kind: u16) -> bool {
    find(data, kind).and_then(<[u8]>::first).is_some_and(|&value| value != 0)
}

fn parse_info(info: &[u8], link: &mut Link) {
    link.kind = find(info, libc::IFLA_INFO_KIND).map(text).unwrap_or_default();
    if let Some(data) = find(info, libc::IFLA_INFO_DATA) {
        match link.kind.as_str() {
            "bridge" => link.bridge = Some(BridgeState { vlan_filtering: flag(data, IFLA_BR_VLAN_FILTERING) }),
            "macvlan" => link.macvlan = MacvlanMode::parse(data),
            "ipvlan" => link.ipvlan = IpvlanMode::parse(data),
            "tun" => link.tap = tap::parse(data),
            "vlan" => link.vlan = vlan::parse_id(data),
            "vxlan" => link.vxlan = vxlan::parse(data),
            "ipip" => link.ipip = Some(ipip::parse(data)),
            _ => {}
        }
    }
    if link.kind == vrf::KIND {
        link.vrf_table = find(info, libc::IFLA_INFO_DATA).and_then(vrf::parse_table);
    }
    if find(info, libc::IFLA_INFO_SLAVE_KIND).map(text).as_deref() == Some("bridge") {
        link.port = find(info, libc::IFLA_INFO_SLAVE_DATA).map(|data| PortState {
            hairpin: flag(data, IFLA_BRPORT_MODE),
            isolated: flag(data, IFLA_BRPORT_ISOLATED),
        });
    }
}
