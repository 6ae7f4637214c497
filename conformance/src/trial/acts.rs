//! The steps, one function each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Stop, Trial, TrialError};
use crate::call::{Execution, Record};
use crate::change;
use crate::expect::{judge, only_object, parts_of};
use crate::network::{attachment, merge};
use crate::node::NodeError;
use crate::reach::{self, Service};
use crate::step::{Action, Call, Closed, Exec, Expect, Fetch, Gc, IpamCall, Outcome, Ping, Run};
use crate::{ipam, look};

/// After this long the kernel has finished what it does later, if it was also looked so often: on a busy machine both take longer.
const SETTLED: Duration = Duration::from_secs(3);
const LOOKS: usize = 100;

impl Trial {
    pub(super) fn act(&mut self, action: &Action, expect: &Expect) -> Result<(), Stop> {
        if let Some(program) = self.assignment.cnitool.clone()
            && let Some(outcome) = self.by_runtime(&program, action, expect)
        {
            return outcome;
        }
        match action {
            Action::Add(call) => self.add(call, expect),
            Action::Check(call) => self.each("CHECK", call, false, expect),
            Action::Del(call) => self.del(call, expect),
            Action::Gc(gc) => self.gc(gc, expect),
            Action::Status(call) => self.each("STATUS", call, false, expect),
            Action::Version(call) => self.each("VERSION", call, false, expect),
            Action::Exec(exec) => self.exec(exec, expect),
            Action::AtOnce(wanted) => self.at_once(wanted, expect),
            Action::Interrupt(wanted) => self.interrupt(wanted),
            Action::Repeat(wanted) => self.repeat(wanted),
            Action::Reboot(_) => {
                self.node.reboot()?;
                Ok(self.prepare_host()?)
            }
            Action::IpamCalls(wanted) => ipam_calls(wanted),
            Action::File(file) => match (file.there, Path::new(&file.path).exists()) {
                (true, false) => Err(Stop::Fault(format!("{} must be there", file.path))),
                (false, true) => Err(Stop::Fault(format!("{} must not be there", file.path))),
                _ => Ok(()),
            },
            Action::Look(wanted) => {
                self.place(&wanted.place)?;
                look::find(&self.node.netns(&wanted.place)?, wanted)?.map_err(Stop::Fault)
            }
            Action::Run(command) => self.command(command, expect),
            Action::EndNetns(name) => Ok(self.node.end_netns(name)?),
            Action::Change(wanted) => {
                self.place(&wanted.place)?;
                Ok(change::make(&self.node, wanted)?)
            }
            Action::Ping(ping) => self.ping(ping, expect),
            Action::Fetch(fetch) => self.fetch(fetch, expect),
            Action::Closed(closed) => self.closed(closed),
            Action::NothingLeft(_) => self.nothing_left(),
            Action::Interface(wanted) => self.interface_is(wanted),
            Action::ResultHolds(wanted) => self.result_holds(wanted),
            Action::Note(scope) => self.note(scope),
            Action::Unchanged(scope) => self.unchanged(scope),
        }
    }

    /// Makes the container that a place may be.
    fn place(&mut self, name: &str) -> Result<(), TrialError> {
        if matches!(name, "host" | "outside") { Ok(()) } else { self.container(name) }
    }

    /// ADD of each plugin in turn, each with the result of the one before. What the last gave is remembered.
    fn add(&mut self, call: &Call, expect: &Expect) -> Result<(), Stop> {
        self.container(&call.container)?;
        self.wire(&call.container)?;
        let before = self.node.containers.get(&call.container).and_then(|c| c.result.clone());
        // A runtime gives the first plugin no result, but what the plugin under test needs to be chained to.
        let plugins = self.chosen(call, false);
        let last = plugins.len().saturating_sub(1);
        for (at, plugin) in plugins.iter().enumerate() {
            let record = self.run("ADD", plugin, call, None)?;
            let succeeded = record.succeeded();
            // What the case expects is of the chain: of its last plugin, or of the one that fails.
            let own = if at == last || !succeeded { expect } else { &Expect::default() };
            let judged = judge(&record, own, &self.network.version, true);
            if succeeded && let Ok(result) = only_object(&record.stdout) {
                self.remember(&call.container, Some(result));
            }
            if judged.is_err() || !succeeded {
                self.remember(&call.container, before);
                return judged.map_err(Stop::Fault);
            }
        }
        Ok(())
    }

