//! The CNI plugin `bridge`: connects containers to each other and to the host through a Linux bridge.

mod check;
mod conf;
mod device;
mod error;
mod gateway;
mod port;
mod spoof;
mod vlan_gateway;

use ipnet::IpNet;
use libcni::error::{CniError, Failures};
use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::attach::{self, Sandbox};
use linuxnet::iface;
use linuxnet::link::Dev;
use linuxnet::masq::Masquerade;
use linuxnet::netlink::Netlink;
use linuxnet::nft::Nfnetlink;
use linuxnet::sysctl;
use linuxnet::tag::{Tag, Valid};
use linuxnet::undo::Undo;

use crate::conf::Conf;
pub use crate::error::BridgeError;
use crate::port::Port;

/// Index of the container's end in the result's `interfaces`: bridge, host's end, container's end.
const CONTAINER_INTERFACE: usize = 2;

/// The plugin `bridge`.
#[derive(Clone, Copy, Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    type Error = BridgeError;

    fn name(&self) -> &'static str {
        "bridge"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, BridgeError> {
        let conf = Conf::load(call)?;
        conf.require_consistent(call)?;
        let mac = attach::requested_mac(call, attachment, "")?;
        let mut sandbox = Sandbox::open(attachment)?;
        sandbox.require_free_name()?;
        let tag = Tag::new(&call.config.name, &attachment.id);

        let ipam = call.ipam()?;
        let mut undo = Undo::new();
        let mut host = Netlink::open()?;
        let bridge = device::ensure(call, &mut host, &conf)?;
        undo.checkpoint()?;
        // Before the port's own, so that it is done after: the port is a member of the VLAN.
        undo.push("remove the gateway of the VLAN", || Ok(vlan_gateway::remove_unused(&conf)?));
        let port =
            port::create(&mut host, Dev::from(&bridge), &conf, &tag, &attachment.id.ifname, mac, &sandbox.netns)?;
        let host_end = port.host.clone();
        undo.push(format!("remove link {}", host_end.name), move || {
            Ok(Netlink::open()?.remove_link(Dev::from(&host_end))?)
        });
        let vlan_lock = vlan_gateway::lock(&conf)?;
        port::configure(&mut host, &port.host, &conf, &tag)?;
        if conf.mac_spoof_check {
            set_up_spoof_check(attachment, &tag, &port, &mut undo)?;
        }
        undo.checkpoint()?;

        let mut result = attach::addresses(ipam.as_ref(), CONTAINER_INTERFACE, &mut undo)?;
        gateway::complete(&mut result, &conf);
        let link = port.container_end(&mut sandbox.netlink)?;
        result.interfaces =
            vec![attach::on_host(&bridge), attach::on_host(&port.host), attach::in_container(&link, attachment)];
        undo.checkpoint()?;
        if !conf.disable_container_interface {
            iface::apply(&mut sandbox.netlink, &sandbox.netns, &link, &mut result, conf.apply_options())?;
        }
        if conf.is_gateway {
            let gateways = gateway::addresses(&result);
            match conf.vlans.access {
                None => gateway::ensure(&mut host, &bridge, &gateways, conf.force_address)?,
                Some(vlan) => {
                    let link = vlan_gateway::ensure(call, &mut host, &bridge, vlan, &gateways, &conf)?;
                    result.interfaces.push(attach::on_host(&link));
                }
            }
            sysctl::enable_forwarding(gateways.iter().map(IpNet::addr))?;
        }
        drop(vlan_lock);
        undo.checkpoint()?;
        conf.masquerade.add(call, attachment, &result, &mut undo)?;
        result.dns = call.config.dns.clone().or(result.dns);
        undo.commit();
        Ok(result)
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), BridgeError> {
        let tag = Tag::new(&call.config.name, &attachment.id);
        let mut failures = Failures::new();
        // Rules first, and their socket open until the end: its closing waits for the same grace period as the
        // removal of the link.
        let rules = remove_rules(call, attachment, &tag, &mut failures);
        attach::detach(call, attachment, &mut failures, |found| match found {
            Some(link) if link.kind == port::KIND => Ok(()),
            // The container's end is gone, has been renamed, or was replaced by something else.
            _ => Ok(Netlink::open()?.remove_owned_veth(&tag)?),
        });
        failures.note(remove_unused_gateway(call));
        drop(rules);
        failures.into_result(BridgeError::Several)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), BridgeError> {
        check::check(call, attachment)
    }

    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), BridgeError> {
        let valid = Valid::new(&call.config.name, valid);
        let mut failures = Failures::new();
        if let Some(mut nft) = open_nftables(&mut failures) {
            failures.note(Masquerade::new(&mut nft).gc(&valid));
            failures.note(spoof::collect_garbage(&mut nft, &valid).map_err(|e| BridgeError::spoof("remove", e)));
        }
        // DHCP releases leases through the interfaces.
        failures.note(call.forward_to_ipam(Delegate::gc));
        failures.note(Netlink::open().and_then(|mut host| host.remove_stale(port::KIND, &valid)));
        failures.note(remove_unused_gateway(call));
        failures.into_result(BridgeError::Several)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), BridgeError> {
        let conf = Conf::load(call)?;
        conf.require_consistent(call)?;
        conf.masquerade.status()?;
        Ok(call.forward_to_ipam(Delegate::status)?)
    }
}

/// Removes the VLAN's gateway interface if nobody uses it any more. A configuration that cannot be read (any more) must
/// not keep DEL from its end: it is told on stderr.
fn remove_unused_gateway(call: &Call<'_>) -> Result<(), BridgeError> {
    match Conf::load(call) {
        Ok(conf) => vlan_gateway::remove_unused(&conf),
        Err(e) => {
            call.warn(e.reply());
            Ok(())
        }
    }
}

fn set_up_spoof_check<'a>(
    attachment: &Attachment,
    tag: &Tag,
    port: &Port,
    undo: &mut Undo<'a>,
) -> Result<(), BridgeError> {
    let fault = |e| BridgeError::spoof("set up", e);
    let name = port.host.name.parse().map_err(|e| BridgeError::Differs(format!("{}: {e}", port.host.name)))?;
    let (id, tag_of_undo) = (attachment.id.clone(), tag.clone());
    undo.push("remove the MAC spoof check", move || Ok(spoof::remove(&mut Nfnetlink::open()?, &tag_of_undo, &id)?));
    spoof::set_up(&mut Nfnetlink::open().map_err(fault)?, tag, &name, port.container_mac).map_err(fault)
}

/// Removes masquerade and spoof check, by tag: of any backend, and of the Go plugins. Gives the socket that was used.
fn remove_rules(
    call: &Call<'_>,
    attachment: &Attachment,
    tag: &Tag,
    failures: &mut Failures<BridgeError>,
) -> Option<Nfnetlink> {
    let mut nft = open_nftables(failures)?;
    failures.note(Masquerade::new(&mut nft).remove(call, attachment));
    failures.note(spoof::remove(&mut nft, tag, &attachment.id).map_err(|e| BridgeError::spoof("remove", e)));
    Some(nft)
}

/// A socket to remove rules by. `None`: there are none, or the failure is noted.
fn open_nftables(failures: &mut Failures<BridgeError>) -> Option<Nfnetlink> {
    let opened = Nfnetlink::open_if_supported();
    opened.unwrap_or_else(|e| {
        failures.note::<()>(Err(e));
        None
    })
}
