//! Our links of the backends `ipip`, `wireguard` and `udp`.

use std::net::{IpAddr, SocketAddrV4};

use ipnet::IpNet;
use linuxnet::wireguard::{PublicKey, WireGuard};

use crate::config::Config;
use crate::kernel::{DeviceError, Ensured};
use crate::keys;
use crate::network::{self, Backend, Network};
use crate::node::Node;

use super::{Engine, layout};

/// By which others know this node with the backend `wireguard`, before anything else of it is known: it is part of what
/// the node says of itself. `None` with other backends. The link is made by the way, as it is the kernel that makes a public
/// key of the private one.
pub(crate) fn public_key(config: &Config, network: &Network, node: &Node) -> Result<Option<PublicKey>, DeviceError> {
    let Backend::WireGuard(_) = network.backend else { return Ok(None) };
    let private = keys::ensure_private_key(&config.state_dir)?;
    let tunnels = layout::tunnels(config, network, node, &[]);
    tunnels.first().map(|(tunnel, _)| tunnel.public_key(&private)).transpose()
}

impl Engine {
    pub(super) fn ensure_ipip(&mut self, subnets: &[IpNet]) -> Result<Vec<Ensured>, DeviceError> {
        let mut links = Vec::new();
        for (tunnel, address) in layout::tunnels(&self.config, &self.network, &self.node, subnets) {
            if let IpAddr::V4(local) = address {
                links.push(tunnel.ensure_ipip(&mut self.kernel.netlink, local)?);
            }
        }
        Ok(links)
    }

    pub(super) fn ensure_wireguard(
        &mut self,
        subnets: &[IpNet],
        wireguard: &network::WireGuard,
    ) -> Result<Vec<Ensured>, DeviceError> {
        let key = match self.base.private_key {
            Some(key) => key,
            None => *self.base.private_key.insert(keys::ensure_private_key(&self.config.state_dir)?),
        };
        let socket = match &mut self.kernel.wireguard {
            Some(socket) => socket,
            none => none.insert(WireGuard::open()?),
        };
        let mut links = Vec::new();
        for (tunnel, address) in layout::tunnels(&self.config, &self.network, &self.node, subnets) {
            let port = if address.is_ipv4() { wireguard.port } else { wireguard.port_v6 };
            links.push(tunnel.ensure_wireguard(&mut self.kernel.netlink, socket, &key, port)?);
        }
        Ok(links)
    }

    pub(super) fn ensure_relay(&mut self, subnets: &[IpNet], port: u16) -> Result<Vec<Ensured>, DeviceError> {
        let mut links = Vec::new();
        for (tunnel, address) in layout::tunnels(&self.config, &self.network, &self.node, subnets) {
            if let IpAddr::V4(local) = address {
                let local = SocketAddrV4::new(local, port);
                links.push(tunnel.ensure_relay(&mut self.kernel.netlink, &mut self.kernel.relay, local)?);
            }
        }
        Ok(links)
    }
}
