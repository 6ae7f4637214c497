//! The device's way into the container and back.
//!
//! In: one message moves it, renames it there, and sets its alias to its name on the host, as the reference does. Back:
//! it is renamed in the container and then moved, so that on the host it appears under its own name at once, and
//! whoever watches for new links there (udev, NetworkManager) sees no other.

use libcni::names::IfName;
use libcni::netns::Netns;
use libcni::plugin::Call;
use linuxnet::NetlinkError;
use linuxnet::link::{self, Dev, Link};
use linuxnet::netlink::{Netlink, Request};

use crate::error::HostDeviceError;
use crate::mark::Mark;
use crate::origin::Origin;

/// What a device is called on the host whose own name is taken there; the kernel puts a number for `%d`.
const ANOTHER_NAME: &str = "dev%d";

/// Moves `device` into `netns`, where it becomes `ifname`.
pub(crate) fn take_in(
    host: &mut Netlink,
    device: &Link,
    mark: &Mark,
    netns: &Netns,
    ifname: &str,
) -> Result<(), HostDeviceError> {
    let dev = Dev::from(device);
    remove_marks(host, device)?;
    match host.run(link::add_alt_name(dev, &mark.to_string())) {
        // Before Linux 5.5 there are no alternative names: the alias alone tells where the device belongs.
        Err(e) if e.is_unsupported_operation() => {}
        done => done?,
    }
    host.run(link::move_as(dev, netns, ifname, Some(&device.name))).map_err(HostDeviceError::Move)
}

/// Moves `link` from the container of the socket `container` to the host, gives it back its name, and what its mark says.
pub(crate) fn bring_back(
    call: &Call<'_>,
    container: &mut Netlink,
    link: &Link,
    origin: &Origin,
) -> Result<(), HostDeviceError> {
    let dev = Dev::from(link);
    let mut host = Netlink::open()?;
    let here = Netns::current().map_err(HostDeviceError::HostNetns)?;
    let name = free_name(&mut host, origin, None)?;
    container.run(link::set_down(dev))?;
    if let Some(name) = name {
        // If it is taken in the container, the move renames it.
        let _ = container.run(link::rename(dev, name.as_str()));
    }
    let (as_name, alias) = match name {
        Some(name) => (name.as_str(), ""),
        None => (ANOTHER_NAME, origin.alias()),
    };
    if let Err(e) = container.run(link::move_as(dev, &here, as_name, Some(alias))) {
        // As it was, for the next attempt. The first error is the one to tell.
        let _ = container.run(link::rename(dev, &link.name));
        let _ = container.run(link::set_up(dev));
        return Err(HostDeviceError::Move(e));
    }
    let is_it = |there: &Link| match (&origin.mark, name) {
        (Some(mark), _) => Mark::on(there).as_ref() == Some(mark),
        (None, Some(name)) => there.name == name.as_str(),
        (None, None) => there.mac == link.mac && there.alias.as_deref() == Some(origin.alias()),
    };
    match host.links()?.iter().find(|link| is_it(link)) {
        Some(link) => restore(call, &mut host, link, origin, name.is_some()),
        None => Ok(()),
    }
}

/// Gives a device that is on the host already its name and what its mark says: one whose ADD failed before it was moved,
/// or which the kernel has put back because the container's namespace ended.
pub(crate) fn settle(call: &Call<'_>, host: &mut Netlink, link: &Link, origin: &Origin) -> Result<(), HostDeviceError> {
    let dev = Dev::from(link);
    let Some(name) = free_name(host, origin, Some(link))? else {
        return restore(call, host, link, origin, false);
    };
    if link.name != name.as_str() {
        host.run(link::set_down(dev))?;
        host.run(link::rename(dev, name.as_str()))?;
        host.run(link::set_alias(dev, ""))?;
    }
    let renamed = Link { name: name.to_string(), is_up: link.is_up && link.name == name.as_str(), ..link.clone() };
    restore(call, host, &renamed, origin, true)
}

/// The device's own name, if no other link of the host than `present` has it.
fn free_name<'o>(
    host: &mut Netlink,
    origin: &'o Origin,
    present: Option<&Link>,
) -> Result<Option<&'o IfName>, HostDeviceError> {
    let Some(name) = &origin.name else { return Ok(None) };
    let holder = host.find_link(name.as_str())?;
    let is_free = holder.is_none_or(|holder| present.is_some_and(|present| present.index == holder.index));
    Ok(is_free.then_some(name))
}

/// Makes `link`, which is on the host, what it was. A setting that its driver refuses is told on stderr: the device is
/// back, and DEL has nothing more to do.
fn restore(
    call: &Call<'_>,
    host: &mut Netlink,
    link: &Link,
    origin: &Origin,
    has_its_name: bool,
) -> Result<(), HostDeviceError> {
    let dev = Dev::from(link);
    if let Some(mark) = &origin.mark {
        for change in changes(link, mark) {
            if let Err(e) = host.run(change) {
                call.warn(format_args!("device {}: {}", link.name, libcni::error::causes(Some(&e))));
            }
        }
    }
    if has_its_name {
        return Ok(remove_marks(host, link)?);
    }
    // Kept: with it, and the alias, the device is renamed by a later GC when the name is free.
    let wanted = origin.name.as_ref().map_or("unknown", IfName::as_str);
    call.warn(format_args!("the name {wanted} is taken on the host: the device is there as {}", link.name));
    Ok(host.run(link::set_alias(dev, origin.alias()))?)
}

/// What makes `link` as `mark` says.
fn changes(link: &Link, mark: &Mark) -> Vec<Request> {
    let dev = Dev::from(link);
    let changes = [
        mark.mac.filter(|&mac| link.mac != Some(mac)).map(|mac| link::set_mac(dev, mac)),
        (link.mtu != mark.mtu).then(|| link::set_mtu(dev, mark.mtu)),
        (link.is_promiscuous != mark.is_promiscuous).then(|| link::set_promiscuous(dev, mark.is_promiscuous)),
        (mark.is_up && !link.is_up).then(|| link::set_up(dev)),
    ];
    changes.into_iter().flatten().collect()
}

fn remove_marks(host: &mut Netlink, link: &Link) -> Result<(), NetlinkError> {
    let marks = link.alt_names.iter().filter(|name| name.parse::<Mark>().is_ok());
    marks.into_iter().try_for_each(|mark| host.run(link::remove_alt_name(Dev::from(link), mark)))
}
