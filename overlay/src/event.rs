//! What the engine's thread waits for: one queue for all.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use linuxnet::link::Dev;
use linuxnet::netlink::Notice;
use tokio::sync::oneshot;

use crate::network::Network;
use crate::report::{Difference, Explanation, PeerRow, Status};
use crate::store::News;

/// Something happened, or somebody asks.
#[derive(Debug)]
pub(crate) enum Event {
    /// In the store, at this time.
    Store(News, Instant),
    /// In the kernel: a link, an address, a neighbour, a route or a next hop was changed, by others (of forwarding entries
    /// also by us).
    Kernel(BTreeSet<Notice>),
    /// The firewall was changed.
    Firewall,
    /// BIRD has the newest file of nodes, or why not.
    Bird(Option<String>),
    /// The cluster's network is known now, where it is the store that has it: before the engine begins, and never again.
    Network(Box<Network>),
    /// The configuration was read again (SIGHUP).
    Reload(Box<crate::config::Config>),
    /// An operator asks; nobody may be waiting for the answer any more.
    Ask(Ask),
    /// SIGTERM, SIGINT: end, and leave the kernel as it is.
    Stop,
}

/// A question of an operator, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Ask {
    Status(oneshot::Sender<Status>),
    /// All nodes, those that are refused with the reason.
    Peers(oneshot::Sender<Vec<PeerRow>>),
    /// Desired against the kernel, looked at now.
    Diff(oneshot::Sender<Result<Vec<Difference>, String>>),
    /// How a container's address is reached.
    Explain(IpAddr, oneshot::Sender<Explanation>),
}

/// A link as requests name it, which lives longer than [`Dev`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) index: u32,
    pub(crate) name: String,
}

impl Device {
    pub(crate) fn dev(&self) -> Dev<'_> {
        Dev { index: self.index, name: &self.name }
    }
}
