//! ADD and DEL of plugins that make the container's interface and nothing else.

use libcni::error::Failures;
use libcni::plugin::{Attachment, Call};
use libcni::types::AddResult;

use crate::iface::{self, Options};
use crate::link::Link;
use crate::undo::{StepError, Undo};

use super::{AttachError, Sandbox, addresses, detach, in_container};

/// ADD of a plugin whose only link is the container's interface. `create` makes it, by its final name and in the
/// container's namespace, down. Then it gets what IPAM says, without IPAM the addresses and routes of `chained` (of
/// the plugin before), and comes up; with neither it just comes up. The result names this one interface, and the
/// configuration's `dns` over IPAM's.
///
/// # Errors
/// What failed; nothing is left then.
pub fn add<E: From<AttachError>>(
    call: &Call<'_>,
    attachment: &Attachment,
    options: Options,
    chained: AddResult,
    create: impl FnOnce(&mut Sandbox) -> Result<(), E>,
) -> Result<AddResult, E> {
    let mut sandbox = Sandbox::open(attachment)?;
    sandbox.require_free_name()?;
    let ipam = call.ipam().map_err(AttachError::from)?;
    let mut undo = Undo::new();
    create(&mut sandbox)?;
    undo.push(format!("remove interface {}", attachment.ifname()), || remove(attachment));
    let configure = || -> Result<AddResult, AttachError> {
        let link = made(&mut sandbox, attachment)?;
        undo.checkpoint()?;
        let mut result = match &ipam {
            Some(_) => addresses(ipam.as_ref(), 0, &mut undo)?,
            None => on_first_interface(chained),
        };
        result.interfaces = vec![in_container(&link, attachment)];
        undo.checkpoint()?;
        iface::apply(&mut sandbox.netlink, &sandbox.netns, &link, &mut result, options)?;
        result.dns = call.config.dns.clone().or(result.dns);
        undo.commit();
        Ok(result)
    };
    Ok(configure()?)
}

/// DEL of the same.
///
/// # Errors
/// What could not be removed, after trying all of it.
pub fn del(call: &Call<'_>, attachment: &Attachment) -> Result<(), AttachError> {
    let mut failures = Failures::new();
    detach(call, attachment, &mut failures, |_| Ok(()));
    failures.into_result(AttachError::Several)
}

fn made(sandbox: &mut Sandbox, attachment: &Attachment) -> Result<Link, AttachError> {
    let gone = || AttachError::Differs(format!("interface {} was just made and is gone", attachment.ifname()));
    sandbox.interface()?.ok_or_else(gone)
}

fn on_first_interface(mut result: AddResult) -> AddResult {
    for ip in &mut result.ips {
        ip.interface = Some(0);
    }
    result
}

/// By a socket of its own: what failed may be the first one.
fn remove(attachment: &Attachment) -> Result<(), StepError> {
    Ok(Sandbox::find(attachment)?.map_or(Ok(()), |mut sandbox| sandbox.remove_interface())?)
}
