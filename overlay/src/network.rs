//! The configuration of the whole cluster: flannel's `net-conf.json`, or the table `[network]` of ours.

mod pool;
mod read;

use ipnet::{Ipv4Net, Ipv6Net};

pub(crate) use self::pool::Pool;
use self::read::Reader;
use crate::settings::{SettingError, Settings};

/// What all nodes agree upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// `Network`, with `EnableIPv4`: the addresses of all IPv4 containers.
    pub(crate) v4: Option<Pool<Ipv4Net>>,
    /// `IPv6Network`, with `EnableIPv6`.
    pub(crate) v6: Option<Pool<Ipv6Net>>,
    /// `Backend`: how nodes reach each other.
    pub(crate) backend: Backend,
}

impl Network {
    /// Reads flannel's `net-conf.json`: keys in any case, unknown ones are ignored, as Go does.
    ///
    /// # Errors
    /// [`SettingError`] with flannel's name of the key.
    pub(crate) fn from_net_conf(text: &[u8]) -> Result<Self, SettingError> {
        Reader(&mut Settings::of_json(text)?).network()
    }

    /// Reads the table `[network]` of a TOML file, which has the same keys.
    ///
    /// # Errors
    /// [`SettingError`] with the line.
    pub(crate) fn from_settings(mut table: Settings) -> Result<Self, SettingError> {
        let network = Reader(&mut table).network()?;
        table.require_known().map(|()| network)
    }
}

/// `Backend`: how nodes reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Vxlan(Vxlan),
    /// Plain routes by the node's address; all nodes on one segment.
    HostGw,
    /// IP in IP; `direct_routing`: not for nodes on the same segment.
    Ipip {
        direct_routing: bool,
    },
    WireGuard(WireGuard),
    /// Packets in UDP, by this process.
    Udp {
        port: u16,
    },
    /// Routes by an existing BGP speaker: BIRD is told what to announce, and learns the rest itself.
    Bgp,
}

impl Backend {
    /// How many bytes of what the external interface carries are not the containers': the headers around their packets,
    /// `v6` if those are IPv6's.
    pub(crate) fn overhead(&self, v6: bool) -> u32 {
        // IP; UDP, VXLAN and Ethernet of 8, 8 and 14 bytes. WireGuard's own headers leave room for IPv6 always, and its
        // tunnel of either family has the same MTU.
        let ip = if v6 { 40 } else { 20 };
        match self {
            Self::Vxlan(_) => ip + 30,
            Self::Ipip { .. } => ip,
            Self::WireGuard(_) => 80,
            Self::Udp { .. } => ip + 8,
            Self::HostGw | Self::Bgp => 0,
        }
    }

    /// What is configured to fit through the overlay, in bytes.
    pub(crate) fn mtu(&self) -> Option<u32> {
        match self {
            Self::Vxlan(vxlan) => vxlan.mtu,
            Self::WireGuard(wireguard) => wireguard.mtu,
            Self::HostGw | Self::Ipip { .. } | Self::Udp { .. } | Self::Bgp => None,
        }
    }

    /// Its `Type`, which nodes also say as their `BackendType`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Vxlan(_) => "vxlan",
            Self::HostGw => "host-gw",
            Self::Ipip { .. } => "ipip",
            Self::WireGuard(_) => "wireguard",
            Self::Udp { .. } => "udp",
            Self::Bgp => "bgp",
        }
    }
}

/// `{"Type": "vxlan", "VNI": 1, "Port": 8472, "GBP": false, "DirectRouting": false, "MTU": 0}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vxlan {
    /// 1 to 16777215. Default 1.
    pub(crate) vni: u32,
    /// UDP port. Default 8472, the kernel's.
    pub(crate) port: u16,
    /// Group based policy extension.
    pub(crate) gbp: bool,
    /// Nodes on the same segment are reached by plain routes.
    pub(crate) direct_routing: bool,
    /// Of the device, in bytes; none: what fits through the external interface.
    pub(crate) mtu: Option<u32>,
}

/// `{"Type": "wireguard", "ListenPort": 51820, "ListenPortV6": 51821, "PSK": "", "MTU": 0, "PersistentKeepaliveInterval": 0}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireGuard {
    /// UDP port for IPv4. Default 51820.
    pub(crate) port: u16,
    /// UDP port for IPv6. Default 51821.
    pub(crate) port_v6: u16,
    /// Shared by all nodes.
    pub(crate) psk: Option<[u8; 32]>,
    /// Seconds; 0: none.
    pub(crate) keepalive: u16,
    pub(crate) mtu: Option<u32>,
}
