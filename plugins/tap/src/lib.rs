//! The CNI plugin `tap`: a tap device in the container, whose other end a program opens: a virtual machine's network
//! card.

mod conf;
mod error;
mod selinux;

use std::ffi::OsString;
use std::process::ExitCode;

use libcni::error::Failures;
use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId, MacAddr};
use linuxnet::attach::{self, AttachError, Found, Sandbox};
use linuxnet::iface::Options;
use linuxnet::link::{self, Dev, Link, LinkError, Tap};
use linuxnet::netlink::{Batch, Netlink};
use linuxnet::tag::Tag;

use crate::conf::Conf;
pub use crate::error::TapPluginError;

/// The kernel's kind of tap devices.
const KIND: &str = "tun";

/// The plugin `tap`.
#[derive(Clone, Copy, Debug)]
pub struct TapPlugin;

impl Plugin for TapPlugin {
    type Error = TapPluginError;

    fn name(&self) -> &'static str {
        "tap"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, TapPluginError> {
        let conf = Conf::load(call)?;
        let mac = attach::requested_mac(call, attachment, &conf.mac)?;
        let tag = Tag::new(&call.config.name, &attachment.id);
        attach::add(call, attachment, Options::default(), AddResult::default(), |sandbox| {
            create(sandbox, attachment.ifname(), &conf, mac, &tag)
        })
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), TapPluginError> {
        let mut failures = Failures::new();
        attach::detach(call, attachment, &mut failures, |found| match found {
            Some(link) if link.kind == KIND => Ok(()),
            // It has been renamed.
            _ => remove_by_tag(attachment, &Tag::new(&call.config.name, &attachment.id)),
        });
        failures.into_result(TapPluginError::Several)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), TapPluginError> {
        let conf = Conf::load(call)?;
        let mut found = Found::expect(call, attachment, KIND)?;
        found.verify()?;
        Ok(check(&mut found, &conf)?)
    }

    /// The kernel removes the device with the container's namespace: what may be left is IPAM's.
    fn gc(&self, call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), TapPluginError> {
        Ok(call.forward_to_ipam(Delegate::gc)?)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), TapPluginError> {
        let conf = Conf::load(call)?;
        let unavailable = |e: TapPluginError| TapPluginError::Unavailable(Box::new(e));
        link::require_tap_devices().map_err(|e| unavailable(e.into()))?;
        if let Some(context) = &conf.selinux_context {
            selinux::require(context).map_err(unavailable)?;
        }
        Ok(call.forward_to_ipam(Delegate::status)?)
    }

    /// Makes a device under the SELinux label of this process: `create-device NAME QUEUES OWNER GROUP`.
    fn command(&self, arguments: &[OsString]) -> Option<ExitCode> {
        selinux::run(arguments)
    }
}

/// Makes the device in the container, down. After a failure nothing of it is left.
fn create(
    sandbox: &mut Sandbox,
    ifname: &str,
    conf: &Conf,
    mac: Option<MacAddr>,
    tag: &Tag,
) -> Result<(), TapPluginError> {
    let tap = Tap { name: ifname, multi_queue: conf.multi_queue, owner: conf.owner, group: conf.group };
    let bridge = conf.bridge.as_ref().map(|name| find_bridge(&mut sandbox.netlink, name.as_str())).transpose()?;
    if let Some(context) = &conf.selinux_context {
        selinux::create(&tap, &sandbox.netns, context)?;
        return configure(sandbox, conf, mac, bridge.as_ref(), tag).inspect_err(|_told| {
            // The first failure is the one to tell.
            let _ = sandbox.remove_interface();
        });
    }
    // Until it is told to stay, the device ends with its handle: also if this process is killed.
    let open = sandbox.netns.within(|| tap.create())??;
    configure(sandbox, conf, mac, bridge.as_ref(), tag)?;
    Ok(open.persist()?)
}

/// Sets what cannot be said when the device is made.
fn configure(
    sandbox: &mut Sandbox,
    conf: &Conf,
    mac: Option<MacAddr>,
    bridge: Option<&Link>,
    tag: &Tag,
) -> Result<(), TapPluginError> {
    let gone = || AttachError::Differs("the tap device was just made and is gone".to_owned());
    let link = sandbox.interface()?.ok_or_else(gone)?;
    let dev = Dev::from(&link);
    let mut changes = Batch::new();
    changes.push(link::set_alias(dev, &tag.to_string()));
    changes.extend(mac.map(|mac| link::set_mac(dev, mac)));
    changes.extend(conf.mtu.map(|mtu| link::set_mtu(dev, mtu)));
    changes.extend(bridge.map(|bridge| link::set_master(dev, Dev::from(bridge))));
    Ok(changes.send(&mut sandbox.netlink)?)
}

/// The container's bridge of this name.
fn find_bridge(container: &mut Netlink, name: &str) -> Result<Link, TapPluginError> {
    let link = container.find_link(name)?.ok_or_else(|| TapPluginError::NoBridge(name.to_owned()))?;
    if link.bridge.is_none() {
        return Err(LinkError::NotABridge { name: link.name, kind: link.kind }.into());
    }
    Ok(link)
}

/// What the device itself is set to.
fn check(found: &mut Found<'_>, conf: &Conf) -> Result<(), AttachError> {
    let differs = |what: String| Err(AttachError::Differs(format!("interface {} {what}", found.link.name)));
    let Some(tap) = found.link.tap else { return differs("is no tap device".to_owned()) };
    if !tap.is_persistent {
        return differs("does not stay when its program ends".to_owned());
    }
    if tap.multi_queue != conf.multi_queue {
        return differs(format!("has {} queue", if tap.multi_queue { "more than one" } else { "only one" }));
    }
    if let Some(mtu) = conf.mtu {
        found.expect_same("MTU", Some(found.link.mtu), mtu)?;
    }
    if let Some(owner) = conf.owner {
        found.expect_same("owner", tap.owner, owner)?;
    }
    if let Some(group) = conf.group {
        found.expect_same("group", tap.group, group)?;
    }
    let Some(name) = &conf.bridge else { return Ok(()) };
    let bridge = found.sandbox.netlink.find_link(name.as_str())?;
    match bridge {
        Some(bridge) if found.link.master == Some(bridge.index) => Ok(()),
        _ => Err(AttachError::Differs(format!("interface {} is no port of bridge {name}", found.link.name))),
    }
}

/// Removes the attachment's device, whatever it is called now.
fn remove_by_tag(attachment: &Attachment, tag: &Tag) -> Result<(), TapPluginError> {
    let Some(mut sandbox) = Sandbox::find(attachment)? else { return Ok(()) };
    let is_ours = |link: &&Link| link.kind == KIND && link.owner().is_some_and(|owner| owner.is_same_attachment(tag));
    match sandbox.netlink.links()?.iter().find(is_ours) {
        Some(link) => Ok(sandbox.netlink.remove_link(Dev::from(link))?),
        None => Ok(()),
    }
}
