//! The engine's thread before there is an engine: it waits until the cluster's network and this node's interface are
//! known, and answers operators meanwhile.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;

use libcni::error::causes;
use libcni::store::StoreError;
use linuxnet::NetlinkError;
use linuxnet::netlink::{Notices, Stop};
use tokio::sync::{oneshot, watch};

use crate::config::{Config, StoreConf};
use crate::engine::{self, Setup};
use crate::event::{Ask, Event};
use crate::metrics::Metrics;
use crate::network::Network;
use crate::node::{self, Node};
use crate::peer::identity_of_name;
use crate::report::{Explanation, Status};
use crate::store::{News, Registration};
use crate::subnet_file;

/// Why nobody can wait.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("this machine has no identity")]
    Identity(#[from] StoreError),
    #[error("cannot wait for the external interface")]
    Netlink(#[from] NetlinkError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// What the stores need to begin.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) network: Network,
    pub(crate) registration: watch::Receiver<Registration>,
}

/// A node that is about to take part.
#[derive(Debug)]
pub(crate) struct Startup {
    pub(crate) config: Config,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: Receiver<Event>,
    pub(crate) queue: Sender<Event>,
    pub(crate) started: oneshot::Sender<Started>,
}

/// Waits for what is needed, then works until [`Event::Stop`].
///
/// # Errors
/// [`StartError`]
pub(crate) fn run(mut startup: Startup) -> Result<(), StartError> {
    let Some((network, node)) = startup.wait()? else { return Ok(()) };
    for underlay in node.v4.iter().chain(&node.v6) {
        let (interface, address, public) = (&underlay.name, underlay.address, underlay.public);
        tracing::info!(interface, %address, %public, mtu = underlay.mtu, "external interface");
    }
    let Startup { config, metrics, events, queue, started } = startup;
    let wanted = subnet_file::subnets(&config.subnet_file);
    let (registration, watched) = watch::channel(Registration::of(&node, &network, wanted));
    if started.send(Started { network: network.clone(), registration: watched }).is_err() {
        // The rest of the daemon is gone.
        return Ok(());
    }
    engine::run(Setup { config, network, node, registration, metrics, events, queue });
    Ok(())
}

impl Startup {
    /// `None`: the daemon is to end.
    fn wait(&mut self) -> Result<Option<(Network, Node)>, StartError> {
        // Before anybody looks: nothing can come unseen.
        let _listening = listen(self.config.kernel.receive_buffer, self.queue.clone())?;
        let identity = match self.config.store {
            // Others must be able to say it of a node of which they know no more than the name.
            StoreConf::File(_) => identity_of_name(&self.config.node),
            StoreConf::Etcd(_) | StoreConf::Kubernetes(_) => node::identity(&self.config.node, &self.config.state_dir)?,
        };
        let mut network = self.config.network.clone();
        let mut reason = "the cluster's network is not known yet".to_owned();
        loop {
            if let Some(known) = &network {
                match self.find_node(known, identity) {
                    Ok(node) => return Ok(network.map(|network| (network, node))),
                    Err(why) => reason = told(reason, why),
                }
            }
            match self.events.recv() {
                Ok(Event::Network(known)) => network = Some(*known),
                Ok(Event::Store(News::Unreachable(why), _)) => reason = why,
                Ok(Event::Reload(config)) => self.config = *config,
                Ok(Event::Ask(ask)) => self.answer(ask, &reason),
                Ok(Event::Stop) | Err(_) => return Ok(None),
                Ok(Event::Store(..) | Event::Kernel(_) | Event::Firewall | Event::Bird(_)) => {}
            }
        }
    }

    /// This node, if its interface is there, and a key where one is needed; otherwise the reason.
    fn find_node(&self, network: &Network, identity: [u8; 32]) -> Result<Node, String> {
        let node = node::discover(&self.config.external, network, &self.config.node, identity);
        let node = node.map_err(|e| causes(Some(&e)))?;
        let public_key = engine::public_key(&self.config, network, &node).map_err(|e| causes(Some(&e)))?;
        Ok(Node { public_key, ..node })
    }

    fn answer(&self, ask: Ask, reason: &str) {
        // Whoever asked may have gone: then nobody wants the answer.
        match ask {
            Ask::Status(answer) => drop(answer.send(self.status(reason))),
            Ask::Peers(answer) => drop(answer.send(Vec::new())),
            Ask::Diff(answer) => drop(answer.send(Err(reason.to_owned()))),
            Ask::Explain(address, answer) => drop(answer.send(unknown(address, reason))),
        }
    }

    fn status(&self, reason: &str) -> Status {
        let backend = self.config.network.as_ref().map_or("", |network| network.backend.name());
        Status {
            not_ready: vec![reason.to_owned()],
            node: self.config.node.clone(),
            backend: backend.to_owned(),
            subnets: Vec::new(),
            mtu: 0,
            store: "not asked yet".to_owned(),
            peers: 0,
            refused: 0,
            failing: 0,
            stale: 0,
            drift_repaired: 0,
        }
    }
}

/// Sends an event whenever something in the kernel changes, until what it gives is dropped.
fn listen(receive_bytes: usize, queue: Sender<Event>) -> Result<Stop, StartError> {
    let (mut notices, stop) = Notices::open(receive_bytes)?;
    let hear = move || {
        while let Ok(Some(heard)) = notices.wait() {
            if queue.send(Event::Kernel(heard)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("startup".to_owned()).spawn(hear).map_err(StartError::Thread)?;
    Ok(stop)
}

/// The reason now; it is logged when it is another one.
fn told(before: String, reason: String) -> String {
    if reason != before {
        tracing::warn!(reason, "this node cannot take part yet");
    }
    reason
}

fn unknown(address: IpAddr, reason: &str) -> Explanation {
    Explanation {
        steps: vec![format!("{address} is looked for when this node takes part")],
        faults: vec![reason.to_owned()],
    }
}
