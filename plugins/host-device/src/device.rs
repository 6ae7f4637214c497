//! Which link of the host the configuration means.

use std::fmt;
use std::path::PathBuf;

use libcni::types::MacAddr;
use linuxnet::link::Link;
use linuxnet::netlink::Netlink;

use crate::error::HostDeviceError;
use crate::sysfs::{Sysfs, SysfsError};

/// How the configuration names the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// `device`: its name, or an alternative one.
    Name(String),
    /// `hwaddr`: its Ethernet address.
    Mac(MacAddr),
    /// `kernelpath`: its directory below /sys/devices.
    KernelPath(PathBuf),
    /// `pciBusID`, or a `deviceID` of the PCI bus.
    Pci(String),
    /// A `deviceID` of the auxiliary bus.
    Auxiliary(String),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "with the name {name}"),
            Self::Mac(mac) => write!(f, "with the MAC address {mac}"),
            Self::KernelPath(path) => write!(f, "at {}", path.display()),
            Self::Pci(address) => write!(f, "of PCI device {address}"),
            Self::Auxiliary(name) => write!(f, "of auxiliary device {name}"),
        }
    }
}

impl Selector {
    /// The link, which must be on the host.
    pub(crate) fn find(&self, host: &mut Netlink, sysfs: &Sysfs) -> Result<Link, HostDeviceError> {
        let names = match self {
            Self::Name(name) => Ok(vec![name.clone()]),
            Self::Mac(_) => Ok(Vec::new()),
            Self::KernelPath(path) => sysfs.links_of_path(path),
            Self::Pci(address) => sysfs.links_of_pci(address),
            Self::Auxiliary(name) => sysfs.links_of_auxiliary(name),
        };
        let names = names.map_err(|source: SysfsError| self.not_found(Some(source)))?;
        let is_named =
            |link: &Link| names.contains(&link.name) || names.iter().any(|name| link.alt_names.contains(name));
        let is_meant = |link: &Link| match self {
            Self::Mac(mac) => link.mac == Some(*mac),
            _ => is_named(link),
        };
        host.links()?.into_iter().find(is_meant).ok_or_else(|| self.not_found(None))
    }

    fn not_found(&self, source: Option<SysfsError>) -> HostDeviceError {
        HostDeviceError::NotFound { selector: self.to_string(), source }
    }
}
