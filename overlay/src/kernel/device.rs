//! Our links: made, taken over from flannel, put right.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::MacAddr;
use linuxnet::NetlinkError;
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Dev, Link, LinkError, Vnis, Vxlan};
use linuxnet::netlink::{Batch, Netlink, Request};
use linuxnet::sysctl::{self, SysctlError};

use crate::event::Device;
use crate::keys::KeyError;
use crate::relay::RelayError;

/// A VXLAN link as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VxlanDevice {
    pub(crate) name: String,
    pub(crate) vxlan: Vxlan,
    pub(crate) vni: u32,
    pub(crate) mac: MacAddr,
    /// In bytes.
    pub(crate) mtu: u32,
    /// All that it has, but for link-local ones.
    pub(crate) addresses: Vec<IpNet>,
}

/// Why a link of ours is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("link {name} exists and is no {wanted} (it is {kind}); hint: kernel.device names another")]
    Foreign { name: String, kind: String, wanted: &'static str },
    #[error("link {0} is gone again as soon as it was made")]
    Gone(String),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// What was done to have a link as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ensured {
    pub(crate) device: Device,
    /// It was made, and nothing is on it.
    pub(crate) is_new: bool,
    /// What was put right, in words.
    pub(crate) changes: Vec<String>,
}

/// Has the link be there and as `wanted`. One of this name that cannot be changed into it (another VNI, port, address to
/// send from, kind of programming) is made anew; what can be changed in place is, so that flannel's device serves on.
pub(crate) fn ensure_vxlan(netlink: &mut Netlink, wanted: &VxlanDevice) -> Result<Ensured, DeviceError> {
    let (link, is_new) = match netlink.find_link(&wanted.name)? {
        Some(link) if link.vxlan == Some(wanted.vxlan) => (link, false),
        Some(link) if link.kind != "vxlan" => {
            return Err(DeviceError::Foreign { name: link.name, kind: link.kind, wanted: "VXLAN link" });
        }
        other => {
            if let Some(link) = other {
                netlink.remove_link(Dev::from(&link))?;
            }
            (create(netlink, wanted)?, true)
        }
    };
    let changes = put_right(netlink, &link, wanted)?;
    Ok(Ensured { device: Device { index: link.index, name: link.name }, is_new, changes })
}

fn create(netlink: &mut Netlink, wanted: &VxlanDevice) -> Result<Link, DeviceError> {
    netlink.create_vxlan(&wanted.name, Some(wanted.mac), Some(wanted.mtu), &wanted.vxlan)?;
    let link = netlink.find_link(&wanted.name)?.ok_or_else(|| DeviceError::Gone(wanted.name.clone()))?;
    // Nobody speaks to it by such an address; without one it sends nothing by itself. A kernel without IPv6 has none.
    if link.ipv6.is_some() {
        netlink.run(link::set_link_local(Dev::from(&link), false))?;
    }
    Ok(link)
}

/// Changes in place what can be.
fn put_right(netlink: &mut Netlink, link: &Link, wanted: &VxlanDevice) -> Result<Vec<String>, DeviceError> {
    let dev = Dev::from(link);
    let mut requests = Vec::new();
    if link.mac != Some(wanted.mac) {
        requests.push(link::set_mac(dev, wanted.mac));
    }
    if wanted.vxlan.vnis == (Vnis::External { filter: true }) {
        let vnis = netlink.vnis(dev)?;
        requests.extend(
            vnis.iter().filter(|range| **range != (wanted.vni..=wanted.vni)).map(|range| link::remove_vnis(dev, range)),
        );
        if !vnis.contains(&(wanted.vni..=wanted.vni)) {
            requests.push(link::add_vni(dev, wanted.vni));
        }
    }
    settle(netlink, link, wanted.mtu, &wanted.addresses, requests)
}

/// Does `requests`, and has the link be up with this MTU (bytes), with these addresses and no others.
pub(super) fn settle(
    netlink: &mut Netlink,
    link: &Link,
    mtu: u32,
    addresses: &[IpNet],
    mut requests: Vec<Request>,
) -> Result<Vec<String>, DeviceError> {
    let dev = Dev::from(link);
    if link.mtu != mtu {
        requests.push(link::set_mtu(dev, mtu));
    }
    if addresses.iter().any(|net| net.addr().is_ipv6()) && link.ipv6.is_some_and(|ipv6| ipv6.disabled) {
        sysctl::ensure(&format!("net/ipv6/conf/{}/disable_ipv6", link.name), "0")?;
    }
    let there: Vec<IpNet> = netlink.addresses(dev)?.into_iter().map(|address| address.net).collect();
    let strangers = there.iter().filter(|net| !addresses.contains(net) && !is_link_local(net.addr()));
    requests.extend(strangers.map(|net| addr::remove(dev, *net)));
    let missing = addresses.iter().filter(|net| !there.contains(net));
    requests.extend(missing.map(|net| addr::add(dev, *net, Dad::Skip)));
    if !link.is_up {
        requests.push(link::set_up(dev));
    }
    // In a container they can be read alone. No advertisement comes here anyway: nothing is flooded to this device.
    if sysctl::require_writable().is_ok() {
        sysctl::ignore_router_advertisements(&link.name)?;
    }
    sysctl::enable_forwarding(addresses.iter().map(IpNet::addr))?;
    let changes = requests.iter().map(|request| request.doing().to_owned()).collect();
    requests.into_iter().collect::<Batch>().send(netlink)?;
    Ok(changes)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
