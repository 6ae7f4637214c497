//! What overlayd says of the overlay on this node.

use std::time::Duration;

use libcni::json;
use libcni::socket;
use serde_json::{Value, json};

use crate::args::{OverlayOptions, OverlayQuestion};
use crate::error::ToolError;
use crate::session::Session;

/// How long the daemon may take; it waits for its engine for a while itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// The daemon's exit hint for what is not as it should be; more is a question that it does not understand.
const NOT_WELL: u64 = 1;

/// Asks, and prints the answer.
pub(crate) fn ask(session: &mut Session<'_>, options: &OverlayOptions) -> Result<(), ToolError> {
    let answer = socket::ask(&options.socket, &question(options), PATIENCE)?;
    let object = answer.as_object();
    let member = |key: &str| object.and_then(|object| json::member(object, key));
    let output = member("output").and_then(Value::as_str);
    let (Some(exit), Some(output)) = (member("exit").and_then(Value::as_u64), output) else {
        return Err(ToolError::OverlaydAnswer(answer.to_string()));
    };
    if exit > NOT_WELL {
        return Err(ToolError::OverlaydAnswer(output.trim_end().to_owned()));
    }
    session.print(output)?;
    match (exit, options.question) {
        (NOT_WELL, OverlayQuestion::Status) => Err(ToolError::NodeNotReady),
        (NOT_WELL, _) => Err(ToolError::OverlayFault),
        _ => Ok(()),
    }
}

fn question(options: &OverlayOptions) -> Value {
    let format = if options.json { "json" } else { "text" };
    match options.question {
        OverlayQuestion::Status => json!({"ask": "status", "format": format}),
        OverlayQuestion::Peers => json!({"ask": "peers", "format": format}),
        OverlayQuestion::Diff => json!({"ask": "diff", "format": format}),
        OverlayQuestion::Explain { ip } => json!({"ask": "explain", "ip": ip.to_string(), "format": format}),
    }
}
