//! What the plugins that give a container an interface have in common, so that their crates hold only their own.
//!
//! * ADD: [`Sandbox::open`], [`Sandbox::require_free_name`], the plugin's link, [`addresses`] from IPAM, and
//!   [`iface::apply`](crate::iface::apply). IPAM comes after the link, since DHCP speaks through it.
//!   [`add`] is all of this, for plugins that make nothing but the container's interface; [`MasterConf`] is about the
//!   link that theirs is made on.
//! * DEL: [`detach`], or [`del`]. CHECK: [`Found::expect`], then [`Found::verify`].
//! * GC and STATUS of IPAM: [`Call::forward_to_ipam`].

mod check;
mod error;
mod interface;
mod master;
mod sandbox;

use libcni::error::{Failures, causes};
use libcni::json::FieldError;
use libcni::plugin::{Attachment, Call, Delegate};
use libcni::types::{AddResult, ConfigError, Interface, MacAddr};
use serde::Deserialize;

use crate::link::{Dev, Link};
use crate::sysctl;
use crate::undo::Undo;

pub use check::Found;
pub use error::AttachError;
pub use interface::{add, del};
pub use master::{Master, MasterConf, MasterError, Place};
pub use sandbox::Sandbox;

/// What IPAM gives, all of it for the interface at index `interface` of the result, with its undoing; an empty result
/// where the configuration has no IPAM.
///
/// # Errors
/// What IPAM failed with; or that it gave no address.
pub fn addresses<'c>(
    ipam: Option<&'c Delegate<'c>>,
    interface: usize,
    undo: &mut Undo<'c>,
) -> Result<AddResult, AttachError> {
    let Some(ipam) = ipam else { return Ok(AddResult::default()) };
    let mut result = ipam.add()?;
    undo.push("release the addresses", move || Ok(ipam.del()?));
    if result.ips.is_empty() {
        return Err(AttachError::NoAddresses(ipam.name().to_owned()));
    }
    for ip in &mut result.ips {
        ip.interface = Some(interface);
    }
    Ok(result)
}

/// DEL of the container's interface: its addresses are taken from it, then given back to IPAM, then the link is
/// removed. So whoever gets an address next does not meet this container, and DHCP can say goodbye through the link.
///
/// `elsewhere` removes what ADD made if the container's interface does not lead to it: it gets that interface, if
/// there is one, and comes before IPAM. Every part is tried; failures are noted.
pub fn detach<E: From<AttachError>>(
    call: &Call<'_>,
    attachment: &Attachment,
    failures: &mut Failures<E>,
    elsewhere: impl FnOnce(Option<&Link>) -> Result<(), E>,
) {
    let leave = || -> Result<_, AttachError> {
        let Some(mut sandbox) = Sandbox::find(attachment)? else { return Ok(None) };
        let link = sandbox.withdraw()?;
        Ok(link.map(|link| (sandbox, link)))
    };
    let (left, fault) = match leave() {
        Ok(left) => (left, None),
        Err(e) => (None, Some(e)),
    };
    failures.note(elsewhere(left.as_ref().map(|(_, link)| link)));
    failures.note(call.forward_to_ipam(Delegate::del).map_err(AttachError::from));
    if let Some((mut sandbox, link)) = left {
        failures.note(sandbox.netlink.remove_link(Dev::from(&link)).map_err(AttachError::from));
    }
    failures.note(fault.map_or(Ok(()), Err));
}

/// Prepares a link that was just made, by which the host will reach containers: it takes no routes from them, and its
/// IPv6 link-local address is there at once. By that one the kernel asks who has the destination of a packet that it
/// forwards; while it is tentative, the packet waits. Containers can be reached without either: failures are told.
pub fn prepare_gateway(call: &Call<'_>, link: &str) {
    let outcome =
        sysctl::ignore_router_advertisements(link).and_then(|()| sysctl::skip_duplicate_address_detection(link));
    if let Err(e) = outcome {
        call.warn(causes(Some(&e)));
    }
}

/// The container's interface, as the result names it.
#[must_use]
pub fn in_container(link: &Link, attachment: &Attachment) -> Interface {
    Interface { sandbox: attachment.sandbox().display().to_string(), ..on_host(link) }
}

/// A link of the host, as the result names it.
#[must_use]
pub fn on_host(link: &Link) -> Interface {
    let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    Interface { name: link.name.clone(), mac, mtu: Some(link.mtu), ..Interface::default() }
}

/// Where a MAC address may stand besides `CNI_ARGS` and a plugin's own `mac`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MacSources {
    /// What people ask for on the command line of a runtime.
    args: MacArgs,
    /// What the runtime says.
    runtime_config: WithMac,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct MacArgs {
    /// The arguments of CONVENTIONS.md.
    cni: WithMac,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct WithMac {
    /// The address asked for the container's interface (in `runtimeConfig`: capability `mac`).
    #[cfg_attr(test, schemars(schema_with = "schemas::mac"))]
    mac: String,
}

/// The MAC address asked for the container's interface: `configured` (the plugin's own `mac`, empty for none), over it
/// `MAC` of `CNI_ARGS`, over it `args.cni.mac`, over it `runtimeConfig.mac` (capability `mac`).
///
/// # Errors
/// If `CNI_ARGS` is wrong or has other keys, or the address is none that an interface can have.
pub fn requested_mac(
    call: &Call<'_>,
    attachment: &Attachment,
    configured: &str,
) -> Result<Option<MacAddr>, AttachError> {
    let args = attachment.args()?;
    args.require_known(&["MAC"])?;
    let sources: MacSources = call.config.decode()?;
    let candidates = [
        ("runtimeConfig.mac", sources.runtime_config.mac.as_str()),
        ("args.cni.mac", sources.args.cni.mac.as_str()),
        ("MAC in CNI_ARGS", args.value("MAC").unwrap_or_default()),
        ("mac", configured),
    ];
    let Some((path, text)) = candidates.into_iter().find(|(_, text)| !text.is_empty()) else { return Ok(None) };
    Ok(Some(interface_mac(path, text)?))
}

/// The address that `text` at `path` of the configuration is.
///
/// # Errors
/// If it is none, or none that an interface can have.
pub fn interface_mac(path: &str, text: &str) -> Result<MacAddr, ConfigError> {
    let expected = "a unicast MAC address such as 0a:58:0a:01:02:03";
    match text.parse::<MacAddr>() {
        Ok(mac) if !mac.is_multicast() && mac != MacAddr::ZERO => Ok(mac),
        _ => Err(ConfigError::Field(FieldError::new(path, format_args!("{text:?}"), expected))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_part::<MacSources>("mac").assert_is_current();
    }
}
