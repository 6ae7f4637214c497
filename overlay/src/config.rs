//! The configuration of this daemon: a TOML file, and flannel's flags and environment.

mod read;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::bgp::BgpConf;
use crate::network::Network;
use crate::store::etcd::EtcdConf;
use crate::store::file::FileConf;
use crate::store::kubernetes::KubernetesConf;

#[cfg(test)]
pub(crate) use self::read::ConfigError;
pub(crate) use self::read::{DEFAULT_FILE, load};

/// Everything that can be set, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// `node`: this node's name in the store. Default: `$NODE_NAME`, or the host's name.
    pub(crate) node: String,
    /// `subnet_file`. Default: `/run/flannel/subnet.env`.
    pub(crate) subnet_file: PathBuf,
    /// `state_dir`: the snapshot of peers, keys. Default: `/var/lib/overlayd`.
    pub(crate) state_dir: PathBuf,
    /// `socket`. Default: `/run/overlayd/overlayd.sock`.
    pub(crate) socket: PathBuf,
    /// `http`: `/healthz`, `/readyz`, `/metrics`. Default: none.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) external: External,
    /// `[network]`. None: it is in the store (`<prefix>/config` of etcd).
    pub(crate) network: Option<Network>,
    pub(crate) store: StoreConf,
    /// `[masquerade]`; none: nothing is masqueraded.
    pub(crate) masquerade: Option<MasqueradeConf>,
    pub(crate) kernel: KernelConf,
    /// `[bgp]`, of the backend `bgp` alone.
    pub(crate) bgp: BgpConf,
    pub(crate) log: Log,
}

/// What is written to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// `log`: `error`, `warn`, `info`, `debug` or `trace`. Default: `info`.
    pub(crate) level: tracing::Level,
    /// `log_format`: `json` or `text`. Default: `text`.
    pub(crate) json: bool,
}

/// `[external]`: the interface by which other nodes are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct External {
    /// `interface`: names or addresses; the first that exists. Default: the one of the default route.
    pub(crate) interface: Vec<String>,
    /// `interface_regex`: of names or addresses.
    pub(crate) interface_regex: Vec<String>,
    /// `can_reach`: the interface by which this address is reached.
    pub(crate) can_reach: Option<IpAddr>,
    /// `public_ip`, `public_ipv6`: what others are told.
    pub(crate) public_ip: Option<Ipv4Addr>,
    pub(crate) public_ipv6: Option<Ipv6Addr>,
}

/// `[store]`: exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreConf {
    File(FileConf),
    Etcd(EtcdConf),
    Kubernetes(KubernetesConf),
}

/// `[masquerade]`: what containers send out of the cluster gets the node's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MasqueradeConf {
    /// `except`: destinations for which it does not, besides the cluster's networks and multicast.
    pub(crate) except: Vec<IpNet>,
    /// `random_fully`: choose ports at random. Default: true, as flannel.
    pub(crate) random_fully: bool,
    /// `forward`: accept what the cluster's networks forward (flannel's `--iptables-forward-rules`). Default: true.
    pub(crate) forward: bool,
}

/// `[kernel]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelConf {
    /// `device`. Default: flannel's name, `flannel.<VNI>`, `flannel-v6.<VNI>`, `flannel.ipip`, `flannel-wg`, `flannel0`.
    pub(crate) device: Option<String>,
    /// `programming`.
    pub(crate) programming: Programming,
    /// `check_seconds`: how often all is compared with the kernel. Default: 60, ± 10 %.
    pub(crate) check: Duration,
    /// `blackhole`: a route to nowhere for the cluster's networks (flannel's `--ip-blackhole-route`). Default: false.
    pub(crate) blackhole: bool,
    /// `receive_buffer`: of the socket that the kernel notifies, in bytes; for tests. Default: 4 MiB.
    pub(crate) receive_buffer: usize,
}

/// How VXLAN peers are put into the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Programming {
    /// Nexthop objects where the kernel has what they need.
    #[default]
    Auto,
    /// A neighbour, an FDB entry and a route per peer: any kernel.
    Neighbours,
    /// A nexthop object with the tunnel in it, a neighbour and a route (`external vnifilter` device; Linux 5.18).
    Nexthops,
}
