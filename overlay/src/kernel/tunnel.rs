//! Our links of the other backends: without hardware addresses, one for each family.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::IpNet;
use linuxnet::link::{Dev, Ipip, Link};
use linuxnet::netlink::Netlink;
use linuxnet::wireguard::{PublicKey, SecretKey, WireGuard};

use crate::event::Device;
use crate::relay::Relay;

use super::device::{DeviceError, Ensured, settle};

/// A link as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) name: String,
    /// In bytes.
    pub(crate) mtu: u32,
    /// All that it has, but for link-local ones.
    pub(crate) addresses: Vec<IpNet>,
}

impl Tunnel {
    /// Has a tunnel of IP in IP be there that sends from `local`; one that cannot be changed into it is made anew.
    pub(crate) fn ensure_ipip(&self, netlink: &mut Netlink, local: Ipv4Addr) -> Result<Ensured, DeviceError> {
        let expected = Ipip { local: Some(local), lower: None, has_other_options: false };
        let mut found = self.find(netlink, "ipip", "tunnel of IP in IP")?;
        // flannel's may name the interface, too.
        let serves = |there: Ipip| Ipip { lower: None, ..there } == expected;
        if let Some(link) = found.take_if(|link| !link.ipip.is_some_and(serves)) {
            netlink.remove_link(Dev::from(&link))?;
        }
        let is_new = found.is_none();
        if is_new {
            netlink.create_ipip(&self.name, Some(self.mtu), local)?;
        }
        self.settle(netlink, is_new)
    }

    /// Has a WireGuard link be there with this key and UDP port.
    pub(crate) fn ensure_wireguard(
        &self,
        netlink: &mut Netlink,
        wireguard: &mut WireGuard,
        key: &SecretKey,
        port: u16,
    ) -> Result<Ensured, DeviceError> {
        let is_new = self.create_wireguard(netlink)?;
        let link = self.there(netlink)?;
        let device = wireguard.device(Dev::from(&link))?;
        let is_different = device.private_key != Some(*key) || device.port != port;
        if is_different {
            wireguard.set_device(Dev::from(&link), key, port)?;
        }
        let mut ensured = self.settle(netlink, is_new)?;
        if is_different {
            ensured.changes.push(format!("set the key of {} and its UDP port {port}", self.name));
        }
        Ok(ensured)
    }

    /// The public key that the kernel makes of a private one, by way of the link.
    pub(crate) fn public_key(&self, key: &SecretKey) -> Result<PublicKey, DeviceError> {
        let mut netlink = Netlink::open()?;
        self.create_wireguard(&mut netlink)?;
        let link = self.there(&mut netlink)?;
        // The kernel knows WireGuard once it has a link.
        let mut wireguard = WireGuard::open()?;
        let device = wireguard.device(Dev::from(&link))?;
        if device.private_key != Some(*key) {
            wireguard.set_device(Dev::from(&link), key, device.port)?;
        }
        wireguard.device(Dev::from(&link))?.public_key.ok_or_else(|| DeviceError::Gone(self.name.clone()))
    }

    /// Has the link be there; true if it was not.
    fn create_wireguard(&self, netlink: &mut Netlink) -> Result<bool, DeviceError> {
        let is_new = self.find(netlink, "wireguard", "WireGuard link")?.is_none();
        if is_new {
            netlink.create_wireguard(&self.name, Some(self.mtu))?;
        }
        Ok(is_new)
    }

    /// Has `relay` carry packets by its device and from `local`.
    pub(crate) fn ensure_relay(
        &self,
        netlink: &mut Netlink,
        relay: &mut Option<Relay>,
        local: SocketAddrV4,
    ) -> Result<Ensured, DeviceError> {
        relay.take_if(|relay| !relay.is_running() || relay.local() != local);
        let is_new = relay.is_none();
        if is_new {
            // The device of another process, of flannel that still runs.
            if let Some(Link { name, kind, .. }) = netlink.find_link(&self.name)? {
                return Err(DeviceError::Foreign { name, kind, wanted: "device of this process" });
            }
            *relay = Some(Relay::start(&self.name, local)?);
        }
        self.settle(netlink, is_new)
    }

    /// The link of this name, which must be of this kind.
    fn find(&self, netlink: &mut Netlink, kind: &str, wanted: &'static str) -> Result<Option<Link>, DeviceError> {
        match netlink.find_link(&self.name)? {
            Some(Link { name, kind: found, .. }) if found != kind => {
                Err(DeviceError::Foreign { name, kind: found, wanted })
            }
            found => Ok(found),
        }
    }

    fn there(&self, netlink: &mut Netlink) -> Result<Link, DeviceError> {
        netlink.find_link(&self.name)?.ok_or_else(|| DeviceError::Gone(self.name.clone()))
    }

    fn settle(&self, netlink: &mut Netlink, is_new: bool) -> Result<Ensured, DeviceError> {
        let link = self.there(netlink)?;
        let changes = settle(netlink, &link, self.mtu, &self.addresses, Vec::new())?;
        Ok(Ensured { device: Device { index: link.index, name: link.name }, is_new, changes })
    }
}