    /// DEL of each plugin in reverse order. After success a runtime remembers nothing of the attachment.
    fn del(&mut self, call: &Call, expect: &Expect) -> Result<(), Stop> {
        self.each("DEL", call, true, expect)?;
        let all_succeeded = self.calls.iter().all(Record::succeeded);
        if call.plugin.is_none() && all_succeeded {
            self.remember(&call.container, None);
        }
        Ok(())
    }

    /// A verb of each plugin; the first that does otherwise than expected ends it, and so does the first failure.
    fn each(&mut self, verb: &str, call: &Call, reverse: bool, expect: &Expect) -> Result<(), Stop> {
        self.container(&call.container)?;
        let plugins = self.chosen(call, reverse);
        let last = plugins.len().saturating_sub(1);
        for (at, plugin) in plugins.iter().enumerate() {
            let record = self.run(verb, plugin, call, None)?;
            if !self.judge_one(&record, expect, at == last).map_err(Stop::Fault)? {
                break;
            }
        }
        Ok(())
    }

    /// Judges one of several plugins, and says whether the next is called. Success is expected of each, a failure of one
    /// of them: the chain as a whole.
    fn judge_one(&self, record: &Record, expect: &Expect, is_last: bool) -> Result<bool, String> {
        let may_go_on = expect.outcome == Outcome::Failure && record.succeeded() && !is_last;
        let own = if may_go_on { &Expect::default() } else { expect };
        judge(record, own, &self.network.version, false)?;
        Ok(record.succeeded())
    }

    fn gc(&mut self, gc: &Gc, expect: &Expect) -> Result<(), Stop> {
        let mut valid = Vec::new();
        for name in &gc.valid {
            self.container(name)?;
            valid.extend(self.node.containers.get(name).map(|c| attachment(c, &self.network.ifname)));
        }
        let list = match &gc.list {
            None => Some(Value::Array(valid)),
            Some(Value::String(absent)) if absent == "absent" => None,
            Some(other) => Some(other.clone()),
        };
        let plugins = self.chosen(&gc.call, false);
        let last = plugins.len().saturating_sub(1);
        for (at, plugin) in plugins.iter().enumerate() {
            let execution = self.network.execution("GC", plugin, None, &gc.call, list.as_ref());
            let record = self.execute(&execution)?;
            if !self.judge_one(&record, expect, at == last).map_err(Stop::Fault)? {
                break;
            }
        }
        Ok(())
    }

    /// The plugins that a call is for, in the order in which they are called.
    pub(super) fn chosen(&self, call: &Call, reverse: bool) -> Vec<Value> {
        let is_chosen = |plugin: &&Value| {
            let own = plugin.get("type").and_then(Value::as_str);
            call.plugin.is_none() || call.plugin.as_deref() == own
        };
        let mut plugins: Vec<Value> = self.network.plugins().iter().filter(is_chosen).cloned().collect();
        if reverse {
            plugins.reverse();
        }
        plugins
    }

    fn run(&mut self, verb: &str, plugin: &Value, call: &Call, valid: Option<&Value>) -> Result<Record, TrialError> {
        let is_about_one = matches!(verb, "ADD" | "CHECK" | "DEL");
        let container = self.node.containers.get(&call.container).filter(|_| is_about_one);
        let execution = self.network.execution(verb, plugin, container, call, valid);
        self.execute(&execution)
    }

    pub(super) fn remember(&mut self, container: &str, result: Option<Value>) {
        if let Some(container) = self.node.containers.get_mut(container) {
            container.result = result;
        }
    }

