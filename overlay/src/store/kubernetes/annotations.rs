//! flannel's annotations of Nodes, by which its kube subnet manager makes nodes known.
//!
//! ```yaml
//! flannel.alpha.coreos.com/kube-subnet-manager: "true"
//! flannel.alpha.coreos.com/backend-type: vxlan
//! flannel.alpha.coreos.com/backend-data: '{"VNI":1,"VtepMAC":"0a:58:…"}'      # and backend-v6-data
//! flannel.alpha.coreos.com/public-ip: 192.0.2.7                               # and public-ipv6
//! ```
//!
//! Set by people: `public-ip-overwrite`, `public-ipv6-overwrite` (what others are told), `node-public-ip`,
//! `node-public-ipv6` (the address of the interface to use).

use std::str::FromStr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::node::{Annotations, Node};
use crate::claim::Claim;
use crate::store::Record;

/// Bytes of an annotation; longer ones are not believed.
pub(super) const MAX_VALUE: usize = 4096;

const MANAGED: &str = "kube-subnet-manager";
const TYPE: &str = "backend-type";
const DATA: &str = "backend-data";
const V6_DATA: &str = "backend-v6-data";
const PUBLIC_IP: &str = "public-ip";
const PUBLIC_IPV6: &str = "public-ipv6";
const NODE_PUBLIC_IP: &str = "node-public-ip";
const NODE_PUBLIC_IPV6: &str = "node-public-ipv6";
const OVERWRITE: &str = "public-ip-overwrite";
const OVERWRITE_V6: &str = "public-ipv6-overwrite";

/// Those that are written.
const WRITTEN: [&str; 6] = [MANAGED, TYPE, DATA, V6_DATA, PUBLIC_IP, PUBLIC_IPV6];
/// Those that are read besides.
const ORDERED: [&str; 4] = [NODE_PUBLIC_IP, NODE_PUBLIC_IPV6, OVERWRITE, OVERWRITE_V6];

/// What the keys begin with: `--kube-annotation-prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnnotationPrefix(String);

impl Default for AnnotationPrefix {
    fn default() -> Self {
        Self("flannel.alpha.coreos.com/".to_owned())
    }
}

impl AnnotationPrefix {
    pub(crate) const EXPECTED: &str =
        "a domain, and a word after a slash if need be, such as \"flannel.alpha.coreos.com\" or \"example.com/blue\"";

    /// As flannel: a domain with a dot; what follows a slash ends with a dash.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let (domain, word) = text.split_once('/').unwrap_or((text, ""));
        let word = word.strip_suffix('-').unwrap_or(word);
        let of_label = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
        let is_label = |label: &str| !label.is_empty() && label.chars().all(of_label);
        if !domain.contains('.') || !domain.split('.').all(is_label) || !word.chars().all(of_label) {
            return None;
        }
        Some(Self(if word.is_empty() { format!("{domain}/") } else { format!("{domain}/{word}-") }))
    }
}

/// Whether an annotation may be flannel's, with any prefix.
pub(super) fn is_known(key: &str) -> bool {
    WRITTEN.iter().chain(&ORDERED).any(|name| key.ends_with(name))
}

