//! status, and whether a namespace is there.

use libcni::netns::Netns;

use crate::error::ToolError;
use crate::session::Session;

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
