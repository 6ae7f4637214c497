//! The CNI calls that a container runtime made once, made again: the same plugins with the same input in the same order, in
//! namespaces of a [`Node`].
//!
//! What differs between two runs is put in its place: namespaces, the node's own directories, and the results that a runtime
//! hands from one plugin to the next, which are those of this run.

use std::collections::HashMap;
use std::path::PathBuf;

use libcni::netns::Netns;
use serde_json::Value;

use crate::recording::{RecordedCall, Recording};
use crate::{Binaries, Failure, Invocation, Node};

/// What is different each time, though the result has the same form.
const RANDOM: [&str; 3] = ["mac", "name", "sandbox"];

/// A runtime's calls, made again on a node. Every thread that is in the host's namespace may have one.
#[derive(Debug)]
pub struct Replay<'a> {
    node: &'a Node,
    binaries: Binaries,
    path: String,
    /// By container.
    namespaces: HashMap<String, PathBuf>,
    /// By network, container and interface: the last result.
    results: HashMap<[String; 3], Value>,
}

impl<'a> Replay<'a> {
    /// With these plugins.
    #[must_use]
    pub fn new(node: &'a Node, binaries: &Binaries) -> Self {
        let (namespaces, results) = (HashMap::new(), HashMap::new());
        Self { node, binaries: binaries.clone(), path: node.program_path(), namespaces, results }
    }

    /// Makes all calls of a recording, on the node.
    ///
    /// # Panics
    /// If a plugin succeeds or fails where it did not then, or if a result has another form.
    pub fn all(&mut self, recording: &Recording) {
        let node = self.node;
        node.host.run(|| {
            for (number, call) in recording.calls.iter().enumerate() {
                let what =
                    format!("call {} of {}: {} {}", number + 1, recording.origin.client, call.verb(), call.plugin);
                if let (Some(then), Some(now)) = (call.stdin.get("prevResult"), self.results.get(&attachment(call))) {
                    assert_eq!(form(&handed_on(now, then)), form(then), "{what}: the form of prevResult");
                }
                let outcome = self.call(call);
                assert_eq!(outcome.is_ok(), call.succeeded(), "{what}: {outcome:?}");
            }
        });
    }

    /// Makes one call in the calling thread's namespace, which must be the host's; the plugin's reply.
    ///
    /// # Errors
    /// The plugin's.
    ///
    /// # Panics
    /// If the recording hands on a result that nobody gave, or the plugin's reply is none.
    pub fn call(&mut self, call: &RecordedCall) -> Result<Value, Failure> {
        let mut invocation = Invocation::new(&self.binaries.plugin(&call.plugin)).env("PATH", &self.path);
        for (name, value) in &call.env {
            invocation = match name.as_str() {
                "CNI_PATH" => invocation.env(name, self.binaries.search_path()),
                "CNI_NETNS" if !call.container().is_empty() => invocation.env(name, self.netns(call, value)),
                _ => invocation.env(name, value),
            };
        }
        let attachment = attachment(call);
        if !call.stdin.is_null() {
            let mut config = call.stdin.clone();
            self.node.own_directories(&mut config);
            if let Some(previous) = config.get_mut("prevResult") {
                let known = self.results.get(&attachment);
                let known = known.unwrap_or_else(|| panic!("no result of {attachment:?} to hand on"));
                *previous = handed_on(known, previous);
            }
            invocation = invocation.config(&config);
        }
        let reply = invocation.run_here().reply()?;
        if call.verb() == "ADD" {
            self.results.insert(attachment, reply.clone());
        }
        Ok(reply)
    }

    /// Makes the namespace that a call is for, as runtimes do before they call.
    pub fn prepare(&mut self, call: &RecordedCall) {
        self.netns(call, call.variable("CNI_NETNS"));
    }

    /// The namespace in the place of the recorded one. The runtime removed those of a container before it says that there
    /// is none.
    fn netns(&mut self, call: &RecordedCall, recorded: &str) -> PathBuf {
        let dir = self.node.dir().join("ns");
        if recorded.is_empty() {
            if let Some(path) = self.namespaces.remove(call.container()) {
                Netns::remove(path).expect("remove a namespace");
            }
            return PathBuf::new();
        }
        let name = format!("{}-{}", call.container(), recorded.rsplit('/').next().unwrap_or_default());
        let path = dir.join(name);
        if self.namespaces.get(call.container()) != Some(&path) {
            if let Some(former) = self.namespaces.insert(call.container().to_owned(), path.clone()) {
                Netns::remove(former).expect("remove a namespace");
            }
            Netns::create(&path).expect("a namespace");
        }
        path
    }
}

/// Whose result a call hands on.
fn attachment(call: &RecordedCall) -> [String; 3] {
    let network = call.stdin["name"].as_str().unwrap_or_default();
    [network, call.container(), call.variable("CNI_IFNAME")].map(str::to_owned)
}

/// A result as the runtime hands it on that handed on another one in the form `then`: what is not in it the runtime does not
/// know, and what is empty in it the runtime adds.
fn handed_on(result: &Value, then: &Value) -> Value {
    match (result, then) {
        (Value::Array(items), Value::Array(former)) if items.len() == former.len() => {
            items.iter().zip(former).map(|(item, former)| handed_on(item, former)).collect()
        }
        (Value::Object(fields), Value::Object(former)) => {
            let known = former.iter().filter_map(|(key, former)| {
                let empty = former.as_object().filter(|fields| fields.is_empty()).map(|_| former.clone());
                let value = fields.get(key).map(|value| handed_on(value, former)).or(empty)?;
                Some((key.clone(), value))
            });
            known.collect()
        }
        _ => result.clone(),
    }
}

/// A result without what is different each time.
fn form(result: &Value) -> Value {
    match result {
        Value::Array(items) => items.iter().map(form).collect(),
        Value::Object(fields) => {
            let value = |key: &str, value| if RANDOM.contains(&key) { Value::from("…") } else { form(value) };
            fields.iter().map(|(key, field)| (key.clone(), value(key, field))).collect()
        }
        other => other.clone(),
    }
}