    /// One execution, of which nothing but what is said is as a runtime would do it.
    fn exec(&mut self, exec: &Exec, expect: &Expect) -> Result<(), Stop> {
        let mut env = BTreeMap::from([("PATH".to_owned(), self.network.path.clone())]);
        for (name, value) in &exec.env {
            let value = match (name.as_str(), value.as_str()) {
                ("CNI_PATH", "") => self.network.search_path(),
                ("CNI_NETNS", "") => format!("{}/a", crate::node::NETNS_DIR),
                _ => value.clone(),
            };
            env.insert(name.clone(), value);
        }
        let mut config = exec.config.clone();
        if config.is_object() && config.get("cniVersion").is_none() {
            merge(&mut config, &serde_json::json!({"cniVersion": self.network.version}));
        }
        let verb = exec.env.get("CNI_COMMAND").map_or("", String::as_str);
        let execution = Execution {
            program: self.network.bin_dir.join(&exec.plugin),
            arguments: Vec::new(),
            env,
            stdin: exec.stdin.clone().unwrap_or_else(|| config.to_string()),
            name: format!("{} {verb}", exec.plugin),
        };
        let record = self.execute(&execution)?;
        judge(&record, expect, &self.network.version, verb == "ADD").map_err(Stop::Fault)
    }

    fn ping(&mut self, ping: &Ping, expect: &Expect) -> Result<(), Stop> {
        self.place(&ping.from)?;
        let netns = self.node.netns(&ping.from)?;
        let is_wanted = expect.outcome != Outcome::Failure;
        let answered = reach::ping(&netns, address(&ping.to)?, is_wanted)
            .map_err(|e| Stop::Fault(format!("no echo request can be made from {}: {e}", ping.from)))?;
        match (is_wanted, answered) {
            (true, false) => Err(Stop::Fault(format!("{} must answer an echo request of {}", ping.to, ping.from))),
            (false, true) => Err(Stop::Fault(format!("{} must not answer an echo request of {}", ping.to, ping.from))),
            _ => Ok(()),
        }
    }

    fn fetch(&mut self, fetch: &Fetch, expect: &Expect) -> Result<(), Stop> {
        self.place(&fetch.from)?;
        self.place(&fetch.server)?;
        let (from, server) = (self.node.netns(&fetch.from)?, self.node.netns(&fetch.server)?);
        let to = address(&fetch.to)?;
        let _service = Service::start(&server, &fetch.server, fetch.server_port, fetch.udp)
            .map_err(|e| TrialError::Case(format!("no service at {}: {e}", fetch.server)))?;
        let answer = match fetch.udp {
            true => reach::fetch_udp(&from, to, fetch.port),
            false => reach::fetch_tcp(&from, to, fetch.port),
        };
        if expect.outcome == Outcome::Failure {
            let fault = || Stop::Fault(format!("{} port {} must not be answered", fetch.to, fetch.port));
            return if answer.is_err() { Ok(()) } else { Err(fault()) };
        }
        let wanted = format!("{} port {} must be answered by {}", fetch.to, fetch.port, fetch.server);
        let answer = answer.map_err(|e| Stop::Fault(format!("{wanted}, but nobody answers: {e}")))?;
        if answer.from != fetch.server {
            return Err(Stop::Fault(format!("{wanted}, but is by {}", answer.from)));
        }
        match &fetch.saw {
            Some(saw) if address(saw)? != answer.saw => {
                Err(Stop::Fault(format!("{} must see {saw} as its client, but sees {}", fetch.server, answer.saw)))
            }
            _ => Ok(()),
        }
    }

