use serde::{Deserialize, Serialize};

/// Name resolution for the container (specification, section "Result types").
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of DNS servers, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain for short host names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options for the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The `dns` of a network configuration. It replaces what IPAM returned as soon as it says anything, and an
/// empty list says something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DnsOverride {
    nameservers: Option<Vec<String>>,
    domain: String,
    search: Option<Vec<String>>,
    options: Option<Vec<String>>,
}

impl DnsOverride {
    /// The configuration's `dns` where it says anything, else `from_ipam`.
    #[must_use]
    pub fn or(self, from_ipam: Dns) -> Dns {
        if self == Self::default() {
            return from_ipam;
        }
        Dns {
            nameservers: self.nameservers.unwrap_or_default(),
            domain: self.domain,
            search: self.search.unwrap_or_default(),
            options: self.options.unwrap_or_default(),
        }
    }
}
