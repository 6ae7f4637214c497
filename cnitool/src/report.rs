//! What people read: errors and tables.

use std::error::Error;
use std::io::{self, Write};

use libcni::ErrorCode;
use libcni::runtime::RuntimeError;

use crate::error::ToolError;

/// The error on stderr: one line that says it all, then its parts.
pub(crate) fn error(stderr: &mut dyn Write, fault: &ToolError) -> io::Result<()> {
    writeln!(stderr, "Error: {}", libcni::error::causes(Some(fault as &dyn Error as &(dyn Error + 'static))))?;
    if let ToolError::Runtime(fault) = fault
        && let Some(reply) = fault.reply()
    {
        if let Some(plugin_type) = plugin_type(fault) {
            writeln!(stderr, "  plugin:  {plugin_type}")?;
        }
        writeln!(stderr, "  code:    {}{}", reply.code, meaning(reply.code))?;
        writeln!(stderr, "  message: {}", reply.msg)?;
        if !reply.details.is_empty() {
            writeln!(stderr, "  cause:   {}", reply.details)?;
        }
    }
    match fault.hint() {
        Some(hint) => writeln!(stderr, "  hint:    {hint}"),
        None => Ok(()),
    }
}

/// The plugin whose reply [`RuntimeError::reply`] gives.
fn plugin_type(fault: &RuntimeError) -> Option<&str> {
    match fault {
        RuntimeError::Plugin { plugin_type, .. } => Some(plugin_type),
        RuntimeError::Stale { source, .. } | RuntimeError::RollBack { source, .. } => plugin_type(source),
        RuntimeError::Several(failures) => failures.iter().find(|f| f.reply().is_some()).and_then(plugin_type),
        RuntimeError::NotInVersion { .. }
        | RuntimeError::Incompatible { .. }
        | RuntimeError::Cache { .. }
        | RuntimeError::Interrupted => None,
    }
}

fn meaning(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::INCOMPATIBLE_VERSION => " (incompatible CNI version)",
        ErrorCode::UNSUPPORTED_FIELD => " (unsupported field in the network configuration)",
        ErrorCode::UNKNOWN_CONTAINER => " (container unknown or gone)",
        ErrorCode::INVALID_ENVIRONMENT => " (invalid environment variable)",
        ErrorCode::IO => " (input or output failed)",
        ErrorCode::DECODING => " (cannot be decoded)",
        ErrorCode::INVALID_CONFIG => " (invalid network configuration)",
        ErrorCode::INVALID_NETNS => " (invalid network namespace)",
        ErrorCode::TRY_AGAIN_LATER => " (try again later)",
        ErrorCode::PLUGIN_NOT_AVAILABLE => " (plugin not available)",
        ErrorCode::LIMITED_CONNECTIVITY => " (plugin not available, containers may have limited connectivity)",
        ErrorCode::INTERNAL => " (internal error of the plugin)",
        _ => "",
    }
}

/// Rows under a head, in columns as wide as they need to be.
pub(crate) fn table<const N: usize>(out: &mut dyn Write, head: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(out, &widths, &head.map(str::to_owned))?;
    rows.iter().try_for_each(|row| line(out, &widths, row))
}

fn line(out: &mut dyn Write, widths: &[usize], cells: &[String]) -> io::Result<()> {
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    writeln!(out, "{}", cells.join("  ").trim_end())
}