    fn closed(&mut self, closed: &Closed) -> Result<(), Stop> {
        self.place(&closed.from)?;
        let netns = self.node.netns(&closed.from)?;
        match reach::is_closed_tcp(&netns, address(&closed.to)?, closed.port) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Stop::Fault(format!("nobody must answer at {} port {}", closed.to, closed.port))),
            Err(e) => Err(Stop::Broken(TrialError::Case(e.to_string()))),
        }
    }

    fn nothing_left(&mut self) -> Result<(), Stop> {
        let left = settled(|| Ok(self.state()?.left_since(&self.before)))?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(Stop::Fault(format!("nothing must be left, but: {}", left.join("; "))))
        }
    }

    /// A command, and parts of the JSON that it prints.
    fn command(&mut self, run: &Run, expect: &Expect) -> Result<(), Stop> {
        self.place(&run.place)?;
        let mut words = run.command.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env("PATH", &self.network.path).stdin(Stdio::null());
        let output = self.node.netns(&run.place)?.run(|| command.output()).map_err(NodeError::from)?;
        let output = match output {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Stop::Skip(format!("there is no program {}", command.get_program().display())));
            }
            other => other.map_err(|e| NodeError::Start(command.get_program().into(), e))?,
        };
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match (output.status.success(), expect.outcome) {
            (false, Outcome::Success) => return Err(Stop::Fault(format!("{} must succeed: {stderr}", run.command))),
            (true, Outcome::Failure) => return Err(Stop::Fault(format!("{} must fail", run.command))),
            _ => {}
        }
        if expect.reply.is_empty() && expect.has.is_empty() && expect.lacks.is_empty() {
            return Ok(());
        }
        // What `ip` means by an empty output.
        let stdout = if output.stdout.trim_ascii().is_empty() { b"[]" } else { output.stdout.as_slice() };
        let reply = serde_json::from_slice(stdout).map_err(|e| TrialError::Case(format!("{}: {e}", run.command)))?;
        parts_of(&reply, expect).map_err(|problem| Stop::Fault(format!("{}: {problem}, in {reply}", run.command)))
    }
}

/// What `differs` finds. Where a namespace just ended the kernel removes its links a little later: what is left for good
/// is left after a while.
pub(super) fn settled(differs: impl Fn() -> Result<Vec<String>, NodeError>) -> Result<Vec<String>, NodeError> {
    let deadline = Instant::now() + SETTLED;
    let mut looks = 0;
    loop {
        let found = differs()?;
        looks += 1;
        if found.is_empty() || (looks >= LOOKS && Instant::now() >= deadline) {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How `conformance-ipam` was called since this was asked last.
fn ipam_calls(wanted: &[IpamCall]) -> Result<(), Stop> {
    let calls = ipam::take_calls().map_err(|e| NodeError::File(ipam::calls_file(), e))?;
    let verbs = |verbs: Vec<&str>| if verbs.is_empty() { "not at all".to_owned() } else { verbs.join(", ") };
    let verb = |call: &Value| call.get("verb").and_then(Value::as_str).unwrap_or_default().to_owned();
    let seen: Vec<String> = calls.iter().map(verb).collect();
    if !seen.iter().eq(wanted.iter().map(|call| &call.verb)) {
        let (wanted, seen) = (wanted.iter().map(|call| call.verb.as_str()), seen.iter().map(String::as_str));
        return Err(Stop::Fault(format!(
            "the IPAM plugin must be called: {}; but is called: {}",
            verbs(wanted.collect()),
            verbs(seen.collect())
        )));
    }
    for (wanted, call) in wanted.iter().zip(&calls) {
        let fault = |what: &str, value: Option<&Value>, must: &dyn std::fmt::Display| {
            let is = value.map_or("not there".to_owned(), Value::to_string);
            Stop::Fault(format!("at {} of the IPAM plugin {what} must be {must}, but is {is}", wanted.verb))
        };
        for (name, value) in &wanted.env {
            let found = call.get("env").and_then(|env| env.get(name));
            if found.and_then(Value::as_str) != Some(value) {
                return Err(fault(name, found, value));
            }
        }
        for (pointer, value) in &wanted.stdin {
            let found = call.get("stdin").and_then(|stdin| stdin.pointer(pointer));
            if found != Some(value) {
                return Err(fault(pointer, found, value));
            }
        }
    }
    Ok(())
}

fn address(text: &str) -> Result<IpAddr, TrialError> {
    text.parse().map_err(|_invalid| NodeError::Value(text.to_owned(), "an address").into())
}
