//! What the engine answers to operators: `cnitool overlay …`, `/readyz`, and STATUS of the plugin.

use serde::Serialize;

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Status {
    /// Containers can be attached: the node has a subnet, its device and rules are there, and the first peers are
    /// programmed. Otherwise the reasons.
    pub(crate) not_ready: Vec<String>,
    pub(crate) node: String,
    /// Such as `vxlan (nexthop objects)`.
    pub(crate) backend: String,
    pub(crate) subnets: Vec<String>,
    /// Bytes; 0 before it is known.
    pub(crate) mtu: u32,
    /// `reachable`, or since when and why not.
    pub(crate) store: String,
    pub(crate) peers: usize,
    /// Nodes that are not believed.
    pub(crate) refused: usize,
    /// Peers with objects that the kernel refuses.
    pub(crate) failing: usize,
    /// Peers from the snapshot that the store has not confirmed.
    pub(crate) stale: usize,
    /// Objects made or removed that somebody else had changed, since the start.
    pub(crate) drift_repaired: u64,
}

/// A node in `cnitool overlay peers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PeerRow {
    pub(crate) name: String,
    pub(crate) subnets: Vec<String>,
    pub(crate) endpoints: Vec<String>,
    /// Such as `vxlan 0a:58:…`.
    pub(crate) how: String,
    /// `ok`, `stale`, `refused: why`, `failing: why (next try in 4 s)`.
    pub(crate) state: String,
}

/// A difference between what should be in the kernel and what is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// `missing`, `different`, `stranger`.
    pub(crate) what: &'static str,
    /// As the command would show it: `fdb 0a:58:… dst 192.0.2.7 dev flannel.1`.
    pub(crate) object: String,
    /// The peer that it belongs to.
    pub(crate) peer: Option<String>,
}

/// How an address is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// One step after the other, from the address to the wire: whose it is, by which route, to which MAC and endpoint.
    pub(crate) steps: Vec<String>,
    /// What is wrong with it; empty: packets leave this node.
    pub(crate) faults: Vec<String>,
}
