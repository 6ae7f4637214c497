//! A Kubernetes node: what kubelet and containerd call when many pods start at once and end at once, by our plugins and by the Go
//! plugins in turn. The calls are those of a recording, with the pods' own names, ports and limits.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Instant;

use ferrule_tests::recording::RecordedCall;
use ferrule_tests::{Binaries, Node, Recording, Replay, Snapshot};
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::options::Options;
use crate::report::Report;
use crate::times::{median, milliseconds, quantile};

/// How many pods there are at once: what kubelet starts on a node that joins.
const PODS: u16 = 30;
/// The port of the host that leads to the first pod that has one.
const FIRST_PORT: u16 = 20_000;
/// Of the recording: the pod with a port and limits, whose life the others lead, too.
const POD: &str = "K8S_POD_NAME=a;";

/// A node with its plugins, and what they did.
struct Side {
    name: &'static str,
    node: Node,
    plugins: Binaries,
    before: Snapshot,
    started: Times,
    removed: Times,
    failures: Vec<String>,
}

/// Milliseconds of each pod, and of all pods of a round.
#[derive(Default)]
struct Times {
    pods: Vec<f64>,
    rounds: Vec<f64>,
}

/// One of the pods: the calls of its life, made on its own thread.
struct Pod<'a> {
    replay: Replay<'a>,
    calls: Vec<RecordedCall>,
}

pub(super) fn run(_machine: &Machine, options: &Options, report: &mut Report) {
    let recording = Recording::of("containerd");
    let life = recording.calls.iter().find(|call| call.variable("CNI_ARGS").contains(POD)).expect("a pod");
    let life = recording.of_container(life.container());
    let mut ours = Side::new("these plugins", Binaries::at(&options.bin));
    let mut go = Side::new("the Go plugins", Binaries::reference().expect("the Go plugins"));
    let name = format!("{PODS} pods start at once and end at once, {} times", options.rounds);
    report.check(&name, || {
        for round in 0..options.rounds {
            ours.round(&life);
            go.round(&life);
            assert_eq!(ours.failures, [] as [&str; 0], "in round {}", round + 1);
        }
        Ok(())
    });
    report.note(&format!("{}{}", table(&[&ours, &go]), go.faults()));
    report.check("in the end nothing is left", || {
        ours.node.assert_nothing_left(&ours.before, &[]);
        Ok(())
    });
}

impl Side {
    fn new(name: &'static str, plugins: Binaries) -> Self {
        let node = Node::start().expect("the sandbox");
        let before = node.snapshot();
        Self { name, node, plugins, before, started: Times::default(), removed: Times::default(), failures: Vec::new() }
    }

    fn round(&mut self, life: &[RecordedCall]) {
        let mut pods: Vec<Pod<'_>> = (0..PODS).map(|number| self.pod(number, life)).collect();
        let (started, replies) = self.at_once(&mut pods, "ADD");
        let addresses: BTreeSet<String> = replies.iter().flat_map(addresses).collect();
        let (removed, _) = self.at_once(&mut pods, "DEL");
        drop(pods);
        for (times, (round, each)) in [(&mut self.started, started.times), (&mut self.removed, removed.times)] {
            times.rounds.push(round);
            times.pods.extend(each);
        }
        self.failures.extend(started.failures.into_iter().chain(removed.failures));
        // Both families.
        if self.failures.is_empty() {
            assert_eq!(addresses.len(), 2 * usize::from(PODS), "addresses of {}: {addresses:?}", self.name);
        }
    }

