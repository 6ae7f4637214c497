//! The CNI calls that a container runtime made: what `scripts/test-clients --calls` keeps, and [`Replay`](crate::Replay) makes
//! again.
//!
//! A file of JSON lines. The first says who made the calls; then there is one line per call, in the order in which they began.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A session of a container runtime.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Who made the calls.
    pub origin: Origin,
    /// The calls.
    pub calls: Vec<RecordedCall>,
}

/// Where a [`Recording`] comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// What the runtime says of its version.
    pub client: String,
    /// The command that made the recording.
    pub made_by: String,
}

/// One call of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordedCall {
    /// The type, such as `bridge`.
    pub plugin: String,
    /// The variables `CNI_…`.
    pub env: BTreeMap<String, String>,
    /// The configuration; null if there was none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub stdin: Value,
    /// The exit code; null if the plugin was killed with its runtime.
    pub exit: Option<i64>,
}

impl RecordedCall {
    /// A variable; empty if it was not set.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    /// `CNI_COMMAND`.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.variable("CNI_COMMAND")
    }

    /// `CNI_CONTAINERID`.
    #[must_use]
    pub fn container(&self) -> &str {
        self.variable("CNI_CONTAINERID")
    }

    /// Whether the plugin succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.exit == Some(0)
    }
}

impl Recording {
    /// The recording `tests/fixtures/clients/<name>.jsonl`.
    ///
    /// # Panics
    /// If it is missing or malformed.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clients").join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let mut lines = text.lines();
        let origin = serde_json::from_str(lines.next().unwrap_or_default())?;
        Ok(Self { origin, calls: lines.map(serde_json::from_str).collect::<Result<_, _>>()? })
    }

    /// As a file, with names of containers and namespaces that are the same in every run.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn to_file(&self) -> String {
        let mut text = serde_json::to_string(&self.origin).expect("JSON") + "\n";
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        for call in &self.calls {
            // For VERSION, libcni gives a namespace `dummy`.
            let netns = Some(call.variable("CNI_NETNS")).filter(|netns| netns.starts_with('/')).unwrap_or_default();
            let container = call.container();
            for (name, next) in
                [(container, format!("{:064x}", names.len() + 1)), (netns, format!("/run/netns/{}", names.len() + 2))]
            {
                if !name.is_empty() {
                    names.entry(name).or_insert(next);
                }
            }
            let mut line = serde_json::to_string(call).expect("JSON");
            for (name, same) in &names {
                line = line.replace(name, same);
            }
            // Writing to a string does not fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The calls for one container.
    #[must_use]
    pub fn of_container(&self, container: &str) -> Vec<RecordedCall> {
        self.calls.iter().filter(|call| call.container() == container).cloned().collect()
    }
}
