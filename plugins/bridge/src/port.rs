//! The container's connection to the bridge: a veth pair whose host end is a port.

use libcni::names::IfName;
use libcni::netns::Netns;
use libcni::types::MacAddr;
use linuxnet::link::{self, Dev, Link, PortVlan, Veth};
use linuxnet::netlink::{Batch, Netlink};
use linuxnet::tag::Tag;

use crate::conf::{Conf, PortVlans};
use crate::error::BridgeError;

/// The kind of the link.
pub(crate) const KIND: &str = "veth";

/// A veth pair, as made.
pub(crate) struct Port {
    /// The end on the host: up, and a port of the bridge.
    pub(crate) host: Link,
    /// The index of the container's end, there.
    pub(crate) container_index: u32,
    /// Its address.
    pub(crate) container_mac: MacAddr,
}

impl Port {
    /// The container's end, seen by a socket in its namespace.
    pub(crate) fn container_end(&self, container: &mut Netlink) -> Result<Link, BridgeError> {
        let gone = || BridgeError::Differs(format!("the other end of {} is gone", self.host.name));
        container.find_link_by_index(self.container_index)?.ok_or_else(gone)
    }
}

/// Makes the pair. Both ends get their addresses here, since udev changes those that the kernel made.
pub(crate) fn create(
    host: &mut Netlink,
    bridge: Dev<'_>,
    conf: &Conf,
    tag: &Tag,
    ifname: &IfName,
    mac: Option<MacAddr>,
    netns: &Netns,
) -> Result<Port, BridgeError> {
    let container_mac = mac.map_or_else(link::random_mac, Ok)?;
    let wanted = Veth {
        mac: Some(container_mac),
        host_mac: Some(link::random_mac()?),
        bridge: Some(bridge),
        mtu: conf.mtu,
        ..Veth::new(ifname.as_str(), netns)
    };
    let host = host.create_owned_veth(wanted, tag)?;
    let container_index =
        host.peer_index.ok_or_else(|| BridgeError::Differs(format!("the other end of {} is gone", host.name)))?;
    Ok(Port { host, container_index, container_mac })
}

/// Sets what cannot be said when the link is made: whose it is, the port's flags, its VLANs.
pub(crate) fn configure(host: &mut Netlink, port: &Link, conf: &Conf, tag: &Tag) -> Result<(), BridgeError> {
    let dev = Dev::from(port);
    let mut changes = Batch::new();
    changes.push(link::set_alias(dev, &tag.to_string()));
    if conf.hairpin {
        changes.push(link::set_hairpin(dev, true));
    }
    if conf.isolated {
        changes.push(link::set_isolated(dev, true));
    }
    changes.send(host)?;
    if conf.vlans.is_filtered() { set_vlans(host, dev, &conf.vlans) } else { Ok(()) }
}

/// Makes the port a member of its VLANs, and of no other unless `preserveDefaultVlan`.
pub(crate) fn set_vlans(host: &mut Netlink, port: Dev<'_>, vlans: &PortVlans) -> Result<(), BridgeError> {
    let mut changes = Batch::new();
    if !vlans.preserve_default {
        changes.push(link::remove_vlans(port, link::ALL_VLANS));
    }
    for vlan in wanted_vlans(vlans) {
        changes.push(link::add_vlan(port, vlan));
    }
    Ok(changes.send(host)?)
}

/// The VLANs that the configuration asks for: the untagged one, then the trunk's.
pub(crate) fn wanted_vlans(vlans: &PortVlans) -> Vec<PortVlan> {
    let untagged = vlans.untagged();
    let tagged = vlans.trunk.iter().filter(|&&id| Some(id) != untagged).map(|&id| PortVlan::tagged(id));
    untagged.map(PortVlan::access).into_iter().chain(tagged).collect()
}
