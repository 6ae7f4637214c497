//! What is done to the machine between the calls of plugins.

use serde::{Deserialize, Serialize};

use super::Empty;

/// Something that is done to the machine, as an operator or an accident does it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// Where.
    #[serde(rename = "in")]
    pub place: String,
    /// What.
    #[serde(rename = "do")]
    pub what: What,
}

/// A change of links, addresses and routes. Each says the `ip` command that it equals.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// `ip link add NAME type veth peer name PEER`, both up.
    AddVeth {
        /// The one end.
        name: String,
        /// The other.
        peer: String,
    },
    /// `ip link add NAME link LINK type vlan id ID`, up.
    AddVlan {
        /// Its name.
        name: String,
        /// The link that it is on.
        link: String,
        /// The number of the VLAN.
        id: u16,
    },
    /// `ip link add NAME type bridge`.
    AddBridge(String),
    /// `ip link del NAME`.
    RemoveLink(String),
    /// `ip link set NAME up`.
    LinkUp(String),
    /// `ip link set NAME down`.
    LinkDown(String),
    /// `ip link set NAME name TO`.
    RenameLink {
        /// The old name.
        link: String,
        /// The new name.
        to: String,
    },
    /// `ip address add ADDRESS dev LINK`.
    AddAddress {
        /// The link.
        link: String,
        /// The address with its prefix length.
        address: String,
    },
    /// `ip address del ADDRESS dev LINK`; all of the link's, without an address.
    RemoveAddress {
        /// The link.
        link: String,
        /// The address with its prefix length.
        address: Option<String>,
    },
    /// `ip route add TO via VIA dev LINK`.
    AddRoute {
        /// The destination prefix.
        to: String,
        /// The link.
        link: String,
        /// The next hop.
        via: Option<String>,
        /// The routing table; main, if absent.
        table: Option<u32>,
    },
    /// `ip route del TO`: every route to it in the main table.
    RemoveRoute {
        /// The destination prefix.
        to: String,
    },
    /// `nft flush ruleset`, and nothing else of the firewall.
    FlushFirewall(Empty),
    /// `ip rule del` of every rule to this table.
    RemoveRules {
        /// The routing table.
        table: u32,
    },
    /// `tc qdisc del dev LINK root handle 1: tbf`.
    RemoveQdisc(String),
    /// `ip link set LINK mtu MTU`.
    SetMtu {
        /// The link.
        link: String,
        /// In bytes.
        mtu: u32,
    },
    /// `ip link set LINK txqueuelen PACKETS`.
    SetTxQueueLen {
        /// The link.
        link: String,
        /// How many packets may wait.
        packets: u32,
    },
    /// `ip link set LINK address MAC`.
    SetMac {
        /// The link.
        link: String,
        /// The address.
        mac: String,
    },
    /// `sysctl -w KEY=VALUE`, with the key as a path below /proc/sys.
    Sysctl {
        /// `net/ipv4/ip_forward`.
        key: String,
        /// The value.
        value: String,
    },
}
