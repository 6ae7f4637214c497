//! The one thread that changes the kernel.

mod agenda;
mod answers;
mod base;
mod check;
mod layout;
mod peers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libcni::error::causes;
use linuxnet::NetlinkError;
use tokio::sync::watch;

use crate::config::Config;
use crate::desired::Plan;
use crate::event::{Event, Notice};
use crate::kernel::Kernel;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::node::Node;
use crate::roster::{Name, Own, Roster};
use crate::store::{News, Registration};

use self::agenda::{Agenda, Task};
use self::base::Base;
use self::check::Occasion;
use self::peers::{Programmed, Trouble};

/// More changes at once are made by comparing all with the kernel: after a restart nearly all of it is there.
const BULK: usize = 200;
/// Between a change and the snapshot of it.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

/// What the engine is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) network: Network,
    pub(crate) node: Node,
    /// Where what this node says of itself goes when it changes: the stores watch it.
    pub(crate) registration: watch::Sender<Registration>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: Receiver<Event>,
    /// The other end of `events`, for the threads that listen to the kernel.
    pub(crate) queue: Sender<Event>,
}

/// Works until [`Event::Stop`], on the calling thread, which is its own. Afterwards the kernel is as it was.
pub(crate) fn run(setup: Setup) {
    match Engine::new(setup) {
        Ok(mut engine) => engine.work(),
        Err(e) => tracing::error!(error = causes(Some(&e)), "the kernel cannot be spoken to"),
    }
}

#[derive(Debug)]
struct Engine {
    config: Config,
    network: Network,
    node: Node,
    registration: watch::Sender<Registration>,
    metrics: Arc<Metrics>,
    events: Receiver<Event>,
    queue: Sender<Event>,
    /// What came while something long was being done.
    backlog: VecDeque<Event>,
    is_stopping: bool,
    kernel: Kernel,
    agenda: Agenda,
    /// This node's subnets, once they are known.
    subnets: Option<Vec<IpNet>>,
    base: Base,
    /// How nodes are sent to; none before our links are there.
    plan: Option<Plan>,
    roster: Roster,
    peers: BTreeMap<Name, Programmed>,
    /// Who cannot be reached, until that is told.
    unreachable: Vec<(Name, String)>,
    /// The troubles of those who are just being tried again.
    past: BTreeMap<Name, Box<Trouble>>,
    /// The store or the snapshot told of all nodes: what else is in the kernel is no node's.
    knows_peers: bool,
    /// The nodes are those of the snapshot; the store has not confirmed them.
    is_stale: bool,
    /// All was in the kernel once.
    is_synchronised: bool,
    store: StoreState,
    /// When we last changed what the kernel tells us of as if somebody else had done it.
    own_entries: Option<Instant>,
    /// What was repaired since the start.
    drift: u64,
    was_ready: bool,
}

/// How the store is.
#[derive(Debug)]
enum StoreState {
    /// It has not said anything yet.
    Silent,
    Reachable,
    /// Since when, and why.
    Unreachable(SystemTime, String),
}

impl Engine {
    fn new(setup: Setup) -> Result<Self, NetlinkError> {
        let Setup { config, network, node, registration, metrics, events, queue } = setup;
        let own = Own { name: node.name.clone(), ..Own::default() };
        Ok(Self {
            agenda: Agenda::new(config.kernel.check),
            roster: Roster::new(network.clone(), own),
            kernel: Kernel::open()?,
            config,
            network,
            node,
            registration,
            metrics,
            events,
            queue,
            backlog: VecDeque::new(),
            is_stopping: false,
            subnets: None,
            base: Base::default(),
            plan: None,
            peers: BTreeMap::new(),
            unreachable: Vec::new(),
            past: BTreeMap::new(),
            knows_peers: false,
            is_stale: false,
            is_synchronised: false,
            store: StoreState::Silent,
            own_entries: None,
            drift: 0,
            was_ready: false,
        })
    }

