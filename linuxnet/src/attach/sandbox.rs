//! The container's network namespace, with a socket in it.

use libcni::netns::{Netns, NetnsError};
use libcni::plugin::Attachment;

use crate::addr;
use crate::error::NetlinkError;
use crate::link::{Dev, Link, LinkError};
use crate::netlink::{Batch, Netlink};

use super::AttachError;

/// The container's namespace.
#[derive(Debug)]
pub struct Sandbox {
    /// The namespace.
    pub netns: Netns,
    /// A socket in it.
    pub netlink: Netlink,
    pub(super) ifname: String,
}

impl Sandbox {
    /// Opens the namespace of `attachment`, which must be there: for ADD and CHECK.
    ///
    /// # Errors
    /// If it is not there, is no network namespace, or cannot be entered.
    pub fn open(attachment: &Attachment) -> Result<Self, AttachError> {
        let netns = Netns::open(attachment.sandbox())?;
        let netlink = Netlink::open_in(&netns)?;
        Ok(Self { netns, netlink, ifname: attachment.ifname().to_owned() })
    }

    /// Opens the namespace of `attachment` if it is still there: for DEL, which comes without one, too.
    ///
    /// # Errors
    /// If it is there and is no network namespace, or cannot be entered.
    pub fn find(attachment: &Attachment) -> Result<Option<Self>, AttachError> {
        match attachment.netns.as_deref().map(Netns::open) {
            None | Some(Err(NetnsError::NotFound(_))) => Ok(None),
            Some(Err(e)) => Err(e.into()),
            Some(Ok(netns)) => {
                let netlink = Netlink::open_in(&netns)?;
                Ok(Some(Self { netns, netlink, ifname: attachment.ifname().to_owned() }))
            }
        }
    }

    /// Refuses the attachment's interface name if the container has it already. To be asked before IPAM is: a second
    /// ADD must fail before it asks for a second address, since IPAM refuses that and then gives back the first one.
    ///
    /// # Errors
    /// [`LinkError::ContainerNameTaken`]
    pub fn require_free_name(&mut self) -> Result<(), AttachError> {
        match self.interface()? {
            Some(_) => Err(LinkError::ContainerNameTaken { name: self.ifname.clone() }.into()),
            None => Ok(()),
        }
    }

    /// The attachment's interface, if it is there.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn interface(&mut self) -> Result<Option<Link>, NetlinkError> {
        self.netlink.find_link(&self.ifname)
    }

    /// Removes the attachment's interface, if it is there.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_interface(&mut self) -> Result<(), NetlinkError> {
        self.interface()?.map_or(Ok(()), |link| self.netlink.remove_link(Dev::from(&link)))
    }

    /// Takes its addresses from the attachment's interface (`ip address flush dev IFNAME scope global`), which is
    /// left up. Gives the interface, if it is there.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn withdraw(&mut self) -> Result<Option<Link>, NetlinkError> {
        let Some(link) = self.interface()? else { return Ok(None) };
        let dev = Dev::from(&link);
        let is_link_local =
            |net: &ipnet::IpNet| matches!(net, ipnet::IpNet::V6(v6) if v6.addr().is_unicast_link_local());
        let addresses = self.netlink.addresses(dev)?.into_iter().map(|address| address.net);
        let changes: Batch = addresses.filter(|net| !is_link_local(net)).map(|net| addr::remove(dev, net)).collect();
        match changes.send(&mut self.netlink) {
            // With an address, the kernel drops those that are secondary to it.
            Err(e) if e.is_not_found() => Ok(Some(link)),
            done => done.map(|()| Some(link)),
        }
    }
}
