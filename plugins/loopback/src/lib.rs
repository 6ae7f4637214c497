//! The CNI plugin `loopback`: brings up `lo` in the container, whatever `CNI_IFNAME` says.

mod error;

use ipnet::IpNet;
use libcni::netns::{Netns, NetnsError};
use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId, Interface, IpConfig, MacAddr};
use linuxnet::link::{self, Dev, Link};
use linuxnet::netlink::Netlink;

pub use crate::error::LoopbackError;

/// The plugin `loopback`.
#[derive(Clone, Copy, Debug)]
pub struct Loopback;

impl Plugin for Loopback {
    type Error = LoopbackError;

    fn name(&self) -> &'static str {
        "loopback"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, LoopbackError> {
        let mut container = Netlink::open_in(&Netns::open(attachment.sandbox())?)?;
        let was_up = find(&mut container)?.is_up;
        container.run(link::set_up(Dev::LOOPBACK))?;
        let addresses = loopback_addresses(&mut container);
        if addresses.is_err() && !was_up {
            // The first error is the one to tell.
            let _ = container.run(link::set_down(Dev::LOOPBACK));
        }
        let addresses = addresses?;
        Ok(call.config.prev_result.clone().unwrap_or_else(|| result(attachment, &addresses)))
    }

    fn del(&self, _call: &Call<'_>, attachment: &Attachment) -> Result<(), LoopbackError> {
        match attachment.netns.as_deref().map(Netns::open) {
            None | Some(Err(NetnsError::NotFound(_))) => Ok(()),
            Some(netns) => Ok(Netlink::open_in(&netns?)?.run(link::set_down(Dev::LOOPBACK))?),
        }
    }

    fn check(&self, _call: &Call<'_>, attachment: &Attachment) -> Result<(), LoopbackError> {
        let mut container = Netlink::open_in(&Netns::open(attachment.sandbox())?)?;
        if find(&mut container)?.is_up { Ok(()) } else { Err(LoopbackError::Down) }
    }

    /// Nothing: `lo` ends with its namespace.
    fn gc(&self, _call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), LoopbackError> {
        Ok(())
    }

    /// Always able: `lo` needs nothing of the host.
    fn status(&self, _call: &Call<'_>) -> Result<(), LoopbackError> {
        Ok(())
    }
}

fn find(container: &mut Netlink) -> Result<Link, LoopbackError> {
    container.find_link_by_index(Dev::LOOPBACK.index)?.ok_or(LoopbackError::Missing)
}

/// The addresses of `lo`, which must all be loopback addresses.
fn loopback_addresses(container: &mut Netlink) -> Result<Vec<IpNet>, LoopbackError> {
    let addresses: Vec<IpNet> = container.addresses(Dev::LOOPBACK)?.into_iter().map(|address| address.net).collect();
    match addresses.iter().find(|net| !net.addr().is_loopback()) {
        Some(foreign) => Err(LoopbackError::ForeignAddress(*foreign)),
        None => Ok(addresses),
    }
}

/// `lo` with the first address of each family.
fn result(attachment: &Attachment, addresses: &[IpNet]) -> AddResult {
    let interface = Interface {
        name: Dev::LOOPBACK.name.to_owned(),
        mac: MacAddr::ZERO.to_string(),
        sandbox: attachment.sandbox().display().to_string(),
        ..Interface::default()
    };
    let first = |wanted: fn(&&IpNet) -> bool| addresses.iter().find(wanted);
    let ips = [first(|net| net.addr().is_ipv4()), first(|net| net.addr().is_ipv6())]
        .into_iter()
        .flatten()
        .map(|&address| IpConfig { address, gateway: None, interface: Some(0) })
        .collect();
    AddResult { interfaces: vec![interface], ips, ..AddResult::default() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_that_of_all_plugins() {
        schemas::Schema::of_plugin("loopback", env!("CARGO_PKG_DESCRIPTION")).assert_is_current();
    }
}
