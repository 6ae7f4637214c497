//! What a case file says. README.md of this crate describes the format for those who write cases.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::step::Step;

/// All versions of the specification, oldest first.
pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A case: `cases/GROUP/NAME.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// `GROUP/NAME`.
    #[serde(skip)]
    pub name: String,
    /// What is shown, in one sentence.
    pub about: String,
    /// The section of the specification that demands it, or the documentation of the plugin.
    pub section: String,
    /// How strongly.
    pub level: Level,
    /// The classes of plugins that it is for, each plugin by itself; none: see `types`.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// The types of plugins that it is for, each by itself. With neither, it runs once, with its `conflist`.
    #[serde(default)]
    pub types: Vec<String>,
    /// What the plugin must be able to do, besides; otherwise the case does not concern it.
    #[serde(default)]
    pub traits: Vec<Trait>,
    /// The versions of the configuration: `["all"]`, or a list of which each that the plugins speak is taken. Absent:
    /// the newest that they speak.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Only this version and newer ones.
    pub since: Option<String>,
    /// The firewall backends that plugins of known types are set to, one after the other; absent: as they choose.
    #[serde(default)]
    pub firewalls: Vec<Firewall>,
    /// What the kernel must have; without it the case is skipped.
    #[serde(default)]
    pub needs: Vec<Feature>,
    /// The configuration list, without `cniVersion` and `name`. Absent: the minimal configuration of the plugin.
    /// A plugin of the type `$plugin` is the one under test: its minimal configuration, merged with what stands here.
    pub conflist: Option<Value>,
    /// Files that must be there, and their text.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, String>,
    /// What is asked for each container.
    #[serde(default)]
    pub containers: BTreeMap<String, Wishes>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Case {
    /// `protocol`, `verbs`, …: the folder of the file.
    #[must_use]
    pub fn group(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// How strongly the specification demands something (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// A plugin that does otherwise does not conform.
    #[serde(rename = "MUST")]
    Must,
    /// A plugin may have a reason to do otherwise.
    #[serde(rename = "SHOULD")]
    Should,
}

impl Level {
    /// As it stands in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        }
    }
}

/// What kind of plugin it is (specification, "Section 2" and "Section 4").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// It makes an interface in the container.
    Interface,
    /// It changes what plugins before it made, and needs `prevResult` on ADD.
    Chained,
    /// It is delegated to, and assigns addresses.
    Ipam,
}

/// What a plugin can do, of what cases ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trait {
    /// Its minimal configuration delegates to the recording IPAM plugin.
    Ipam,
    /// It makes the link `CNI_IFNAME` in the container.
    Link,
    /// Its result has addresses.
    Addresses,
    /// It can make several attachments at a time.
    Many,
}

/// What a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Feature {
    /// Bridges that know VLANs (`CONFIG_BRIDGE_VLAN_FILTERING`).
    BridgeVlans,
    /// nf_tables on bridges (`CONFIG_NF_TABLES_BRIDGE`).
    BridgeNftables,
    /// SCTP sockets (`CONFIG_IP_SCTP`).
    Sctp,
    /// The iptables of old (`CONFIG_IP_NF_IPTABLES`).
    IptablesLegacy,
    /// Device type `dummy`.
    Dummy,
    /// Device type `ipvlan`.
    Ipvlan,
    /// Device type `vlan` (`CONFIG_VLAN_8021Q`).
    Vlan,
    /// Device type `vrf`.
    Vrf,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BridgeVlans,
        Self::BridgeNftables,
        Self::Sctp,
        Self::IptablesLegacy,
        Self::Dummy,
        Self::Ipvlan,
        Self::Vlan,
        Self::Vrf,
    ];

    /// In words, for "the kernel has no …".
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::BridgeVlans => "VLANs on bridges",
            Self::BridgeNftables => "nf_tables on bridges",
            Self::Sctp => "SCTP",
            Self::IptablesLegacy => "iptables of old",
            Self::Dummy => "links of type dummy",
            Self::Ipvlan => "links of type ipvlan",
            Self::Vlan => "links of type vlan",
            Self::Vrf => "links of type vrf",
        }
    }
}

/// The ways in which the known plugins write firewall rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// nf_tables.
    Nftables,
    /// `iptables`, as the program that writes nf_tables rules.
    IptablesNft,
    /// `iptables`, as the program of old with its own kernel interface.
    IptablesLegacy,
}

impl Firewall {
    /// As it stands in cases and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::IptablesNft => "iptables-nft",
            Self::IptablesLegacy => "iptables-legacy",
        }
    }
}

/// What a runtime asks for a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wishes {
    /// `CNI_ARGS`.
    #[serde(default)]
    pub args: String,
    /// What becomes `runtimeConfig` of the plugins that declare the capabilities.
    #[serde(default)]
    pub capabilities: Value,
}
