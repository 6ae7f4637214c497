//! One client's time: this node's own Node is watched, it is made known, and the others are watched.

use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::api::{Api, ApiError};
use super::node::Node;
use super::peers::peers;
use super::publish::{Known, Publisher};
use super::watch::{Sight, Target, watch};
use super::{Health, KubernetesConf};
use crate::claim::Claim;
use crate::network::Network;
use crate::store::pause::Pauses;
use crate::store::{News, Registration, Teller};

/// What can be wrong, each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Connection,
    Node,
    Publish,
    Peers,
}

/// What the session waits for.
#[derive(Debug)]
pub(super) enum Message {
    /// This node's Node is there, or says something else.
    Node(Box<Node>),
    NodeGone,
    /// What this node is to the others now.
    Ours(Option<Claim>),
    /// What this node is to say has changed.
    Us,
    Problem(Part, Option<String>),
}

/// The way to the session, from its tasks.
#[derive(Clone, Debug)]
pub(super) struct Outbox(mpsc::UnboundedSender<Message>);

impl Outbox {
    pub(super) fn send(&self, message: Message) {
        // The session ends before its tasks.
        let _ = self.0.send(message);
    }
}

/// See the module.
pub(super) struct Session<'a> {
    pub(super) api: Api,
    pub(super) conf: &'a KubernetesConf,
    pub(super) network: &'a Network,
    pub(super) us: channel::Receiver<Registration>,
    pub(super) teller: &'a Teller,
    pub(super) health: &'a mut Health,
    /// The subnets that the engine was told last; they outlive a session.
    pub(super) subnets: &'a mut Vec<IpNet>,
}

impl Session<'_> {
    /// Works until it is dropped.
    pub(super) async fn run(self) {
        let (sender, mut inbox) = mpsc::unbounded_channel();
        let outbox = Outbox(sender);
        let mut work = Work {
            publisher: Publisher::new(self.api.clone(), self.conf),
            session: self,
            tasks: JoinSet::new(),
            outbox,
            node: None,
            known: None,
            watches_peers: false,
            due: None,
            failed: Pauses::default(),
            overwritten: Pauses::new(Duration::from_secs(1), Duration::from_secs(300)),
        };
        work.start();
        loop {
            let message = match work.due {
                Some(due) => timeout_at(due, inbox.recv()).await.ok(),
                None => Some(inbox.recv().await),
            };
            match message {
                None => work.publish().await,
                Some(Some(message)) => work.take(message),
                // Cannot be: there is a sender in `work`.
                Some(None) => return,
            }
        }
    }
}

/// A session at work.
struct Work<'a> {
    session: Session<'a>,
    publisher: Publisher,
    /// Ended with the session.
    tasks: JoinSet<()>,
    outbox: Outbox,
    node: Option<Node>,
    /// What was made known last.
    known: Option<Known>,
    watches_peers: bool,
    /// When to make this node known.
    due: Option<Instant>,
    failed: Pauses,
    /// Two machines with one name must not write as fast as they can.
    overwritten: Pauses,
}

