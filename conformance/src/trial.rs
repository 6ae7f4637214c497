//! One case with one plugin, version and firewall backend, on a node of its own.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::call::{Execution, Record};
use crate::case::{Case, Class, Firewall, Wishes};
use crate::catalog::{self, CatalogError};
use crate::job::{Assignment, Failure, Outcome, Verdict};
use crate::network::{Network, is_at_least, merge};
use crate::node::{Container, Node, NodeError};
use crate::profile::Profile;
use crate::sandbox;
use crate::state::State;
use crate::step::{Action, Step};
use crate::{change, firewall, template, wire};
use clock::Clock;

mod acts;
mod clock;
mod looks;
mod many;
mod runtime;

/// Why a trial cannot be had: no fault of a plugin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("the case cannot be understood: {0}")]
    Case(String),
}

/// How a step ended that was not as the case says.
pub(crate) enum Stop {
    /// The case cannot be run here, and why.
    Skip(String),
    /// Something is not as it must be.
    Fault(String),
    /// The step cannot be done: no fault of a plugin.
    Broken(TrialError),
}

impl<E: Into<TrialError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// A case under way.
pub(crate) struct Trial {
    case: Case,
    assignment: Assignment,
    node: Node,
    network: Network,
    before: State,
    /// What the last `note` wrote down.
    noted: State,
    clock: Clock,
    /// The step, as it stands in the case.
    shown: String,
    /// What was executed in this step.
    calls: Vec<Record>,
    /// What was executed last, before this step.
    previous: Option<Record>,
}

/// Moves this process to namespaces of its own and runs the case there.
///
/// # Errors
/// If the node cannot be made.
pub(crate) fn run(assignment: Assignment) -> Result<Outcome, TrialError> {
    let started = Instant::now();
    let case = catalog::case(&assignment.case)?;
    let bin_dir = sandbox::enter(&assignment.bin_dir).map_err(NodeError::from)?;
    let network = network(&case, &assignment, &bin_dir)?;
    let mut trial = Trial {
        case,
        assignment,
        node: Node::start()?,
        network,
        before: State::default(),
        noted: State::default(),
        clock: Clock::default(),
        shown: String::new(),
        calls: Vec::new(),
        previous: None,
    };
    trial.prepare()?;
    let verdict = match trial.steps() {
        Ok(()) => Verdict::Pass,
        Err((step, Stop::Fault(problem))) => {
            let action = std::mem::take(&mut trial.shown);
            Verdict::Fail(Box::new(Failure { step, action, problem, calls: trial.told_calls() }))
        }
        Err((_, Stop::Skip(reason))) => Verdict::Skip(reason),
        Err((_, Stop::Broken(error))) => return Err(error),
    };
    Ok(Outcome { verdict, micros: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX) })
}

/// The network that the case is about.
fn network(case: &Case, assignment: &Assignment, bin_dir: &Path) -> Result<Network, TrialError> {
    let subject = assignment.subject.as_ref();
    let mut conflist = match (&case.conflist, subject) {
        (Some(conflist), _) => conflist.clone(),
        (None, Some(profile)) => json!({"plugins": [profile.plugin_config()]}),
        (None, None) => return Err(TrialError::Case("neither a plugin nor a conflist".to_owned())),
    };
    for plugin in conflist.pointer_mut("/plugins").and_then(Value::as_array_mut).into_iter().flatten() {
        if plugin.get("type").and_then(Value::as_str) == Some("$plugin") {
            let mut own = subject.map(Profile::plugin_config).unwrap_or_default();
            if let Some(patch) = plugin.as_object_mut() {
                patch.remove("type");
            }
            merge(&mut own, plugin);
            *plugin = own;
        }
        if let Some(firewall) = assignment.firewall {
            firewall::configure(plugin, firewall);
        }
    }
    merge(&mut conflist, &json!({"name": "conformance", "cniVersion": assignment.version}));
    let programs = assignment.firewall.map(firewall::programs).transpose()?;
    Ok(Network {
        conflist,
        version: assignment.version.clone(),
        bin_dir: bin_dir.to_owned(),
        path: firewall::path(programs.as_deref()),
        ifname: subject.and_then(|profile| profile.ifname.clone()).unwrap_or_else(|| "eth0".to_owned()),
        is_ipam: subject.is_some_and(|profile| profile.class == Class::Ipam) && case.conflist.is_none(),
    })
}

impl Trial {
    fn prepare(&mut self) -> Result<(), TrialError> {
        self.prepare_host()?;
        self.container("a")?;
        self.before = self.state()?;
        Ok(())
    }

