//! Asking overlayd how the overlay is on this node.

use std::path::Path;
use std::time::Duration;

use libcni::json::FieldError;
use libcni::socket::{self, AskError};
use serde::Deserialize;
use serde_json::json;

use crate::error::Error;

/// How long overlayd may take to answer: kubelet asks for STATUS every five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Answer {
    exit: u8,
    #[serde(default)]
    output: String,
}

/// Asks overlayd whether this node is ready. Without a socket it has never run here, and another daemon may be what runs
/// the overlay: then only the subnet file tells.
///
/// # Errors
/// With overlayd's reasons; or if it has ended, or does not answer.
pub(crate) fn require_ready(socket: &Path) -> Result<(), Error> {
    let answer = match socket::ask(socket, &json!({"ask": "ready"}), PATIENCE) {
        Err(AskError::Absent(_)) => return Ok(()),
        answer => answer.map_err(Error::OverlaydSilent)?,
    };
    let not_understood = |fault: FieldError| Error::OverlayNotReady(format!("overlayd answers with {fault}"));
    let Answer { exit, output } = libcni::json::decode(&answer).map_err(not_understood)?;
    if exit == 0 { Ok(()) } else { Err(Error::OverlayNotReady(output.trim_end().to_owned())) }
}
