//! The steps, one function each.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::{Stop, Trial, TrialError};
use crate::call::Record;
use crate::change;
use crate::expect::{judge, only_object};
use crate::network::attachment;
use crate::node::{NodeError, eventually};
use crate::reach::{self, Service};
use crate::state::State;
use crate::step::{Action, Call, Closed, Expect, Fetch, Gc, Ping};

/// After this long the kernel has finished what it does later.
pub(super) const SETTLED: Duration = Duration::from_secs(3);

impl Trial {
    pub(super) fn act(&mut self, action: &Action, expect: &Expect) -> Result<(), Stop> {
        match action {
            Action::Add(call) => self.add(call, expect),
            Action::Check(call) => self.each("CHECK", call, false, expect),
            Action::Del(call) => self.del(call, expect),
            Action::Gc(gc) => self.gc(gc, expect),
            Action::Status(call) => self.each("STATUS", call, false, expect),
            Action::Version(call) => self.each("VERSION", call, false, expect),
            Action::EndNetns(name) => Ok(self.node.end_netns(name)?),
            Action::Change(wanted) => {
                self.place(&wanted.place)?;
                Ok(change::make(&self.node, wanted)?)
            }
            Action::Ping(ping) => self.ping(ping),
            Action::Fetch(fetch) => self.fetch(fetch),
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
            let wired = self.node.containers.get(&call.container).and_then(|container| container.wired.clone());
            self.remember(&call.container, wired);
        }
        Ok(())
    }

    /// A verb of each plugin; the first that does otherwise than expected ends it, and so does the first failure.
    fn each(&mut self, verb: &str, call: &Call, reverse: bool, expect: &Expect) -> Result<(), Stop> {
        self.container(&call.container)?;
        for plugin in self.chosen(call, reverse) {
            let record = self.run(verb, &plugin, call, None)?;
            judge(&record, expect, &self.network.version, false).map_err(Stop::Fault)?;
            if !record.succeeded() {
                break;
            }
        }
        Ok(())
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
        for plugin in self.chosen(&gc.call, false) {
            let execution = self.network.execution("GC", &plugin, None, &gc.call, list.as_ref());
            let record = self.execute(&execution)?;
            judge(&record, expect, &self.network.version, false).map_err(Stop::Fault)?;
            if !record.succeeded() {
                break;
            }
        }
        Ok(())
    }

    /// The plugins that a call is for, in the order in which they are called.
    fn chosen(&self, call: &Call, reverse: bool) -> Vec<Value> {
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

    fn remember(&mut self, container: &str, result: Option<Value>) {
        if let Some(container) = self.node.containers.get_mut(container) {
            container.result = result;
        }
    }

    fn ping(&mut self, ping: &Ping) -> Result<(), Stop> {
        self.place(&ping.from)?;
        let netns = self.node.netns(&ping.from)?;
        match reach::ping(&netns, address(&ping.to)?) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Stop::Fault(format!("{} must answer an echo request of {}", ping.to, ping.from))),
            Err(e) => Err(Stop::Fault(format!("no echo request can be made from {}: {e}", ping.from))),
        }
    }

    fn fetch(&mut self, fetch: &Fetch) -> Result<(), Stop> {
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

    /// Where a namespace just ended the kernel removes its links a little later: what is left for good is left after
    /// a while.
    fn nothing_left(&mut self) -> Result<(), Stop> {
        let deadline = std::time::Instant::now() + SETTLED;
        let mut left = Vec::new();
        eventually("looking", || {
            left = State::of_node()?.left_since(&self.before);
            Ok(left.is_empty() || std::time::Instant::now() >= deadline)
        })?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(Stop::Fault(format!("nothing must be left, but: {}", left.join("; "))))
        }
    }
}

fn address(text: &str) -> Result<IpAddr, TrialError> {
    text.parse().map_err(|_invalid| NodeError::Value(text.to_owned(), "an address").into())
}