    /// What the plugin needs to be there, as it is after each start of the machine.
    fn prepare_host(&self) -> Result<(), TrialError> {
        let profile = self.assignment.subject.as_ref();
        for (path, text) in profile.into_iter().flat_map(|profile| &profile.files).chain(&self.case.files) {
            let fault = |e| NodeError::File(path.clone(), e);
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir).map_err(fault)?;
            }
            let written = libcni::store::write_atomic(path, text.as_bytes(), 0o644);
            written.map_err(|e| fault(std::io::Error::other(e)))?;
        }
        for wanted in profile.into_iter().flat_map(|profile| &profile.prepare) {
            change::make(&self.node, wanted)?;
        }
        if self.assignment.cnitool.is_some() {
            runtime::configure(&self.network)?;
        }
        Ok(())
    }

    fn steps(&mut self) -> Result<(), (usize, Stop)> {
        let steps = self.case.steps.clone();
        for (number, step) in steps.iter().enumerate() {
            if !self.applies(step) {
                continue;
            }
            self.begin_step();
            self.step(step).map_err(|stop| (number + 1, stop))?;
        }
        Ok(())
    }

    /// What was executed last is remembered, for a step that fails without having executed anything.
    fn begin_step(&mut self) {
        self.previous = self.calls.pop().or(self.previous.take());
        self.calls.clear();
    }

    /// What was executed in the step that failed; if nothing was, what led to it.
    fn told_calls(&mut self) -> Vec<Record> {
        let own = std::mem::take(&mut self.calls);
        if own.is_empty() { self.previous.take().into_iter().collect() } else { own }
    }

    fn applies(&self, step: &Step) -> bool {
        let version = &self.assignment.version;
        step.since.as_ref().is_none_or(|since| is_at_least(version, since))
            && step.before.as_ref().is_none_or(|before| !is_at_least(version, before))
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        // What its steps speak of may not be known yet.
        if let Action::Repeat(repeat) = &step.action {
            return self.repeat(repeat);
        }
        self.shown = serde_json::to_string(&step.action).unwrap_or_default();
        let fault = |e: serde_json::Error| TrialError::Case(e.to_string());
        let action = template::fill(&serde_json::to_value(&step.action).map_err(fault)?, &self.facts())?;
        let expect = template::fill(&serde_json::to_value(&step.expect).map_err(fault)?, &self.facts())?;
        let action: Action = serde_json::from_value(action).map_err(fault)?;
        let expect = serde_json::from_value(expect).map_err(fault)?;
        self.act(&action, &expect)
    }

    /// What there is on the host now.
    fn state(&self) -> Result<State, NodeError> {
        State::of_node(self.assignment.firewall == Some(Firewall::IptablesLegacy))
    }

    /// What cases may know of the containers: `a.ip4`.
    fn facts(&self) -> template::Facts {
        template::facts(&self.node.containers, &self.network.ifname)
    }

    /// Makes the container unless it is there.
    fn container(&mut self, name: &str) -> Result<(), TrialError> {
        if self.node.containers.contains_key(name) {
            return Ok(());
        }
        let subject = self.assignment.subject.as_ref();
        let wishes = self.case.containers.get(name).cloned().unwrap_or_else(|| Wishes {
            args: String::new(),
            capabilities: subject.map(|profile| profile.capabilities.clone()).unwrap_or_default(),
        });
        let number = self.node.containers.len();
        let capabilities = template::fill(&wishes.capabilities, &template::number(number))?;
        self.node.container(name, &wishes.args, &capabilities)?;
        if subject.is_some_and(|profile| profile.class == Class::Chained) && self.case.conflist.is_none() {
            wire::attach(&mut self.node, name, &self.assignment.version)?;
        }
        Ok(())
    }

    /// The container as a plugin before a chained one leaves it. After a DEL that one would have taken the interface away,
    /// with all that the chained one did to it, and the next ADD makes another.
    pub(super) fn wire(&mut self, name: &str) -> Result<(), TrialError> {
        let is_stale = |c: &Container| c.wired.is_some() && c.result.is_none();
        if self.node.containers.get(name).is_some_and(is_stale) {
            wire::detach(&self.node, name)?;
            wire::attach(&mut self.node, name, &self.assignment.version)?;
        }
        Ok(())
    }

    /// Executes a plugin and writes it down.
    fn execute(&mut self, execution: &Execution) -> Result<Record, TrialError> {
        let record =
            execution.run(self.assignment.limit).map_err(|e| NodeError::Start(execution.program.clone(), e))?;
        self.clock.note(&record);
        self.calls.push(record.clone());
        Ok(record)
    }
}

impl From<linuxnet::NetlinkError> for TrialError {
    fn from(error: linuxnet::NetlinkError) -> Self {
        Self::Node(error.into())
    }
}

impl From<crate::sandbox::SandboxError> for TrialError {
    fn from(error: crate::sandbox::SandboxError) -> Self {
        Self::Node(error.into())
    }
}

/// For messages: which backend a trial is with.
pub(crate) fn in_words(firewall: Option<Firewall>) -> &'static str {
    firewall.map_or("", Firewall::as_str)
}
