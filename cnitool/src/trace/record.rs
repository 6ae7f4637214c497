//! What is recorded of each call: what went in and came out, how long it took, and what is different in the kernel.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libcni::netns::Netns;
use libcni::plugin::{Env, Verb, find_in_path};
use libcni::runtime::{Call, Observer, Outcome, PluginFault};
use libcni::{ErrorReply, ExecError};
use linuxnet::NetlinkError;
use linuxnet::snapshot::{Change, Snapshot, Source};
use serde_json::Value;

use crate::terminal::Progress;

/// What plugins look at in their environment.
const VARIABLES: [&str; 9] = [
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_NETNS",
    "CNI_IFNAME",
    "CNI_ARGS",
    "CNI_PATH",
    "TRACEPARENT",
    "TRACESTATE",
    "BAGGAGE",
];

/// All that was recorded.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) calls: Vec<Recorded>,
    /// From the beginning to the end, without [`looking`](Self::looking).
    pub(super) total: Duration,
    /// How long it took to look at the kernel between the calls.
    pub(super) looking: Duration,
    /// Why something could not be looked at.
    pub(super) problems: Vec<String>,
}

/// One call of a plugin.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) verb: Verb,
    pub(super) plugin_type: String,
    pub(super) path: Option<PathBuf>,
    /// Those of [`VARIABLES`] that are set.
    pub(super) env: Vec<(&'static str, String)>,
    /// Its configuration; `Null` if that is no JSON.
    pub(super) stdin: Value,
    pub(super) outcome: Result<String, Failure>,
    pub(super) stderr: String,
    /// When it began, since the beginning of the trace, without the time for looking.
    pub(super) start: Duration,
    pub(super) took: Duration,
    pub(super) ipam: Option<Ipam>,
    /// What is different in the namespace of this process.
    pub(super) host: Vec<Change>,
    /// What is different in the container's.
    pub(super) container: Vec<Change>,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// With all causes.
    pub(super) text: String,
    /// What the plugin said of it.
    pub(super) reply: Option<ErrorReply>,
}

/// The plugin that another one asks for addresses. Who calls it is that one, so what it gets and gives is not seen.
#[derive(Debug)]
pub(super) struct Ipam {
    pub(super) plugin_type: String,
    pub(super) path: Option<PathBuf>,
    /// It is the same executable as its caller's: those of this project are then called without a process.
    pub(super) is_same_file: bool,
}

impl Recorded {
    /// The plugin's result, if it gave one.
    pub(super) fn result(&self) -> Option<Value> {
        self.outcome.as_ref().ok().and_then(|stdout| serde_json::from_str(stdout).ok())
    }
}

/// A namespace that is looked at.
#[derive(Debug)]
struct Place {
    source: Source,
    last: Snapshot,
}

impl Place {
    fn new(source: Result<Source, NetlinkError>) -> Result<Self, NetlinkError> {
        let mut source = source?;
        let last = source.take()?;
        Ok(Self { source, last })
    }

    /// What is different since the last time.
    fn changes(&mut self) -> Result<Vec<Change>, NetlinkError> {
        let now = self.source.take()?;
        let changes = now.since(&self.last);
        self.last = now;
        Ok(changes)
    }
}

/// Records the calls of plugins.
#[derive(Debug)]
pub(super) struct Recorder {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    host: Option<Place>,
    /// `None`: it is gone, as on a late DEL.
    container: Option<Place>,
    progress: Option<Progress>,
    begin: Instant,
    /// When the call that runs began.
    start: Duration,
    record: Record,
}

impl Recorder {
    /// Looks at both namespaces; the trace begins when it has.
    pub(super) fn start(netns: &Path, progress: Progress) -> Self {
        let mut record = Record::default();
        let host = noted(Place::new(Source::open()), "the host", &mut record.problems);
        let container = match Netns::open(netns) {
            Ok(netns) => noted(Place::new(Source::open_in(&netns)), "the container", &mut record.problems),
            // The plugins find out themselves.
            Err(_) => None,
        };
        let begin = Instant::now();
        let state = State { host, container, progress: Some(progress), begin, start: Duration::ZERO, record };
        Self { state: Mutex::new(state) }
    }

    /// What was recorded. Nothing is after that.
    pub(super) fn finish(&self) -> Record {
        let mut state = self.state();
        state.progress = None;
        state.record.total = state.now();
        std::mem::take(&mut state.record)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn before(&self, call: &Call<'_>) {
        let mut state = self.state();
        if let Some(progress) = &state.progress {
            progress.step(format!("{} {}", call.verb.as_str(), call.plugin_type));
        }
        state.start = state.now();
    }

    fn after(&self, call: &Call<'_>, outcome: &Outcome<'_>) {
        let mut state = self.state();
        let looked = Instant::now();
        let [host, container] = state.changes();
        state.record.looking += looked.elapsed();
        let stdin: Value = serde_json::from_slice(call.stdin).unwrap_or_default();
        let recorded = Recorded {
            verb: call.verb,
            plugin_type: call.plugin_type.to_owned(),
            path: call.path.map(Path::to_owned),
            env: VARIABLES.into_iter().filter_map(|key| Some((key, call.env.var(key)?.to_owned()))).collect(),
            outcome: match outcome.result {
                Ok(stdout) => Ok(String::from_utf8_lossy(stdout).into_owned()),
                Err(fault) => Err(failure(fault)),
            },
            stderr: String::from_utf8_lossy(outcome.stderr).into_owned(),
            start: state.start,
            took: outcome.took,
            ipam: ipam(&stdin, call.path, call.env),
            host,
            container,
            stdin,
        };
        state.record.calls.push(recorded);
    }
}

impl State {
    /// The time since the beginning, without that for looking.
    fn now(&self) -> Duration {
        self.begin.elapsed().saturating_sub(self.record.looking)
    }

    fn changes(&mut self) -> [Vec<Change>; 2] {
        let problems = &mut self.record.problems;
        [(&mut self.host, "the host"), (&mut self.container, "the container")].map(|(place, name)| {
            let changes = place.as_mut().map(Place::changes).transpose();
            noted(changes, name, problems).flatten().unwrap_or_default()
        })
    }
}

/// The value; or `None`, and why.
fn noted<T>(looked: Result<T, NetlinkError>, place: &str, problems: &mut Vec<String>) -> Option<T> {
    looked
        .map_err(|fault| {
            problems.push(format!("{place} cannot be looked at: {}", libcni::error::causes(Some(&fault))));
        })
        .ok()
}

fn failure(fault: &PluginFault) -> Failure {
    let reply = match fault {
        PluginFault::Exec(ExecError::Reply(reply)) => Some(reply.clone()),
        PluginFault::Exec(_) | PluginFault::Find(_) | PluginFault::Result { .. } | PluginFault::Input(_) => None,
    };
    Failure { text: libcni::error::causes(Some(fault)), reply }
}

/// The plugin for addresses that a configuration names.
fn ipam(stdin: &Value, caller: Option<&Path>, env: &Env) -> Option<Ipam> {
    let plugin_type = stdin.get("ipam")?.get("type")?.as_str().filter(|name| !name.is_empty())?;
    let path = find_in_path(plugin_type, &env.cni_path()).ok();
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let is_same_file = match (path.as_deref().and_then(identity), caller.and_then(identity)) {
        (Some(own), Some(caller)) => own == caller,
        _ => false,
    };
    Some(Ipam { plugin_type: plugin_type.to_owned(), path, is_same_file })
}
