//! The Node of Kubernetes, as little of it as is needed: a Node is some 14 KB, what is kept of it less than one.

use std::fmt;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::annotations::{MAX_VALUE, is_known};
use super::watch::Object;
use crate::network::Network;

/// A Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) metadata: Meta,
    pub(super) spec: Spec,
    pub(super) status: Status,
}

/// `metadata`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) annotations: Annotations,
}

/// Those annotations that may be flannel's, with any prefix: key and value, which is cut when it is too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Annotations(pub(super) Vec<(String, String)>);

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

/// `status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    #[serde(rename = "conditions")]
    pub(super) network_unavailable: NetworkUnavailable,
}

/// The `status` of the condition with this type: `True`, `False`, `Unknown`; none if there is no such condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NetworkUnavailable(pub(super) Option<String>);

/// Why a Node gives no subnets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NodeError {
    #[error(
        "node {0} has no spec.podCIDRs yet (hint: kube-controller-manager assigns them, with --allocate-node-cidrs \
         and --cluster-cidr)"
    )]
    NoSubnet(String),
    #[error(
        "node {node} has no {family} subnet in spec.podCIDRs, but {family} is enabled in the network's configuration"
    )]
    NoSubnetOf { node: String, family: &'static str },
    #[error("node {node} has {value:?} in spec.podCIDRs, expected a subnet such as 10.244.1.0/24")]
    Unreadable { node: String, value: String },
    #[error("node {node} has several {family} subnets in spec.podCIDRs, expected one of each family at most")]
    Several { node: String, family: &'static str },
    #[error("node {node} has {subnet} in spec.podCIDRs, which is not in the network {network} of the configuration")]
    Outside { node: String, subnet: IpNet, network: IpNet },
}

impl Object for Node {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl Node {
    /// What `spec.podCIDRs` says, or the older `spec.podCIDR`.
    pub(super) fn pod_cidrs(&self) -> impl Iterator<Item = &str> {
        let older = self.spec.pod_cidrs.is_empty() && !self.spec.pod_cidr.is_empty();
        let older = older.then_some(self.spec.pod_cidr.as_str());
        self.spec.pod_cidrs.iter().map(String::as_str).chain(older)
    }

    /// The subnets of this node: one for each family that the cluster has.
    pub(super) fn subnets(&self, network: &Network) -> Result<Vec<IpNet>, NodeError> {
        let node = || self.metadata.name.clone();
        let networks = [
            ("IPv4", network.v4.map(|pool| IpNet::V4(pool.network))),
            ("IPv6", network.v6.map(|pool| IpNet::V6(pool.network))),
        ];
        let mut given: Vec<IpNet> = Vec::new();
        for value in self.pod_cidrs() {
            let unreadable = |_| NodeError::Unreadable { node: node(), value: value.chars().take(100).collect() };
            given.push(value.parse::<IpNet>().map_err(unreadable)?.trunc());
        }
        if given.is_empty() {
            return Err(NodeError::NoSubnet(node()));
        }
        let mut subnets = Vec::new();
        for (family, network) in networks {
            let Some(network) = network else { continue };
            let mut of_family = given.iter().filter(|subnet| subnet.addr().is_ipv4() == network.addr().is_ipv4());
            let Some(&subnet) = of_family.next() else { return Err(NodeError::NoSubnetOf { node: node(), family }) };
            if of_family.next().is_some() {
                return Err(NodeError::Several { node: node(), family });
            }
            if !network.contains(&subnet) {
                return Err(NodeError::Outside { node: node(), subnet, network });
            }
            subnets.push(subnet);
        }
        Ok(subnets)
    }
}

impl Annotations {
    pub(super) fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnlyKnown)
    }
}

/// Leaves out the annotations of others, some of which are long.
struct OnlyKnown;

impl<'de> Visitor<'de> for OnlyKnown {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
        let mut known = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if !is_known(&key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let mut value = map.next_value::<String>()?;
            if value.len() > MAX_VALUE {
                value.truncate(value.floor_char_boundary(MAX_VALUE));
                // One more than allowed, so that it is seen.
                value.push('…');
            }
            value.shrink_to_fit();
            known.push((key, value));
        }
        Ok(Annotations(known))
    }
}

impl<'de> Deserialize<'de> for NetworkUnavailable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OneCondition)
    }
}

/// Leaves out the other conditions.
struct OneCondition;

impl<'de> Visitor<'de> for OneCondition {
    type Value = NetworkUnavailable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conditions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NetworkUnavailable, A::Error> {
        #[derive(Deserialize)]
        struct Condition {
            r#type: String,
            status: String,
        }
        let mut found = None;
        while let Some(condition) = seq.next_element::<Condition>()? {
            if condition.r#type == "NetworkUnavailable" {
                found = Some(condition.status);
            }
        }
        Ok(NetworkUnavailable(found))
    }
}
