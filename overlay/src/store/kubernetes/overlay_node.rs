//! Our own kind of object, `overlaynodes.ferrule.dev`: a node in a kilobyte, that changes only when the node's
//! place in the overlay does. 5,000 Nodes are 69 MB, and each heartbeat of each kubelet goes to whoever watches them.
//!
//! ```yaml
//! apiVersion: ferrule.dev/v1alpha1
//! kind: OverlayNode
//! metadata:
//!   name: n1                      # the Node's
//!   ownerReferences: [{apiVersion: v1, kind: Node, name: n1, uid: …}]
//! spec:
//!   subnets: [10.244.1.0/24, fd00:10:1::/64]
//!   ipv4: 192.0.2.7               # where it is reached
//!   ipv6: 2001:db8::7
//!   backend: vxlan
//!   data: {VNI: 1, VtepMAC: "0a:58:…"}      # and dataV6: as flannel's backend-data
//!   mtu: 1450
//! ```

use ipnet::IpNet;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::node::Meta;
use super::watch::Object;
use crate::claim::Claim;

/// Where they are.
pub(super) const PATH: &str = "/apis/ferrule.dev/v1alpha1/overlaynodes";
/// In the words of RBAC.
pub(super) const RESOURCE: &str = "overlaynodes.ferrule.dev";
/// Bytes of `data` and `dataV6`; more is not believed.
const MAX_DATA: usize = 4096;
/// Subnets of a node.
const MAX_SUBNETS: usize = 16;

/// One of them, as the API has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OverlayNode {
    pub(super) metadata: OwnedMeta,
    #[serde(default = "nothing", deserialize_with = "believable")]
    pub(super) spec: Result<Claim, String>,
}

/// `metadata`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnedMeta {
    pub(super) name: String,
    resource_version: String,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Clone, Debug, Deserialize)]
struct Owner {
    uid: String,
}

/// `spec`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    subnets: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<std::net::Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<std::net::Ipv6Addr>,
    backend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(rename = "dataV6", skip_serializing_if = "Option::is_none")]
    data_v6: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
}

impl Object for OverlayNode {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl OverlayNode {
    /// Whether it goes when this Node goes.
    pub(super) fn is_owned_by(&self, node: &Meta) -> bool {
        self.metadata.owner_references.iter().any(|owner| owner.uid == node.uid)
    }
}

/// What is applied, so that the object says this and belongs to this Node.
pub(super) fn applied(node: &Meta, claim: &Claim) -> Value {
    let spec = Spec {
        subnets: claim.subnets.iter().map(ToString::to_string).collect(),
        ipv4: claim.public_ip,
        ipv6: claim.public_ipv6,
        backend: claim.backend.clone(),
        data: claim.v4_data.clone(),
        data_v6: claim.v6_data.clone(),
        mtu: claim.mtu,
    };
    serde_json::json!({
        "apiVersion": "ferrule.dev/v1alpha1",
        "kind": "OverlayNode",
        "metadata": {
            "name": node.name,
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid }],
        },
        "spec": spec,
    })
}

fn nothing() -> Result<Claim, String> {
    Err("it has no spec".to_owned())
}

/// A spec that makes no sense is this node's alone: the list that it is in can be read.
fn believable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Result<Claim, String>, D::Error> {
    Value::deserialize(deserializer).map(claim)
}

fn claim(spec: Value) -> Result<Claim, String> {
    let spec: Spec =
        serde_json::from_value(spec).map_err(|error| format!("its spec cannot be read: {}", cut(&error)))?;
    for (name, data) in [("data", &spec.data), ("dataV6", &spec.data_v6)] {
        if data.as_ref().is_some_and(|data| data.to_string().len() > MAX_DATA) {
            return Err(format!("its spec.{name} is longer than {MAX_DATA} bytes"));
        }
    }
    if spec.subnets.len() > MAX_SUBNETS {
        return Err(format!("its spec.subnets has {} subnets, expected {MAX_SUBNETS} at most", spec.subnets.len()));
    }
    let mut subnets = Vec::new();
    for value in &spec.subnets {
        let unreadable = |_| format!("its spec.subnets has {:?}, expected a subnet such as 10.244.1.0/24", cut(value));
        subnets.push(value.parse::<IpNet>().map_err(unreadable)?);
    }
    Ok(Claim {
        subnets,
        public_ip: spec.ipv4,
        public_ipv6: spec.ipv6,
        backend: spec.backend,
        v4_data: spec.data,
        v6_data: spec.data_v6,
        mtu: spec.mtu,
    })
}

/// A text that others chose, not too long.
fn cut(text: &impl ToString) -> String {
    text.to_string().chars().take(100).collect()
}
