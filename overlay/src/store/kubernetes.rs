//! Nodes in the Kubernetes API: subnets are the Nodes' `spec.podCIDRs`; the rest is in flannel's annotations, or in
//! small objects of our own.

use std::path::PathBuf;

use serde::Deserialize;

/// The table `[store.kubernetes]`; flannel's flags `--kube-…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KubernetesConf {
    /// Where the API and the credentials are. Default: those of the pod.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The URL of the API, in place of the kubeconfig's.
    pub(crate) api_url: Option<String>,
    /// Where nodes are made known.
    pub(crate) records: Records,
    /// `--kube-annotation-prefix`. Default: `flannel.alpha.coreos.com`.
    pub(crate) annotation_prefix: Option<String>,
    /// Set the Node's condition NetworkUnavailable to false when the node is up, as flannel does, and to true when it
    /// is not.
    pub(crate) set_node_network_unavailable: Option<bool>,
}

/// Where nodes are made known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Records {
    /// One small custom resource per node, `overlaynodes.ferrule.dev`.
    #[default]
    OverlayNodes,
    /// flannel's annotations on the Nodes: for a cluster that has flanneld, too.
    Annotations,
    /// Both: written to both, read from the annotations, while a cluster moves from flannel.
    Both,
}
