//! The gateway of a VLAN (`vlan` with `isGateway`): an interface `<bridge>.<vlan>` of the host, connected to the bridge
//! by a port in that VLAN. The VLAN's attachments share it: the first one makes it, the last one removes it.

use std::collections::HashMap;

use ipnet::IpNet;
use libcni::netns::Netns;
use libcni::plugin::Call;
use libcni::store::Lock;
use linuxnet::attach;
use linuxnet::link::{self, Dev, Link, LinkError, PortVlan, Veth};
use linuxnet::netlink::{Batch, Netlink};

use crate::conf::{Conf, PortVlans};
use crate::error::BridgeError;
use crate::{gateway, port};

/// The interface's name, as the reference's: `cni0.100`.
pub(crate) fn link_name(bridge: &str, vlan: u16) -> String {
    format!("{bridge}.{vlan}")
}

/// Held from before an attachment's port joins its VLAN until its gateway is there, and by whoever removes a gateway:
/// so nobody removes one that somebody is about to use. `None` where no VLAN has a gateway.
pub(crate) fn lock(conf: &Conf) -> Result<Option<Lock>, BridgeError> {
    if !conf.is_gateway || conf.vlans.access.is_none() {
        return Ok(None);
    }
    Ok(Some(Netns::current()?.lock()?))
}

/// Makes the interface if it is missing, and gives it the addresses of `gateways`.
pub(crate) fn ensure(
    call: &Call<'_>,
    host: &mut Netlink,
    bridge: &Link,
    vlan: u16,
    gateways: &[IpNet],
    conf: &Conf,
) -> Result<Link, BridgeError> {
    let name = link_name(&bridge.name, vlan);
    let link = match host.find_link(&name)? {
        Some(link) => link,
        None => create(call, host, bridge, vlan, &name, conf)?,
    };
    gateway::ensure(host, &link, gateways, conf.force_address)?;
    Ok(link)
}

fn create(
    call: &Call<'_>,
    host: &mut Netlink,
    bridge: &Link,
    vlan: u16,
    name: &str,
    conf: &Conf,
) -> Result<Link, BridgeError> {
    let here = Netns::current()?;
    let wanted = Veth {
        mac: Some(link::random_mac()?),
        host_mac: Some(link::random_mac()?),
        bridge: Some(Dev::from(bridge)),
        mtu: conf.mtu,
        ..Veth::new(name, &here)
    };
    let bridge_end = host.create_veth(&wanted)?;
    attach::prepare_gateway(call, name);
    let outcome = connect(host, &bridge_end, vlan, name);
    if outcome.is_err() {
        // The first error is the one to tell.
        let _ = host.remove_link(Dev::from(&bridge_end));
    }
    outcome
}

/// Puts the bridge's end into the VLAN and sets the host's end up.
fn connect(host: &mut Netlink, bridge_end: &Link, vlan: u16, name: &str) -> Result<Link, BridgeError> {
    port::set_vlans(host, Dev::from(bridge_end), &PortVlans { access: Some(vlan), ..PortVlans::default() })?;
    let link = host.find_link(name)?.ok_or_else(|| LinkError::HostNameTaken { name: name.to_owned() })?;
    let mut changes = Batch::new();
    changes.push(link::set_up(Dev::from(&link)));
    changes.send(host)?;
    Ok(link)
}

/// Removes the interface of the configuration's VLAN if no other port of the bridge is in it any more.
pub(crate) fn remove_unused(conf: &Conf) -> Result<(), BridgeError> {
    let Some(vlan) = conf.vlans.access.filter(|_| conf.is_gateway) else { return Ok(()) };
    let _lock = lock(conf)?;
    let mut host = Netlink::open()?;
    let Some(bridge) = host.find_link(conf.bridge.as_str())? else { return Ok(()) };
    let Some(gateway) = host.find_link(&link_name(&bridge.name, vlan))?.filter(|link| link.kind == "veth") else {
        return Ok(());
    };
    let is_used = members(&mut host, &bridge)?
        .into_iter()
        .any(|(port, vlans)| Some(port) != gateway.peer_index && vlans.iter().any(|member| member.vid == vlan));
    if is_used { Ok(()) } else { Ok(host.remove_link(Dev::from(&gateway))?) }
}

/// The VLANs of the bridge's ports, by index.
fn members(host: &mut Netlink, bridge: &Link) -> Result<HashMap<u32, Vec<PortVlan>>, BridgeError> {
    let ports = host.links()?.into_iter().filter(|link| link.master == Some(bridge.index));
    let mut members = HashMap::new();
    for port in ports {
        members.insert(port.index, host.port_vlans(Dev::from(&port))?);
    }
    Ok(members)
}
