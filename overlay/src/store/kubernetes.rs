//! Nodes in the Kubernetes API: subnets are the Nodes' `spec.podCIDRs`; the rest is in flannel's annotations, or in
//! small objects of our own.
//!
//! * `connection`: a client, and when its credentials change; `api`: requests, and why they fail; `watch`: list, watch.
//! * `node`, `annotations`, `overlay_node`: what the API has, and what it says of a node.
//! * `session`: what is done with one client; `publish`: this node is made known; `peers`: the others.

mod annotations;
mod api;
mod connection;
mod node;
mod overlay_node;
mod peers;
mod publish;
mod session;
mod watch;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use libcni::error::causes;
use tokio::sync::watch as channel;

pub(crate) use self::annotations::AnnotationPrefix;
use self::publish::Publisher;
use self::session::{Part, Session};
use super::pause::Pauses;
use super::{News, Registration, Teller};
use crate::metrics::Metrics;
use crate::network::Network;
use crate::race::first;
use crate::tls::ExpiryWatch;

/// The table `[store.kubernetes]`; flannel's flags `--kube-…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KubernetesConf {
    /// Where the API and the credentials are. Default: those of the pod.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The URL of the API, in place of the kubeconfig's.
    pub(crate) api_url: Option<String>,
    /// Where nodes are made known.
    pub(crate) records: Records,
    /// `--kube-annotation-prefix`. Default: `flannel.alpha.coreos.com`.
    pub(crate) annotation_prefix: Option<AnnotationPrefix>,
    /// Set the Node's condition NetworkUnavailable to false when the node is known to the others, as flannel does.
    /// Default: true.
    pub(crate) set_node_network_unavailable: Option<bool>,
}

/// Where nodes are made known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Records {
    /// One small custom resource per node, `overlaynodes.ferrule.dev`.
    #[default]
    OverlayNodes,
    /// flannel's annotations on the Nodes: for a cluster that has flanneld, too.
    Annotations,
    /// Both: written to both, read from the annotations, while a cluster moves from flannel.
    Both,
}

impl Records {
    fn has_objects(self) -> bool {
        matches!(self, Self::OverlayNodes | Self::Both)
    }

    pub(crate) fn has_annotations(self) -> bool {
        matches!(self, Self::Annotations | Self::Both)
    }

    /// flanneld knows of nothing else, so while there may be one, all nodes are there.
    fn are_read_from_annotations(self) -> bool {
        self.has_annotations()
    }
}

/// Why the API cannot be asked for something once.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct KubernetesError(String);

/// The store; see [`super`].
pub(crate) async fn run(
    conf: KubernetesConf,
    network: Network,
    us: channel::Receiver<Registration>,
    teller: Teller,
    metrics: Arc<Metrics>,
) {
    let mut expiry = ExpiryWatch::new(metrics);
    let mut health = Health { teller: teller.clone(), problems: Vec::new(), told: None };
    let mut subnets: Vec<IpNet> = Vec::new();
    let mut pauses = Pauses::default();
    loop {
        let (api, files) = match connection::connect(&conf).await {
            Ok(connection) => connection,
            Err(error) => {
                health.set(Part::Connection, Some(causes(Some(&error))));
                tokio::time::sleep(pauses.next()).await;
                continue;
            }
        };
        pauses.reset();
        let session = Session {
            api,
            conf: &conf,
            network: &network,
            us: us.clone(),
            teller: &teller,
            health: &mut health,
            subnets: &mut subnets,
        };
        first(files.changed(&mut expiry), session.run()).await;
        tracing::info!("the credentials for the Kubernetes API have changed: connecting again");
    }
}

/// Takes back what the node with this name made known.
///
/// # Errors
/// [`KubernetesError`] if the API cannot be reached, or refuses.
pub(crate) async fn leave(conf: &KubernetesConf, node: &str) -> Result<(), KubernetesError> {
    let api = connect(conf).await?;
    Publisher::new(api, conf).withdraw(node).await.map_err(|error| KubernetesError(error.text()))
}

/// The addresses of this node's interface that people chose by the annotations `node-public-ip` and `node-public-ipv6`.
///
/// # Errors
/// [`KubernetesError`] if the API cannot be reached, or refuses, or one of them is no address.
pub(crate) async fn chosen_addresses(
    conf: &KubernetesConf,
    node: &str,
) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), KubernetesError> {
    let api = connect(conf).await?;
    let prefix = conf.annotation_prefix.clone().unwrap_or_default();
    match publish::find_node(&api, node).await {
        Ok(Some(node)) => prefix.interface(&node).map_err(KubernetesError),
        Ok(None) => Ok((None, None)),
        Err(error) => Err(KubernetesError(error.text())),
    }
}

async fn connect(conf: &KubernetesConf) -> Result<api::Api, KubernetesError> {
    match connection::connect(conf).await {
        Ok((api, _)) => Ok(api),
        Err(error) => Err(KubernetesError(causes(Some(&error)))),
    }
}

/// What is wrong at the moment, and what of it the engine knows.
struct Health {
    teller: Teller,
    problems: Vec<(Part, String)>,
    /// What the engine was told is wrong.
    told: Option<Part>,
}

impl Health {
    /// Something is wrong with this part, or nothing any more. Attempts that fail one after the other are told once, and
    /// again when that part works and another does not.
    fn set(&mut self, part: Part, problem: Option<String>) {
        self.problems.retain(|(of, _)| *of != part);
        self.problems.extend(problem.map(|problem| (part, problem)));
        self.problems.sort();
        let first = self.problems.first();
        if first.map(|(part, _)| *part) == self.told {
            return;
        }
        self.told = first.map(|(part, _)| *part);
        self.teller.tell(match first {
            Some((_, problem)) => News::Unreachable(problem.clone()),
            None => News::Reachable,
        });
    }
}

#[cfg(test)]
mod tests;
