//! Where the state of the cluster lives. A store gives this node its subnet, makes it known to the others, and tells of
//! them.
//!
//! Every store is one function that never returns by itself: what fails is told, and tried again with growing pauses.
//!
//! ```text
//! async fn run(conf, network: Network, us: watch::Receiver<Registration>, teller: Teller)
//! ```
//!
//! It ends when it is dropped. `us` changes when the external interface does; then the store makes the new claim known.

pub(crate) mod allocate;
pub(crate) mod etcd;
pub(crate) mod file;
pub(crate) mod kubernetes;
pub(crate) mod pause;

use std::sync::mpsc::Sender;
use std::time::Instant;

use ipnet::IpNet;

use crate::claim::Claim;
use crate::event::Event;
use crate::network::Network;

/// What happens in the store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    /// This node has these subnets, one of each family at most: told once before all else, and again when they change.
    Subnets(Vec<IpNet>),
    /// All the nodes (this one may be among them: the roster leaves it out). What is not among them is gone.
    All(Vec<Record>),
    /// A node is new, or says something else.
    Changed(Record),
    /// The node with this name is gone.
    Gone(String),
    /// The store does not answer, or refuses: why. It is being tried again; told once until it is reachable.
    Unreachable(String),
    /// It answers again. `All` comes first if something may have been missed.
    Reachable,
}

/// A node as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    /// What identifies it in the store: a file's name, an etcd key without its prefix, the node's name.
    pub(crate) name: String,
    /// Or why it cannot be read, with the value (cut to 100 characters).
    pub(crate) claim: Result<Claim, String>,
}

/// What this node makes known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registration {
    /// The node's name.
    pub(crate) name: String,
    /// Without subnets: those are the store's to give.
    pub(crate) claim: Claim,
    /// The subnets that it had before it was restarted (from its subnet file), and would like to have again.
    pub(crate) wanted: Vec<IpNet>,
}

/// Tells the engine.
#[derive(Clone, Debug)]
pub(crate) struct Teller(Sender<Event>);

impl Teller {
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Self(events)
    }

    /// Tells what happened just now. The clock of convergence starts here.
    pub(crate) fn tell(&self, news: News) {
        // Without an engine the process is about to end.
        let _ = self.0.send(Event::Store(news, Instant::now()));
    }

    /// Tells the cluster's network, which the store has.
    pub(crate) fn found(&self, network: Network) {
        let _ = self.0.send(Event::Network(Box::new(network)));
    }
}
