//! The one thread that changes the kernel.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use tokio::sync::watch;

use crate::config::Config;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::node::Node;
use crate::store::Registration;

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

/// Works until [`Event::Stop`], on the calling thread, which is its own.
pub(crate) fn run(setup: Setup) {
    while let Ok(event) = setup.events.recv() {
        match event {
            Event::Stop => break,
            event => tracing::debug!(?event, "event"),
        }
    }
}
