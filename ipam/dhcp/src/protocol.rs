//! What plugin and daemon say to each other over the daemon's socket: one line of JSON each way, then the socket is
//! closed. Both are the same executable, so the protocol has one version at a time; a daemon or plugin of another
//! release is told so.

use std::path::PathBuf;

use libcni::error::ErrorReply;
use libcni::names::NetworkName;
use libcni::types::{AddResult, AttachmentId};
use serde::{Deserialize, Serialize};

use crate::packet::Options;

/// The protocol that this release speaks.
pub(crate) const PROTOCOL: u32 = 1;

/// The first thing of every line, whatever its version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Versioned {
    pub(crate) protocol: u32,
}

/// What the plugin asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) protocol: u32,
    pub(crate) network: NetworkName,
    pub(crate) what: What,
}

/// One verb, with what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum What {
    Add { attachment: AttachmentId, netns: PathBuf, options: WireOptions },
    Del { attachment: AttachmentId },
    Check { attachment: AttachmentId, netns: PathBuf },
    Gc { valid: Vec<AttachmentId> },
    Status,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) protocol: u32,
    pub(crate) outcome: Outcome,
}

/// A success, with a result for ADD and CHECK; or an error as the plugin will reply it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Result(Box<AddResult>),
    Done,
    Error(ErrorReply),
}

/// Options as JSON: number and bytes in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireOptions(Vec<(u8, String)>);

impl From<&Options> for WireOptions {
    fn from(options: &Options) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(options.iter().map(|(code, value)| (code, hex(value))).collect())
    }
}

impl From<&WireOptions> for Options {
    /// What is no hexadecimal is left out.
    fn from(wire: &WireOptions) -> Self {
        let bytes = |hex: &str| -> Option<Vec<u8>> {
            let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
            let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
        };
        wire.0.iter().filter_map(|(code, hex)| Some((*code, bytes(hex)?))).collect()
    }
}

/// A line: `message` as JSON with its line break.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    // These types always serialize: their keys are strings.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let options: Options = [(61, vec![0, 255]), (12, b"web".to_vec())].into_iter().collect();
        let wire = WireOptions::from(&options);
        assert_eq!(Options::from(&wire), options);
        let attachment: AttachmentId = serde_json::from_str(r#"{"containerID": "blue", "ifname": "eth0"}"#).unwrap();
        let what = What::Add { attachment, netns: "/run/netns/blue".into(), options: wire };
        let request = Request { protocol: PROTOCOL, network: "net".parse().unwrap(), what };
        let text = line(&request);
        assert_eq!(serde_json::from_slice::<Request>(&text).unwrap(), request);
        assert_eq!(serde_json::from_slice::<Versioned>(&text).unwrap().protocol, PROTOCOL);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
