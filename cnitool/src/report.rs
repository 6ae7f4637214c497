//! What people read when something fails.

use std::error::Error;
use std::io;

use libcni::ErrorCode;
use libcni::runtime::RuntimeError;

use crate::error::ToolError;
use crate::terminal::{Stream, Tone};

/// The lines of a message stand behind `Error: `, in columns.
const ERROR_INDENT: usize = 7;
/// The parts of an error stand behind their names, in columns.
const PART_INDENT: usize = 11;

/// The error on stderr: what failed with all causes, then its parts.
pub(crate) fn error(stderr: &mut Stream<'_>, fault: &ToolError) -> io::Result<()> {
    let screen = stderr.screen;
    let causes = libcni::error::causes(Some(fault as &dyn Error as &(dyn Error + 'static)));
    stderr.write(format_args!(
        "{} {}\n",
        screen.paint(Tone::Error, "Error:"),
        screen.wrapped(&causes, ERROR_INDENT)
    ))?;
    let mut part = |name: &str, text: &str| {
        let name = screen.paint(Tone::Dim, format!("{:<PART_INDENT$}", format!("  {name}:")));
        stderr.write(format_args!("{name}{}\n", screen.wrapped(text, PART_INDENT)))
    };
    if let ToolError::Runtime(fault) = fault
        && let Some(reply) = fault.reply()
    {
        if let Some(plugin_type) = plugin_type(fault) {
            part("plugin", plugin_type)?;
        }
        part("code", &format!("{}{}", reply.code, meaning(reply.code)))?;
        part("message", &reply.msg)?;
        if !reply.details.is_empty() {
            part("cause", &reply.details)?;
        }
    }
    fault.hint().map_or(Ok(()), |hint| part("hint", &hint))
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

/// `1 thing`, `2 things`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y'), noun.split_once(" of ")) {
        (1, ..) => format!("1 {noun}"),
        (_, Some(stem), _) => format!("{count} {stem}ies"),
        (_, None, Some((head, tail))) => format!("{count} {head}s of {tail}"),
        (_, None, None) if noun.ends_with("address") => format!("{count} {noun}es"),
        (_, None, None) => format!("{count} {noun}s"),
    }
}
