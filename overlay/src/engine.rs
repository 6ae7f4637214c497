//! The one thread that changes the kernel.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

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
}