impl AnnotationPrefix {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    fn find<'a>(&self, annotations: &'a Annotations, name: &str) -> Option<&'a str> {
        annotations.find(&self.key(name)).filter(|value| !value.is_empty())
    }

    /// What a Node says of itself; none if it says nothing: it is new, or no real one, or has another network.
    pub(super) fn record(&self, node: &Node) -> Option<Record> {
        let managed = self.find(&node.metadata.annotations, MANAGED) == Some("true");
        if !managed || node.pod_cidrs().next().is_none() {
            return None;
        }
        Some(Record { name: node.metadata.name.clone(), claim: self.claim(node) })
    }

    fn claim(&self, node: &Node) -> Result<Claim, String> {
        let mut subnets = Vec::new();
        for value in node.pod_cidrs() {
            subnets.push(read::<IpNet>("spec.podCIDRs", value)?);
        }
        let annotations = &node.metadata.annotations;
        Ok(Claim {
            subnets,
            public_ip: self.parsed(annotations, PUBLIC_IP)?,
            public_ipv6: self.parsed(annotations, PUBLIC_IPV6)?,
            backend: self.parsed(annotations, TYPE)?.unwrap_or_default(),
            v4_data: self.data(annotations, DATA)?,
            v6_data: self.data(annotations, V6_DATA)?,
            mtu: None,
        })
    }

    fn parsed<T: FromStr>(&self, annotations: &Annotations, name: &str) -> Result<Option<T>, String> {
        self.find(annotations, name).map(|value| read(name, value)).transpose()
    }

    /// flannel writes `null` for a backend without data.
    fn data(&self, annotations: &Annotations, name: &str) -> Result<Option<Value>, String> {
        self.parsed::<Value>(annotations, name).map(|data| data.filter(|data| !data.is_null()))
    }

    /// The addresses that people chose for the others to be told, instead of those of the interface.
    pub(super) fn overwrite(&self, node: &Node, claim: &mut Claim) -> Result<(), String> {
        let annotations = &node.metadata.annotations;
        claim.public_ip = self.parsed(annotations, OVERWRITE)?.or(claim.public_ip);
        claim.public_ipv6 = self.parsed(annotations, OVERWRITE_V6)?.or(claim.public_ipv6);
        Ok(())
    }

    /// The addresses that people chose the interface by.
    pub(super) fn interface<T: FromStr, U: FromStr>(&self, node: &Node) -> Result<(Option<T>, Option<U>), String> {
        let annotations = &node.metadata.annotations;
        Ok((self.parsed(annotations, NODE_PUBLIC_IP)?, self.parsed(annotations, NODE_PUBLIC_IPV6)?))
    }

    /// The annotations that are to be set (to null: removed) so that the Node says this; none if it does already.
    /// Without a claim, all of ours are removed.
    pub(super) fn patch(&self, node: &Node, claim: Option<&Claim>) -> Option<Value> {
        let mut changes = Map::new();
        for (name, value) in WRITTEN.into_iter().zip(claim.map_or_else(Default::default, values)) {
            let key = self.key(name);
            if node.metadata.annotations.find(&key) != value.as_deref() {
                changes.insert(key, value.map_or(Value::Null, Value::String));
            }
        }
        (!changes.is_empty()).then(|| serde_json::json!({ "metadata": { "annotations": changes } }))
    }
}

/// The values of [`WRITTEN`]. Like flannel, a family that is not there has none, and data that a backend does not need
/// is `null`.
fn values(claim: &Claim) -> [Option<String>; 6] {
    let data = |public: Option<String>, data: Option<&Value>| {
        let data = public.is_some().then(|| data.unwrap_or(&Value::Null).to_string());
        (public, data)
    };
    let (public_ip, v4) = data(claim.public_ip.map(|ip| ip.to_string()), claim.v4_data.as_ref());
    let (public_ipv6, v6) = data(claim.public_ipv6.map(|ip| ip.to_string()), claim.v6_data.as_ref());
    [Some("true".to_owned()), Some(claim.backend.clone()), v4, v6, public_ip, public_ipv6]
}

/// Reads a value that is not trusted.
fn read<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    if value.len() > MAX_VALUE {
        return Err(format!("{name} is longer than {MAX_VALUE} bytes"));
    }
    let unreadable = || format!("{name} has {:?}, which cannot be read", value.chars().take(100).collect::<String>());
    value.parse().ok().ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_domain_and_perhaps_a_word() {
        let key = |text: &str| AnnotationPrefix::new(text).map(|prefix| prefix.key(TYPE));
        assert_eq!(key("flannel.alpha.coreos.com"), Some(AnnotationPrefix::default().key(TYPE)));
        assert_eq!(key("example.com/").as_deref(), Some("example.com/backend-type"));
        assert_eq!(key("example.com/blue").as_deref(), Some("example.com/blue-backend-type"));
        assert_eq!(key("example.com/blue-").as_deref(), Some("example.com/blue-backend-type"));
        for wrong in ["", "flannel", "Example.com", "example..com", "example.com/a/b", "example.com/ä"] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
