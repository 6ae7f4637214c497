//! Steps of many calls: at once, again and again, interrupted.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Stop, Trial, TrialError};
use crate::call::{End, Record};
use crate::expect::{addresses_of, judge, only_object};
use crate::network::Network;
use crate::node::{Container, NodeError};
use crate::step::{AtOnce, Call, Expect, Interrupt, Repeat};

impl Trial {
    /// The steps, in order, so many times.
    pub(super) fn repeat(&mut self, repeat: &Repeat) -> Result<(), Stop> {
        for round in 1..=repeat.times {
            for step in &repeat.steps {
                if !self.applies(step) {
                    continue;
                }
                self.begin_step();
                self.step(step).map_err(|stop| match stop {
                    Stop::Fault(problem) => Stop::Fault(format!("in round {round}: {problem}")),
                    other => other,
                })?;
            }
        }
        Ok(())
    }

    /// The plugins of the list in turn; the one that runs at a random moment is killed.
    pub(super) fn interrupt(&mut self, interrupt: &Interrupt) -> Result<(), Stop> {
        let call = &interrupt.call;
        self.container(&call.container)?;
        if interrupt.verb == "ADD" {
            self.wire(&call.container)?;
        }
        let plugins = self.chosen(call, interrupt.verb == "DEL");
        let container = self.node.containers.get(&call.container).cloned();
        for plugin in plugins {
            let execution = self.network.execution(&interrupt.verb, &plugin, container.as_ref(), call, None);
            let moment = self.clock.moment_in(&execution.name);
            let start = |e| NodeError::Start(execution.program.clone(), e);
            let record = execution.run_and_kill(moment).map_err(start)?;
            let was_killed = record.end == End::Killed;
            self.calls.push(record);
            if was_killed {
                break;
            }
        }
        Ok(())
    }

    /// The verb of each container on a thread of its own. Each must do as expected, and no address may be given twice.
    pub(super) fn at_once(&mut self, wanted: &AtOnce, expect: &Expect) -> Result<(), Stop> {
        let names: Vec<String> = (0..wanted.count).map(|number| format!("n{number}")).collect();
        for name in &names {
            self.container(name)?;
            if wanted.verb == "ADD" {
                self.wire(name)?;
            }
        }
        let limit = self.assignment.limit;
        let (verb, network) = (wanted.verb.as_str(), &self.network);
        let containers: Vec<Container> =
            names.iter().filter_map(|name| self.node.containers.get(name).cloned()).collect();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let run = |container| scope.spawn(move || chain(network, verb, container, limit));
            let threads: Vec<_> = containers.iter().map(run).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        let mut given = BTreeSet::new();
        let is_forgotten = wanted.verb == "DEL";
        for (name, outcome) in names.iter().zip(outcomes) {
            let records = match outcome {
                Ok(records) => records.map_err(|e| TrialError::Case(e.to_string()))?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            let result = records.last().and_then(|record| only_object(&record.stdout).ok());
            self.calls = records;
            for record in &self.calls {
                let judged = judge(record, expect, &self.network.version, verb == "ADD");
                judged.map_err(|problem| Stop::Fault(format!("one of {}: {problem}", wanted.count)))?;
            }
            if verb == "ADD"
                && let Some(result) = result
            {
                let twice = addresses_of(&result).into_iter().find(|address| !given.insert(address.clone()));
                if let Some(address) = twice.filter(|_| self.gives_addresses()) {
                    return Err(Stop::Fault(format!("{address} must be given once, but is given twice")));
                }
                self.remember(name, Some(result));
            }
            if is_forgotten && self.calls.iter().all(Record::succeeded) {
                self.remember(name, None);
            }
        }
        Ok(())
    }

    /// Whether the addresses in results are new ones: `static` always gives the same, and a chained plugin has them from
    /// the one before.
    fn gives_addresses(&self) -> bool {
        let types = self.network.plugins().iter().filter_map(|plugin| plugin.pointer("/ipam/type"));
        types.filter_map(Value::as_str).any(|name| name != "static")
    }
}

/// A verb of all plugins of a list, until one fails.
fn chain(
    network: &Network,
    verb: &str,
    container: &Container,
    limit: std::time::Duration,
) -> std::io::Result<Vec<Record>> {
    let mut container = container.clone();
    let mut plugins: Vec<&Value> = network.plugins().iter().collect();
    if verb == "DEL" {
        plugins.reverse();
    }
    let mut records = Vec::new();
    for plugin in plugins {
        let record = network.execution(verb, plugin, Some(&container), &Call::default(), None).run(limit)?;
        let succeeded = record.succeeded();
        if verb == "ADD" {
            container.result = only_object(&record.stdout).ok();
        }
        records.push(record);
        if !succeeded {
            break;
        }
    }
    Ok(records)
}
