//! add, check, del.

use libcni::runtime::Added;

use crate::args::{AddTarget, Target};
use crate::error::ToolError;
use crate::session::Session;

pub(crate) fn add(session: &mut Session<'_>, options: &AddTarget) -> Result<(), ToolError> {
    let added = attach(session, options)?;
    session.print(libcni::json::pretty(&added.wire))
}

/// `add` without its output.
pub(crate) fn attach(session: &mut Session<'_>, options: &AddTarget) -> Result<Added, ToolError> {
    let list = session.network(&options.target.network)?;
    let attachment = session.attachment(&options.target)?;
    session.runtime.roll_back = !options.keep_on_failure;
    Ok(session.runtime.add(&list, &attachment)?)
}

pub(crate) fn check(session: &mut Session<'_>, target: &Target) -> Result<(), ToolError> {
    let list = session.network(&target.network)?;
    let attachment = session.attachment(target)?;
    let attachment = session.with_cached_args(&list, attachment)?;
    Ok(session.runtime.check(&list, &attachment)?)
}

pub(crate) fn del(session: &mut Session<'_>, target: &Target) -> Result<(), ToolError> {
    let list = session.network(&target.network)?;
    let attachment = session.attachment(target)?;
    let attachment = session.with_cached_args(&list, attachment)?;
    let deleted = session.runtime.del(&list, &attachment)?;
    if let Some(fault) = deleted.bad_cache {
        session.warn(format_args!(
            "the cache was of no use, the plugins had to do without: {}",
            libcni::error::causes(Some(&fault))
        ));
    }
    Ok(())
}
