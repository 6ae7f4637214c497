//! gc, status.

use libcni::netns::Netns;
use libcni::runtime::{Attachments, NetworkList};
use libcni::types::AttachmentId;

use crate::args::GcOptions;
use crate::error::ToolError;
use crate::session::Session;

pub(crate) fn gc(session: &mut Session<'_>, options: &GcOptions) -> Result<(), ToolError> {
    let list = session.network(&options.target.network)?;
    let valid = if options.all { Vec::new() } else { alive(&list, &session.runtime.cache.attachments()?)? };
    let collected = session.runtime.gc(&list, &valid)?;
    for skipped in collected.skipped {
        session.warn(skipped);
    }
    Ok(())
}

/// The attachments of `list` whose namespace is there.
fn alive(list: &NetworkList, cached: &Attachments) -> Result<Vec<AttachmentId>, ToolError> {
    // The entry of a living container may be in a file that cannot be read. The plugins would be told that it is
    // not valid, and cut it off.
    let unknown = cached.skipped.iter().find(|skipped| {
        let name = skipped.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(list.name.as_str()).is_some_and(|rest| rest.starts_with('-'))
    });
    if let Some(unknown) = unknown {
        return Err(ToolError::UnknownAttachment {
            network: list.name.to_string(),
            path: unknown.path.clone(),
            reason: unknown.reason.clone(),
        });
    }
    let of_list = cached.attachments.iter().filter(|entry| entry.network == list.name);
    let alive = of_list.filter(|entry| entry.attachment.netns.as_deref().is_some_and(is_alive));
    Ok(alive.map(|entry| entry.attachment.id.clone()).collect())
}

/// Whether there is a network namespace at `netns`, as far as can be known: one that may not be opened counts as alive.
pub(crate) fn is_alive(netns: &std::path::Path) -> bool {
    match Netns::open(netns) {
        Ok(_) => true,
        Err(libcni::netns::NetnsError::NotFound(_) | libcni::netns::NetnsError::NotANamespace { .. }) => false,
        Err(_) => true,
    }
}

pub(crate) fn status(session: &mut Session<'_>, network: &str) -> Result<(), ToolError> {
    let list = session.network(network)?;
    Ok(session.runtime.status(&list)?)
}
