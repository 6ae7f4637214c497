//! The CNI plugin `host-device`: moves a link of the host into a container, and back.

mod check;
mod conf;
mod device;
mod error;
mod mark;
mod moving;
mod origin;
mod sysfs;

use libcni::error::Failures;
use libcni::netns::Netns;
use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId, Interface};
use linuxnet::attach::{self, Sandbox};
use linuxnet::iface::{self, Options};
use linuxnet::netlink::Netlink;
use linuxnet::undo::Undo;

use crate::conf::Conf;
pub use crate::error::HostDeviceError;
use crate::mark::{Mark, Owner};
use crate::origin::{Origin, Sought};
use crate::sysfs::Sysfs;
pub use crate::sysfs::SysfsError;

/// The plugin `host-device`.
#[derive(Clone, Copy, Debug)]
pub struct HostDevice;

impl Plugin for HostDevice {
    type Error = HostDeviceError;

    fn name(&self) -> &'static str {
        "host-device"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, HostDeviceError> {
        let sysfs = Sysfs::of_host();
        let conf = Conf::load(call, &sysfs)?;
        let mut sandbox = Sandbox::open(attachment)?;
        let ipam = call.ipam()?;
        let mut undo = Undo::new();
        let mut result = if conf.is_dpdk {
            let mut result = attach::addresses(ipam.as_ref(), 0, &mut undo)?;
            result.interfaces = vec![without_link(attachment)];
            result
        } else {
            sandbox.require_free_name()?;
            let mut host = Netlink::open()?;
            let device = conf.selector.find(&mut host, &sysfs)?;
            let mark = Mark::of(&device, device.name.parse()?, Owner::new(&call.config.name, &attachment.id));
            let sought = Sought::of(call, attachment).known(&device);
            undo.push(format!("give device {} back", device.name), move || Ok(give_back(call, attachment, &sought)?));
            moving::take_in(&mut host, &device, &mark, &sandbox.netns, attachment.ifname())?;
            let gone = || HostDeviceError::Differs(format!("device {} was just moved and is gone", device.name));
            let link = sandbox.interface()?.ok_or_else(gone)?;
            undo.checkpoint()?;
            let mut result = attach::addresses(ipam.as_ref(), 0, &mut undo)?;
            undo.checkpoint()?;
            result.interfaces = vec![attach::in_container(&link, attachment)];
            iface::apply(&mut sandbox.netlink, &sandbox.netns, &link, &mut result, Options::default())?;
            result
        };
        if let Some(interface) = result.interfaces.first_mut() {
            interface.pci_id = conf.pci.unwrap_or_default();
        }
        result.dns = call.config.dns.clone().or(result.dns);
        undo.commit();
        Ok(result)
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), HostDeviceError> {
        let mut failures = Failures::new();
        let sought = Sought::of(call, attachment);
        // While the device is still in the container, so that DHCP can say goodbye through it.
        failures.note(withdraw(attachment, &sought));
        failures.note(call.forward_to_ipam(Delegate::del));
        failures.note(give_back(call, attachment, &sought));
        failures.into_result(HostDeviceError::Several)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), HostDeviceError> {
        check::check(call, attachment, &Sysfs::of_host())
    }

    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), HostDeviceError> {
        let mut failures = Failures::new();
        failures.note(settle_stale(call, valid));
        failures.note(call.forward_to_ipam(Delegate::gc));
        failures.into_result(HostDeviceError::Several)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), HostDeviceError> {
        let sysfs = Sysfs::of_host();
        if let Some(conf) = Conf::load_for_status(call, &sysfs)?
            && !conf.is_dpdk
        {
            let found = conf.selector.find(&mut Netlink::open()?, &sysfs);
            found.map_err(|e| HostDeviceError::Unavailable(Box::new(e)))?;
        }
        Ok(call.forward_to_ipam(Delegate::status)?)
    }
}

/// What the result says where there is no link in the container.
fn without_link(attachment: &Attachment) -> Interface {
    Interface {
        name: attachment.ifname().to_owned(),
        sandbox: attachment.sandbox().display().to_string(),
        ..Interface::default()
    }
}

/// Takes its addresses from the device, so that whoever gets them next does not meet this container.
fn withdraw(attachment: &Attachment, sought: &Sought) -> Result<(), HostDeviceError> {
    let Some(mut sandbox) = Sandbox::find(attachment)? else { return Ok(()) };
    match sought.in_container(&sandbox.netlink.links()?) {
        Some((link, _)) if link.name == attachment.ifname() => Ok(sandbox.withdraw().map(drop)?),
        // Under another name it loses them when it is moved; a link of this name is somebody else's.
        Some(_) | None => Ok(()),
    }
}

/// Brings the device back from wherever it is. One that is nowhere is gone for good: success.
fn give_back(call: &Call<'_>, attachment: &Attachment, sought: &Sought) -> Result<(), HostDeviceError> {
    if let Some(Sandbox { mut netlink, .. }) = Sandbox::find(attachment)?
        && let Some((link, origin)) = sought.in_container(&netlink.links()?)
    {
        return moving::bring_back(call, &mut netlink, link, &origin);
    }
    let mut host = Netlink::open()?;
    if let Some((link, origin)) = sought.on_host(&host.links()?) {
        return moving::settle(call, &mut host, link, &origin);
    }
    if let Some(mut container) = reported_sandbox(call, attachment)
        && let Some((link, origin)) = sought.marked(&container.links()?)
    {
        return moving::bring_back(call, &mut container, link, &origin);
    }
    Ok(())
}

/// The container's namespace by the path in `prevResult`, for a runtime that does not name it any more. Somebody else's
/// may be there by now: only a mark counts in it.
fn reported_sandbox(call: &Call<'_>, attachment: &Attachment) -> Option<Netlink> {
    let result = call.config.prev_result.as_ref()?;
    let (_, interface) = result.container_interface(attachment.ifname())?;
    let netns = Netns::open(&interface.sandbox).ok()?;
    Netlink::open_in(&netns).ok()
}

/// Settles the devices on the host that this network's attachments had, but for the valid ones.
fn settle_stale(call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), HostDeviceError> {
    let mut host = Netlink::open()?;
    let mut failures = Failures::new();
    for link in host.links()? {
        if let Some(mark) = Mark::on(&link).filter(|mark| mark.owner.is_stale(&call.config.name, valid)) {
            failures.note(moving::settle(call, &mut host, &link, &Origin::of_mark(mark)));
        }
    }
    failures.into_result(HostDeviceError::Several)
}
