//! The CNI calls that a client made, as `record-call` wrote them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

/// One call of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The type, such as `bridge`.
    pub(crate) plugin: String,
    /// The variables `CNI_…`.
    pub(crate) env: Value,
    /// The configuration.
    pub(crate) stdin: Value,
    /// Exit code and milliseconds, if it ended.
    pub(crate) ended: Option<(i64, f64)>,
}

impl Call {
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.env[name].as_str().unwrap_or_default()
    }

    pub(crate) fn verb(&self) -> &str {
        self.variable("CNI_COMMAND")
    }

    pub(crate) fn container(&self) -> &str {
        self.variable("CNI_CONTAINERID")
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.ended.is_some_and(|(code, _)| code == 0)
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

    /// The namespace that the client made for a container.
    pub(crate) fn netns_of(&self, container: &str) -> PathBuf {
        let adds = self.of("ADD", container);
        let call = adds.first().unwrap_or_else(|| panic!("no ADD for {container}"));
        PathBuf::from(call.variable("CNI_NETNS"))
    }

    /// Each call as a JSON file in `dir`, with names of containers and processes that are the same in every run.
    pub(crate) fn keep(&self, dir: &Path) {
        std::fs::create_dir_all(dir).expect("a directory for calls");
        let mut names = BTreeMap::new();
        for (number, call) in self.all().into_iter().enumerate() {
            let ms = call.ended.map(|(_, ms)| ms);
            let exit = call.ended.map(|(code, _)| code);
            let mut text = serde_json::to_string_pretty(
                &json!({"plugin": call.plugin, "env": call.env, "stdin": call.stdin, "exit": exit, "ms": ms}),
            )
            .expect("JSON");
            if !call.container().is_empty() {
                let next = names.len() + 1;
                names.entry(call.container().to_owned()).or_insert_with(|| format!("{next:064x}"));
            }
            for (container, name) in &names {
                text = text.replace(container.as_str(), name);
            }
            let path = dir.join(format!("{number:04}-{}-{}.json", call.verb(), call.plugin));
            libcni::store::write_atomic(&path, text.as_bytes(), 0o644).expect("a kept call");
        }
    }

    /// A table: each verb of each plugin, how often, and how long.
    pub(crate) fn table(&self, overhead_ms: f64) -> String {
        let mut groups: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
        for call in self.all() {
            let times = groups.entry((call.plugin.clone(), call.verb().to_owned())).or_default();
            times.extend(call.ended.map(|(_, ms)| ms));
        }
        let mut text = format!("{:<24} {:>6} {:>10} {:>10}\n", "call", "times", "median ms", "longest ms");
        for ((plugin, verb), mut times) in groups {
            times.sort_by(f64::total_cmp);
            let (median, longest) = (median(&times), times.last().copied().unwrap_or_default());
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
    let begun = parse(path)?;
    let ended =
        parse(&path.with_extension("ended")).and_then(|ended| Some((ended["exit"].as_i64()?, ended["ms"].as_f64()?)));
    let plugin = begun["plugin"].as_str()?.to_owned();
    let stdin = parse(&path.with_extension("stdin")).unwrap_or_default();
    Some(Call { plugin, env: begun["env"].clone(), stdin, ended })
}

/// The middle one of sorted times.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// How much longer a call takes by way of the recorder, in milliseconds: medians of some calls of VERSION.
pub(crate) fn overhead_ms(node: &Path) -> f64 {
    const CALLS: usize = 15;
    let time = |dir: &str| {
        let mut times: Vec<f64> = (0..CALLS)
            .map(|_| {
                let mut command = Command::new(node.join(dir).join("loopback"));
                command.env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).stdout(Stdio::null());
                let started = Instant::now();
                let status = command.status().expect("VERSION");
                assert!(status.success(), "VERSION by {dir}");
                started.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        median(&times)
    };
    time("bin") - time("plugins")
}

/// Calls, for a message.
pub(crate) fn told(calls: &[Call]) -> String {
    let line = |call: &Call| {
        format!("{} {} netns={:?} {:?}", call.verb(), call.plugin, call.variable("CNI_NETNS"), call.ended)
    };
    calls.iter().map(line).collect::<Vec<_>>().join("\n")
}