    /// The pod `number`: each has limits or a port or both, and all have addresses of both families.
    fn pod(&self, number: u16, life: &[RecordedCall]) -> Pod<'_> {
        let mut replay = Replay::new(&self.node, &self.plugins);
        let calls: Vec<RecordedCall> = life.iter().map(|call| of_pod(call, number)).collect();
        replay.prepare(calls.first().expect("calls"));
        Pod { replay, calls }
    }

    /// Makes the calls with this verb, of all pods at once; what was replied.
    fn at_once(&self, pods: &mut [Pod<'_>], verb: &str) -> (Batch, Vec<Value>) {
        let batch = Mutex::new((Vec::new(), Vec::new(), Vec::new()));
        let began = Instant::now();
        std::thread::scope(|scope| {
            for pod in pods {
                scope.spawn(|| {
                    let (replay, calls) = (&mut pod.replay, pod.calls.iter().filter(|call| call.verb() == verb));
                    let (ms, outcomes) = self.node.host.run(|| {
                        let began = Instant::now();
                        let outcomes: Vec<_> = calls.map(|call| (call, replay.call(call))).collect();
                        (milliseconds(began), outcomes)
                    });
                    let (times, replies, failures) = &mut *batch.lock().expect("the batch");
                    times.push(ms);
                    for (call, outcome) in outcomes {
                        match outcome {
                            Ok(reply) => replies.push(reply),
                            Err(failure) => {
                                failures.push(format!("{} {}: {}", call.verb(), call.plugin, failure.msg));
                            }
                        }
                    }
                });
            }
        });
        let round = milliseconds(began);
        let (times, replies, failures) = batch.into_inner().expect("the batch");
        (Batch { times: (round, times), failures }, replies)
    }

    /// What went wrong, of plugins that are not ours.
    fn faults(&self) -> String {
        let left = self.node.left_since(&self.before, &[]);
        let (failures, name) = (self.failures.len(), self.name);
        let mut text = format!("of {name}, {failures} calls failed and {} objects are left\n", left.len());
        for line in self.failures.iter().take(2).chain(left.iter().take(3)) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}

/// What many calls at once came to.
struct Batch {
    /// Of all, and of each pod.
    times: (f64, Vec<f64>),
    failures: Vec<String>,
}

/// A call of the recording as it would be for the pod `number`.
fn of_pod(recorded: &RecordedCall, number: u16) -> RecordedCall {
    let mut call = recorded.clone();
    let container = format!("{number:04x}{}", "c0ffee".repeat(10));
    for value in call.env.values_mut() {
        *value = value.replace(recorded.container(), &container);
        *value = value.replace(POD, &format!("K8S_POD_NAME=pod-{number};"));
    }
    if !call.stdin["ipam"].is_null() {
        // The recorded range is that of a few pods.
        call.stdin["ipam"]["ranges"][0][0]["subnet"] = json!("10.88.0.0/24");
    }
    let wants = call.stdin.get_mut("runtimeConfig").and_then(Value::as_object_mut);
    if let Some(wants) = wants {
        match number % 3 {
            0 => drop(wants.remove("bandwidth")),
            1 => drop(wants.remove("portMappings")),
            _ => (),
        }
        if let Some(ports) = wants.get_mut("portMappings") {
            ports[0]["HostPort"] = json!(FIRST_PORT + number);
        }
    }
    call
}

/// The addresses of the bridge's result.
fn addresses(reply: &Value) -> Vec<String> {
    let ips = reply["ips"].as_array().into_iter().flatten();
    // loopback has one, too, in the form of its version.
    let own = ips
        .filter_map(|ip| ip["address"].as_str())
        .filter(|address| !address.starts_with("127.") && *address != "::1/128");
    own.map(str::to_owned).collect()
}

/// A line for each side: median and p99 of a pod, median of a round, for start and end.
fn table(sides: &[&Side]) -> String {
    let mut text = format!("{:<16}{:>27}{:>27}\n", "ms", "start: pod, p99, all", "end: pod, p99, all");
    for side in sides {
        let _ = write!(text, "{:<16}", side.name);
        for times in [&side.started, &side.removed] {
            let of_pods = [median(&times.pods), quantile(&times.pods, 0.99), median(&times.rounds)];
            let _ = write!(text, "{:>11.0}{:>8.0}{:>8.0}", of_pods[0], of_pods[1], of_pods[2]);
        }
        text.push('\n');
    }
    text
}
