//! CHECK: whether what ADD made is as it was made. Only what `bridge` owns is looked at: other plugins of the chain may
//! have added addresses and routes, somebody may be capturing packets, udev may have renamed the host's end.

use libcni::names::IfName;
use libcni::plugin::{Attachment, Call};
use libcni::types::AddResult;
use linuxnet::attach::Found;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::nft::Nfnetlink;

use crate::conf::Conf;
use crate::error::BridgeError;
use crate::{gateway, port, spoof, vlan_gateway};

/// Compares the kernel with `prevResult` and the configuration.
pub(crate) fn check(call: &Call<'_>, attachment: &Attachment) -> Result<(), BridgeError> {
    let conf = Conf::load(call)?;
    let mut found = Found::expect(call, attachment, port::KIND)?;
    let mut host = Netlink::open()?;
    let bridge = find_bridge(&mut host, &conf)?;
    let port = find_port(&mut host, &found.link, &bridge)?;
    check_port(&mut host, &port, &bridge, &conf)?;
    if !conf.disable_container_interface {
        found.verify()?;
    }
    check_gateway(&mut host, &bridge, found.result, &conf)?;
    check_rules(call, attachment, &conf, found.result, &found.link, &port)
}

/// Masquerade and MAC spoof check, of whichever backend, ours or the Go plugin's.
fn check_rules(
    call: &Call<'_>,
    attachment: &Attachment,
    conf: &Conf,
    result: &AddResult,
    link: &Link,
    port: &Link,
) -> Result<(), BridgeError> {
    conf.masquerade.check(call, attachment, result)?;
    if conf.mac_spoof_check
        && let (Ok(name), Some(mac)) = (port.name.parse::<IfName>(), link.mac)
    {
        let is_set_up = spoof::is_set_up(&mut Nfnetlink::open()?, &attachment.id, &name, mac);
        if !is_set_up.map_err(|e| BridgeError::spoof("verify", e))? {
            return Err(differs(format!("the MAC spoof check of bridge port {name} is missing")));
        }
    }
    Ok(())
}

fn find_bridge(host: &mut Netlink, conf: &Conf) -> Result<Link, BridgeError> {
    let name = conf.bridge.as_str();
    let bridge = host.find_link(name)?.ok_or_else(|| differs(format!("bridge {name} is gone")))?;
    if bridge.bridge.is_none() {
        return Err(differs(format!("{name} is no bridge but {:?}", bridge.kind)));
    }
    if conf.promiscuous && !bridge.is_promiscuous {
        return Err(differs(format!("bridge {name} is not in promiscuous mode")));
    }
    if !bridge.is_up {
        return Err(differs(format!("bridge {name} is down")));
    }
    Ok(bridge)
}

/// The other end of the container's interface, which must be a port of the bridge.
fn find_port(host: &mut Netlink, container: &Link, bridge: &Link) -> Result<Link, BridgeError> {
    let port = container.peer_index.map(|index| host.find_link_by_index(index)).transpose()?.flatten();
    let port = port.ok_or_else(|| differs(format!("the host's end of {} is gone", container.name)))?;
    if port.master != Some(bridge.index) {
        return Err(differs(format!("{} is no port of bridge {}", port.name, bridge.name)));
    }
    Ok(port)
}

fn check_port(host: &mut Netlink, port: &Link, bridge: &Link, conf: &Conf) -> Result<(), BridgeError> {
    let wrong = |what: &str| Err(differs(format!("{what} of bridge port {} is off", port.name)));
    if !port.is_up {
        return Err(differs(format!("bridge port {} is down", port.name)));
    }
    if conf.hairpin && port.port.is_some_and(|state| !state.hairpin) {
        return wrong("hairpin mode");
    }
    if conf.isolated && port.port.is_some_and(|state| !state.isolated) {
        return wrong("isolation");
    }
    if !conf.vlans.is_filtered() {
        return Ok(());
    }
    if bridge.bridge.is_some_and(|state| !state.vlan_filtering) {
        return Err(differs(format!("bridge {} does not filter VLANs", bridge.name)));
    }
    let members = host.port_vlans(Dev::from(port))?;
    match port::wanted_vlans(&conf.vlans).into_iter().find(|vlan| !members.contains(vlan)) {
        Some(missing) => Err(differs(format!("bridge port {} is no member of VLAN {}", port.name, missing.vid))),
        None => Ok(()),
    }
}

fn check_gateway(host: &mut Netlink, bridge: &Link, result: &AddResult, conf: &Conf) -> Result<(), BridgeError> {
    if !conf.is_gateway {
        return Ok(());
    }
    let link = match conf.vlans.access {
        None => bridge.clone(),
        Some(vlan) => {
            let name = vlan_gateway::link_name(&bridge.name, vlan);
            host.find_link(&name)?.ok_or_else(|| differs(format!("gateway interface {name} is gone")))?
        }
    };
    match gateway::missing(host, &link, &gateway::addresses(result))?.first() {
        Some(net) => Err(differs(format!("gateway address {net} is not on {}", link.name))),
        None => Ok(()),
    }
}

fn differs(what: String) -> BridgeError {
    BridgeError::Differs(what)
}