    fn work(&mut self) {
        while !self.is_stopping {
            match self.next_event() {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Also where events never end.
            while let Some(task) = self.agenda.take_due(Instant::now()) {
                self.perform(task);
            }
            self.tell_state();
        }
    }

    fn next_event(&mut self) -> Result<Event, RecvTimeoutError> {
        if let Some(event) = self.backlog.pop_front() {
            return Ok(event);
        }
        let pause = self.agenda.next().saturating_duration_since(Instant::now());
        self.events.recv_timeout(pause)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Store(news, at) => self.hear(news, at),
            Event::Kernel(notice) => self.notice(notice),
            Event::Firewall => self.agenda.base_in(Duration::ZERO),
            Event::Reload(config) => {
                self.agenda.set_interval(config.kernel.check);
                self.config = *config;
                self.agenda.base_in(Duration::ZERO);
            }
            Event::Ask(ask) => self.answer(ask),
            Event::Stop => self.is_stopping = true,
            // It is known, or there would be no engine.
            Event::Network(_) => {}
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Check => {
                self.ensure_base();
                self.check(Occasion::Check);
            }
            Task::Base => self.ensure_base(),
            Task::Underlay | Task::Snapshot | Task::Restore => {}
            Task::Retry(name) => self.retry(&name),
        }
    }

    /// The store told something.
    fn hear(&mut self, news: News, at: Instant) {
        match news {
            News::Subnets(subnets) => self.set_subnets(subnets),
            News::Unreachable(why) => {
                tracing::warn!(reason = why, "store unreachable");
                self.metrics.store_reachable.set(0);
                self.store = StoreState::Unreachable(SystemTime::now(), why);
            }
            News::Reachable => self.store_is_reachable(),
            News::All(_) => {
                self.store_is_reachable();
                let changes = self.roster.hear(news);
                let is_first = !std::mem::replace(&mut self.knows_peers, true);
                let count = changes.len();
                if is_first || count > BULK {
                    self.is_synchronised = false;
                    self.change(changes, at);
                    self.check(Occasion::News);
                    let took = at.elapsed().as_secs_f64();
                    (0..count).for_each(|_| self.metrics.convergence.observe(took));
                } else {
                    self.change(changes, at);
                }
            }
            News::Changed(_) | News::Gone(_) => {
                self.store_is_reachable();
                let changes = self.roster.hear(news);
                self.change(changes, at);
            }
        }
    }

    fn store_is_reachable(&mut self) {
        if let StoreState::Unreachable(since, _) = &self.store {
            let seconds = since.elapsed().unwrap_or_default().as_secs();
            tracing::info!(seconds, "store reachable again");
        }
        self.store = StoreState::Reachable;
        self.metrics.store_reachable.set(1);
    }

    /// The kernel told of a change.
    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Lost => {
                self.agenda.base_in(Duration::ZERO);
                self.agenda.notice(false);
            }
            Notice::Link(_) => self.agenda.base_in(Duration::ZERO),
            Notice::Route => self.agenda.notice(false),
        }
    }

    /// Answers what is asked while something long is being done, and keeps the rest for later. True: it is to end.
    fn answer_waiting(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Ask(ask) => self.answer(ask),
                Event::Stop => self.is_stopping = true,
                event => self.backlog.push_back(event),
            }
        }
        self.is_stopping
    }

    /// What is missing until containers can be attached.
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.subnets.is_none() {
            reasons.push("the store gave this node no subnet yet".to_owned());
        }
        reasons.extend(self.base.fault.clone());
        if !self.knows_peers {
            reasons.push("the store told of no nodes yet".to_owned());
        } else if !self.is_synchronised {
            reasons.push("the nodes are not programmed yet".to_owned());
        }
        reasons
    }

    fn tell_state(&mut self) {
        let is_ready = self.subnets.is_some() && self.base.fault.is_none() && self.knows_peers && self.is_synchronised;
        if is_ready != self.was_ready {
            self.was_ready = is_ready;
            tracing::info!(ready = is_ready, reasons = self.not_ready().join("; "), "readiness");
        }
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.ready.set(is_ready.into());
        self.metrics.peers.set(gauge(self.peers.len()));
        self.metrics.peers_refused.set(gauge(self.roster.refused_count()));
    }
}
