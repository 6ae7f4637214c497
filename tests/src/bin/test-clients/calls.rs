//! The CNI calls that a client made, as `record-call` wrote them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use ferrule_tests::recording::{Origin, RecordedCall, Recording};
use serde_json::Value;

use crate::times::{median, milliseconds, quantile};

/// One call of a plugin, and the milliseconds it took, if it ended.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    recorded: RecordedCall,
    ms: Option<f64>,
}

impl Deref for Call {
    type Target = RecordedCall;

    fn deref(&self) -> &RecordedCall {
        &self.recorded
    }
}

/// Where they are written.
#[derive(Clone, Debug)]
pub(crate) struct Calls(PathBuf);

impl Calls {
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// How many began: cheap, for who waits for one.
    pub(crate) fn count(&self) -> usize {
        self.begun().len()
    }

    fn begun(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("calls").flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "begun")).collect();
        // Their names begin with the time.
        paths.sort();
        paths
    }

    /// All, the first first.
    pub(crate) fn all(&self) -> Vec<Call> {
        self.since(0)
    }

    /// Those from the `first`th on.
    pub(crate) fn since(&self, first: usize) -> Vec<Call> {
        self.begun().iter().skip(first).filter_map(|path| read(path)).collect()
    }

    /// How many are being executed.
    pub(crate) fn running(&self) -> usize {
        self.begun().iter().filter(|path| !path.with_extension("ended").exists()).count()
    }

    /// Those with this verb for a container.
    pub(crate) fn of(&self, verb: &str, container: &str) -> Vec<Call> {
        let mut calls = self.all();
        calls.retain(|call| call.verb() == verb && call.container() == container);
        calls
    }

    /// Those for a container, whatever the verb.
    pub(crate) fn of_container(&self, container: &str) -> Vec<Call> {
        let mut calls = self.all();
        calls.retain(|call| call.container() == container);
        calls
    }

    /// The namespace that the client made for a container.
    pub(crate) fn netns_of(&self, container: &str) -> PathBuf {
        let adds = self.of("ADD", container);
        let call = adds.first().unwrap_or_else(|| panic!("no ADD for {container}"));
        PathBuf::from(call.variable("CNI_NETNS"))
    }

    /// Writes them to a file that [`ferrule_tests::Recording`] reads.
    pub(crate) fn keep(&self, origin: Origin, file: &Path) {
        let calls = self.all().into_iter().map(|call| call.recorded).collect();
        let text = Recording { origin, calls }.to_file();
        libcni::store::write_atomic(file, text.as_bytes(), 0o644).expect("the kept calls");
    }

    /// A table: each verb of each plugin, how often, and how long.
    pub(crate) fn table(&self, overhead_ms: f64) -> String {
        let mut groups: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
        for call in self.all() {
            // nerdctl runs `firewall` bare, to see its version.
            let verb = if call.verb().is_empty() { "(bare)" } else { call.verb() };
            let times = groups.entry((call.plugin.clone(), verb.to_owned())).or_default();
            times.extend(call.ms);
        }
        if groups.is_empty() {
            return String::new();
        }
        let mut text = format!("{:<24} {:>6} {:>10} {:>10}\n", "call", "times", "median ms", "longest ms");
        for ((plugin, verb), times) in groups {
            let (median, longest) = (median(&times), quantile(&times, 1.0));
            // Writing to a string does not fail.
            let _ =
                writeln!(text, "{:<24} {:>6} {median:>10.1} {longest:>10.1}", format!("{verb} {plugin}"), times.len());
        }
        let _ = writeln!(text, "Recording added {overhead_ms:.1} ms to each call, which is not in these times.");
        text
    }
}

fn read(path: &Path) -> Option<Call> {
    // One that began just now is there next time.
    let parse = |path: &Path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
    let ended = parse(&path.with_extension("ended")).unwrap_or_default();
    let mut call = parse(path)?;
    call["stdin"] = parse(&path.with_extension("stdin")).unwrap_or_default();
    call["exit"] = ended["exit"].clone();
    Some(Call { recorded: serde_json::from_value(call).ok()?, ms: ended["ms"].as_f64() })
}

/// How much longer a call takes by way of the recorder, in milliseconds: medians of some calls of VERSION.
pub(crate) fn overhead_ms(node: &Path) -> f64 {
    const CALLS: usize = 15;
    let time = |dir: &str| {
        let times: Vec<f64> = (0..CALLS)
            .map(|_| {
                let mut command = Command::new(node.join(dir).join("loopback"));
                command.env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).stdout(Stdio::null());
                let started = Instant::now();
                let status = command.status().expect("VERSION");
                assert!(status.success(), "VERSION by {dir}");
                milliseconds(started)
            })
            .collect();
        median(&times)
    };
    time("bin") - time("plugins")
}

/// Calls, for a message.
pub(crate) fn told(calls: &[Call]) -> String {
    let line =
        |call: &Call| format!("{} {} netns={:?} {:?}", call.verb(), call.plugin, call.variable("CNI_NETNS"), call.exit);
    calls.iter().map(line).collect::<Vec<_>>().join("\n")
}
