//! What this node has for all others together: its links, and how it sends by them. Pure functions of the configuration.

use std::net::IpAddr;

use ipnet::IpNet;
use linuxnet::link::{Vnis, Vxlan as VxlanLink};
use linuxnet::wireguard::SecretKey;

use crate::config::{Config, Programming};
use crate::desired::{Direct, Lane, Means, Object, Plan};
use crate::event::Device;
use crate::kernel::{Tunnel, VxlanDevice};
use crate::network::{Backend, Network, Vxlan};
use crate::node::{Node, Underlay};
use crate::peer::vtep_mac;

/// How VXLAN is programmed, where that can be said without looking at the kernel. Next hop objects serve one family
/// only: an external link listens over both, so that there cannot be two of them. And they carry no marks (GBP).
pub(super) fn forced_programming(config: &Config, network: &Network, vxlan: &Vxlan) -> Option<Programming> {
    let is_dual = network.v4.is_some() && network.v6.is_some();
    match config.kernel.programming {
        _ if is_dual || vxlan.gbp => Some(Programming::Neighbours),
        Programming::Auto => None,
        forced => Some(forced),
    }
}

/// The VXLAN links, one for each family.
pub(super) fn vxlan_devices(
    config: &Config,
    network: &Network,
    node: &Node,
    subnets: &[IpNet],
    vxlan: &Vxlan,
    programming: Programming,
) -> Vec<VxlanDevice> {
    let v4 = node.v4.as_ref().filter(|_| network.v4.is_some()).map(|underlay| (underlay, false));
    let v6 = node.v6.as_ref().filter(|_| network.v6.is_some()).map(|underlay| (underlay, true));
    let device = |(underlay, is_v6): (&Underlay, bool)| {
        let vxlan_link = match programming {
            Programming::Nexthops => VxlanLink {
                // Each next hop says it.
                local: None,
                lower: None,
                ..VxlanLink::new(Vnis::External { filter: true }, underlay.address, underlay.link, vxlan.port)
            },
            Programming::Auto | Programming::Neighbours => VxlanLink {
                gbp: vxlan.gbp,
                ..VxlanLink::new(Vnis::One(vxlan.vni), underlay.address, underlay.link, vxlan.port)
            },
        };
        let base = subnets.iter().filter(|net| net.addr().is_ipv6() == is_v6).map(|net| IpNet::from(net.network()));
        VxlanDevice {
            name: vxlan_name(config, vxlan, is_v6),
            vxlan: vxlan_link,
            vni: vxlan.vni,
            mac: vtep_mac(&node.identity, vxlan.vni, is_v6),
            mtu: node.mtu(&network.backend),
            addresses: base.collect(),
        }
    };
    [v4, v6].into_iter().flatten().map(device).collect()
}

/// `flannel.1`, `flannel-v6.1`, or what is configured (for IPv6 with `-v6` where both are).
pub(super) fn vxlan_name(config: &Config, vxlan: &Vxlan, is_v6: bool) -> String {
    match (&config.kernel.device, is_v6) {
        (Some(name), false) => name.clone(),
        (Some(name), true) => format!("{name}-v6"),
        (None, false) => format!("flannel.{}", vxlan.vni),
        (None, true) => format!("flannel-v6.{}", vxlan.vni),
    }
}

/// The links of `ipip`, `wireguard` and `udp`, one for each family, with the addresses that they send from.
pub(crate) fn tunnels(config: &Config, network: &Network, node: &Node, subnets: &[IpNet]) -> Vec<(Tunnel, IpAddr)> {
    let v4 = node.v4.as_ref().filter(|_| network.v4.is_some());
    let v6 = node.v6.as_ref().filter(|_| network.v6.is_some());
    let tunnel = |underlay: &Underlay| {
        let is_v6 = underlay.address.is_ipv6();
        let base = subnets.iter().filter(|net| net.addr().is_ipv6() == is_v6).map(|net| IpNet::from(net.network()));
        let name = tunnel_name(config, &network.backend, is_v6);
        (Tunnel { name, mtu: node.mtu(&network.backend), addresses: base.collect() }, underlay.address)
    };
    [v4, v6].into_iter().flatten().map(tunnel).collect()
}

/// flannel's names, or what is configured (for IPv6 with `-v6`).
fn tunnel_name(config: &Config, backend: &Backend, is_v6: bool) -> String {
    let name = config.kernel.device.as_deref().unwrap_or(match backend {
        Backend::WireGuard(_) => "flannel-wg",
        Backend::Udp { .. } => "flannel0",
        _ => "flannel.ipip",
    });
    if is_v6 { format!("{name}-v6") } else { name.to_owned() }
}

/// How this node sends to others, by the links that it has: those of [`vxlan_devices`] or [`tunnels`], in that order.
pub(super) fn plan(
    config: &Config,
    network: &Network,
    node: &Node,
    devices: &[Device],
    programming: Programming,
) -> Plan {
    let mut devices = devices.iter();
    let mut lane = |underlay: &Underlay| {
        let direct = Direct { link: underlay.link, on_link: underlay.on_link.clone() };
        match &network.backend {
            Backend::Vxlan(vxlan) => {
                let device = devices.next()?.index;
                let means = match programming {
                    Programming::Nexthops => Means::Nexthops { device, vni: vxlan.vni, from: underlay.address },
                    Programming::Auto | Programming::Neighbours => Means::Neighbours { device },
                };
                Some(Lane { means, direct: vxlan.direct_routing.then_some(direct) })
            }
            Backend::Bgp => Some(Lane { means: Means::ByBgp, direct: None }),
            Backend::HostGw => Some(Lane { means: Means::DirectOnly, direct: Some(direct) }),
            Backend::Ipip { direct_routing } => {
                let means = Means::Ipip { device: devices.next()?.index };
                Some(Lane { means, direct: direct_routing.then_some(direct) })
            }
            Backend::WireGuard(wireguard) => {
                let (device, psk, keepalive) =
                    (devices.next()?.index, wireguard.psk.map(SecretKey), wireguard.keepalive);
                Some(Lane { means: Means::WireGuard { device, psk, keepalive }, direct: None })
            }
            Backend::Udp { .. } => Some(Lane { means: Means::Udp { device: devices.next()?.index }, direct: None }),
        }
    };
    let v4 = node.v4.as_ref().filter(|_| network.v4.is_some()).and_then(&mut lane);
    let v6 = node.v6.as_ref().filter(|_| network.v6.is_some()).and_then(&mut lane);
    let v4_net = network.v4.map(|pool| IpNet::V4(pool.network));
    let v6_net = network.v6.map(|pool| IpNet::V6(pool.network));
    let mut common = Vec::new();
    if let Backend::WireGuard(_) = network.backend {
        let by_link =
            |(net, lane): (Option<IpNet>, &Option<Lane>)| Some(Object::by_wireguard(net?, lane.as_ref()?.device()?));
        common.extend([(v4_net, &v4), (v6_net, &v6)].into_iter().filter_map(by_link));
    } else if config.kernel.blackhole {
        common.extend([v4_net, v6_net].into_iter().flatten().map(Object::blackhole));
    }
    Plan { v4, v6, common }
}