impl Work<'_> {
    fn start(&mut self) {
        let mut us = self.session.us.clone();
        let outbox = self.outbox.clone();
        self.tasks.spawn(async move {
            while us.changed().await.is_ok() {
                outbox.send(Message::Us);
            }
        });
        let name = self.session.us.borrow().name.clone();
        self.tasks.spawn(own_node(self.session.api.clone(), name, self.outbox.clone()));
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Problem(part, problem) => self.session.health.set(part, problem),
            Message::Node(node) => self.take_node(*node),
            Message::NodeGone => {
                self.node = None;
                self.known = None;
                self.due = None;
                let name = &self.session.us.borrow().name;
                let problem =
                    format!("there is no node {name} in the cluster (hint: kubelet makes it, by its own name)");
                self.session.health.set(Part::Node, Some(problem));
            }
            Message::Us => self.schedule(),
            Message::Ours(ours) => {
                let known = self.known.as_ref().filter(|_| self.session.conf.records.has_objects());
                if known.is_some_and(|known| ours.as_ref() != Some(known.claim())) {
                    // It may be of before this node wrote: that is seen when it is about to write again.
                    let at = Instant::now() + self.overwritten.next();
                    self.write_by(at);
                }
            }
        }
    }

    fn take_node(&mut self, node: Node) {
        match node.subnets(self.session.network) {
            Ok(subnets) => {
                if *self.session.subnets != subnets {
                    self.session.subnets.clone_from(&subnets);
                    self.session.teller.tell(News::Subnets(subnets));
                }
                let overwrite = self.publisher.wanted(&node, Claim::default());
                self.session.health.set(Part::Node, overwrite.err());
            }
            Err(error) => self.session.health.set(Part::Node, Some(error.to_string())),
        }
        self.node = Some(node);
        // The engine wants to know its own subnets before all else.
        if !self.watches_peers && !self.session.subnets.is_empty() {
            self.watches_peers = true;
            let (api, conf) = (self.session.api.clone(), self.session.conf);
            let prefix = conf.annotation_prefix.clone().unwrap_or_default();
            let name = self.session.us.borrow().name.clone();
            let (teller, outbox) = (self.session.teller.clone(), self.outbox.clone());
            self.tasks.spawn(peers(api, conf.records, prefix, name, teller, outbox));
        }
        self.schedule();
    }

    /// Decides when to make this node known: now, if it has something new to say; a while later, if somebody else
    /// changed what it said.
    fn schedule(&mut self) {
        let (Some(node), Some(wanted)) = (&self.node, self.wanted()) else { return };
        let at = if self.known.as_ref() != Some(&wanted) {
            Instant::now()
        } else if self.publisher.is_known(node, &wanted) {
            return;
        } else {
            Instant::now() + self.overwritten.next()
        };
        self.write_by(at);
    }

    fn write_by(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// What this node is to say; none before all of it is known.
    fn wanted(&self) -> Option<Known> {
        let node = self.node.as_ref()?;
        let mut claim = self.session.us.borrow().claim.clone();
        if claim.backend.is_empty() || self.session.subnets.is_empty() {
            return None;
        }
        claim.subnets.clone_from(self.session.subnets);
        self.publisher.wanted(node, claim).ok()
    }

    async fn publish(&mut self) {
        self.due = None;
        let Some(wanted) = self.wanted() else { return };
        let Some(node) = &mut self.node else { return };
        match self.publisher.publish(node, &wanted).await {
            Ok(wrote) => {
                if wrote && self.known.as_ref() == Some(&wanted) {
                    tracing::warn!("somebody else had changed what this node made known");
                }
                self.known = Some(wanted);
                self.failed.reset();
                self.session.health.set(Part::Publish, None);
            }
            Err(error) => {
                self.due = Some(Instant::now() + self.failed.next());
                self.session.health.set(Part::Publish, Some(error.text()));
            }
        }
    }
}

/// Watches this node's Node for ever.
async fn own_node(api: Api, name: String, outbox: Outbox) {
    let target = Target { path: "/api/v1/nodes", resource: "nodes", name: Some(name) };
    let tell = |sight: Result<Sight<Node>, ApiError>| {
        let sight = match sight {
            Ok(sight) => sight,
            Err(error) => return outbox.send(Message::Problem(Part::Connection, Some(error.text()))),
        };
        outbox.send(Message::Problem(Part::Connection, None));
        match sight {
            Sight::All(nodes) => match nodes.into_iter().next() {
                Some(node) => outbox.send(Message::Node(Box::new(node))),
                None => outbox.send(Message::NodeGone),
            },
            Sight::Changed(node) => outbox.send(Message::Node(Box::new(node))),
            Sight::Gone(_) => outbox.send(Message::NodeGone),
            Sight::Resumed => {}
        }
    };
    watch(&api, &target, tell).await;
}
