//! The one thread that changes the kernel.

mod agenda;
mod answers;
mod base;
mod bird;
mod check;
mod firewall;
mod layout;
mod listen;
mod notices;
mod peers;
mod restore;
#[cfg(test)]
mod tests;
mod tunnels;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libcni::error::causes;
use linuxnet::NetlinkError;
use linuxnet::netlink::Stop;
use tokio::sync::watch;

use crate::config::Config;
use crate::desired::Plan;
use crate::event::Event;
use crate::kernel::Kernel;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::node::Node;
use crate::roster::{Name, Own, Roster};
use crate::snapshot;
use crate::store::{News, Registration};

use self::agenda::{Agenda, Task};
use self::base::Base;
use self::bird::Speaker;
use self::check::Occasion;
use self::firewall::Firewall;
use self::peers::{Programmed, Trouble};
pub(crate) use self::tunnels::public_key;

/// More changes at once are made by comparing all with the kernel: after a restart nearly all of it is there.
const BULK: usize = 200;
/// Between a change and the snapshot of it.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);
/// So long the store may say nothing before the nodes of the snapshot are taken.
const SILENCE: Duration = Duration::from_secs(5);
/// Between a change of nftables and a look at our rules: others may change theirs often.
const FIREWALL_PAUSE: Duration = Duration::from_millis(100);

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
    /// The threads that listen to the kernel end with it.
    listening: Vec<Stop>,
    snapshots: snapshot::Writer,
    kernel: Kernel,
    agenda: Agenda,
    /// This node's subnets, once they are known.
    subnets: Option<Vec<IpNet>>,
    base: Base,
    firewall: Firewall,
    /// Of the backend `bgp`.
    speaker: Speaker,
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
    /// Why there is no external interface (any more).
    underlay_fault: Option<String>,
    /// What was repaired since the start.
    drift: u64,
    was_ready: bool,
}

/// Why there can be no engine.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
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
    fn new(setup: Setup) -> Result<Self, StartError> {
        let Setup { config, network, node, registration, metrics, events, queue } = setup;
        let own = Own { name: node.name.clone(), ..Own::default() };
        let kernel = Kernel::open()?;
        // Before anything is looked at: what changes after that is told.
        let listening = listen::to_routing(&kernel.netlink, config.kernel.receive_buffer, queue.clone());
        let snapshots = snapshot::Writer::start(config.state_dir.clone()).map_err(StartError::Thread)?;
        Ok(Self {
            agenda: Agenda::new(config.kernel.check),
            roster: Roster::new(network.clone(), own),
            kernel,
            config,
            network,
            node,
            registration,
            metrics,
            events,
            queue,
            backlog: VecDeque::new(),
            is_stopping: false,
            listening: heard(listening).into_iter().collect(),
            snapshots,
            subnets: None,
            base: Base::default(),
            firewall: Firewall::default(),
            speaker: Speaker::default(),
            plan: None,
            peers: BTreeMap::new(),
            unreachable: Vec::new(),
            past: BTreeMap::new(),
            knows_peers: false,
            is_stale: false,
            is_synchronised: false,
            store: StoreState::Silent,
            own_entries: None,
            underlay_fault: None,
            drift: 0,
            was_ready: false,
        })
    }

    fn work(&mut self) {
        self.agenda.restore_in(SILENCE);
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
        self.write_snapshot();
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
            Event::Store(news, at) => {
                self.hear(news, at);
                self.bird_is_behind();
            }
            Event::Kernel(notices) => self.notice(&notices),
            Event::Firewall => self.agenda.firewall_in(FIREWALL_PAUSE),
            Event::Reload(config) => {
                self.agenda.set_interval(config.kernel.check);
                self.config = *config;
                self.agenda.underlay_in(Duration::ZERO);
                self.agenda.base_in(Duration::ZERO);
            }
            Event::Bird(fault) => self.bird_said(fault),
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
            Task::Base | Task::Firewall => self.ensure_base(),
            Task::Underlay => {
                self.look_for_underlay();
                self.bird_is_behind();
            }
            Task::Bird => self.tell_bird(),
            Task::Snapshot => self.write_snapshot(),
            Task::Restore => {
                self.restore();
                self.bird_is_behind();
            }
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
                self.restore();
            }
            News::Reachable => self.store_is_reachable(),
            News::All(_) => {
                self.agenda.forget_restore();
                self.store_speaks();
                let changes = self.roster.hear(news);
                let was_stale = std::mem::replace(&mut self.is_stale, false);
                let is_first = !std::mem::replace(&mut self.knows_peers, true) || was_stale;
                let count = changes.len();
                if is_first || count > BULK {
                    self.adopt(changes);
                    self.check(Occasion::News);
                    self.observe(count, at);
                } else {
                    self.change(changes, at);
                }
            }
            News::Changed(_) | News::Gone(_) => {
                self.store_speaks();
                let changes = self.roster.hear(news);
                self.change(changes, at);
            }
        }
    }

    /// It told of nodes. If something was wrong with it before, it says itself when that is over: it may not take what
    /// this node has to say, and tell of the others all the same.
    fn store_speaks(&mut self) {
        if matches!(self.store, StoreState::Silent) {
            self.store_is_reachable();
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
        reasons.extend(self.underlay_fault.clone());
        reasons.extend(self.base.fault.clone());
        reasons.extend(self.bird_fault().map(str::to_owned));
        if !self.knows_peers {
            reasons.push("the store told of no nodes yet".to_owned());
        } else if !self.is_synchronised {
            reasons.push("the nodes are not programmed yet".to_owned());
        }
        reasons
    }

    fn tell_state(&mut self) {
        let has_base = self.subnets.is_some() && self.base.fault.is_none() && self.underlay_fault.is_none();
        let is_ready = has_base && self.knows_peers && self.is_synchronised && self.bird_fault().is_none();
        if is_ready != self.was_ready {
            self.was_ready = is_ready;
            tracing::info!(ready = is_ready, reasons = self.not_ready().join("; "), "readiness");
        }
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.ready.set(is_ready.into());
        self.metrics.peers.set(gauge(self.peers.len()));
        self.metrics.peers_stale.set(if self.is_stale { gauge(self.peers.len()) } else { 0 });
        self.metrics.peers_refused.set(gauge(self.roster.refused_count()));
    }
}

/// A listener, or the reason why there is none, which is told: the timer finds all, only later.
fn heard(listening: Result<Stop, listen::ListenError>) -> Option<Stop> {
    listening.inspect_err(|e| tracing::error!(error = causes(Some(e)), "changes are found by the timer alone")).ok()
}
