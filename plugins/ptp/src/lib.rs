//! The CNI plugin `ptp`: a point-to-point link between a container and its host. All that a container sends goes to the
//! host, also what is for its neighbours.

mod check;
mod conf;
mod error;
mod host_end;

use libcni::error::Failures;
use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::attach::{self, Sandbox};
use linuxnet::iface::{self, Subnets};
use linuxnet::link::{self, Dev, Veth};
use linuxnet::masq::Masquerade;
use linuxnet::netlink::Netlink;
use linuxnet::nft::Nfnetlink;
use linuxnet::sysctl;
use linuxnet::tag::{Tag, Valid};
use linuxnet::undo::Undo;

use crate::conf::Conf;
pub use crate::error::PtpError;

/// The kind of the link.
const KIND: &str = "veth";
/// Index of the container's end in the result's `interfaces`: host's end, container's end.
const CONTAINER_INTERFACE: usize = 1;

/// The plugin `ptp`.
#[derive(Clone, Copy, Debug)]
pub struct Ptp;

impl Plugin for Ptp {
    type Error = PtpError;

    fn name(&self) -> &'static str {
        "ptp"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, PtpError> {
        let conf = Conf::load(call)?;
        let mut sandbox = Sandbox::open(attachment)?;
        sandbox.require_free_name()?;
        let tag = Tag::new(&call.config.name, &attachment.id);

        let ipam = call.ipam()?;
        let mut undo = Undo::new();
        let mut host = Netlink::open()?;
        // Both ends get their addresses here, since udev changes those that the kernel made.
        let veth = Veth {
            mac: Some(link::random_mac()?),
            host_mac: Some(link::random_mac()?),
            mtu: conf.mtu,
            ..Veth::new(attachment.ifname(), &sandbox.netns)
        };
        let host_end = host.create_owned_veth(veth, &tag)?;
        let undone = host_end.clone();
        undo.push(
            format!("remove link {}", undone.name),
            move || Ok(Netlink::open()?.remove_link(Dev::from(&undone))?),
        );
        host_end::own(call, &mut host, &host_end, &tag)?;
        undo.checkpoint()?;

        let mut result = attach::addresses(ipam.as_ref(), CONTAINER_INTERFACE, &mut undo)?;
        let gone = || PtpError::Differs(format!("the other end of {} is gone", host_end.name));
        let container_end = sandbox.interface()?.ok_or_else(gone)?;
        result.interfaces = vec![attach::on_host(&host_end), attach::in_container(&container_end, attachment)];
        undo.checkpoint()?;
        let forwarded = result.ips.iter().map(|ip| ip.address.addr());
        sysctl::enable_forwarding(forwarded).map_err(PtpError::Forwarding)?;
        host_end::configure(&mut host, &host_end, &result.ips)?;
        let options = iface::Options { subnets: Subnets::ViaGateway, ..iface::Options::default() };
        iface::apply(&mut sandbox.netlink, &sandbox.netns, &container_end, &mut result, options)?;
        undo.checkpoint()?;
        conf.masquerade.add(call, attachment, &result, &mut undo)?;
        result.dns = call.config.dns.clone().or(result.dns);
        undo.commit();
        Ok(result)
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), PtpError> {
        let tag = Tag::new(&call.config.name, &attachment.id);
        let mut failures = Failures::new();
        // Rules first, and their socket open until the end: its closing waits for the same grace period as the
        // removal of the link.
        let mut rules = open_nftables(&mut failures);
        if let Some(nft) = &mut rules {
            failures.note(Masquerade::new(nft).remove(call, attachment));
        }
        attach::detach(call, attachment, &mut failures, |found| match found {
            Some(link) if link.kind == KIND => Ok(()),
            // The container's end is gone, has been renamed, or was replaced by something else.
            _ => Ok(Netlink::open()?.remove_owned_veth(&tag)?),
        });
        drop(rules);
        failures.into_result(PtpError::Several)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), PtpError> {
        check::check(call, attachment)
    }

    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), PtpError> {
        let valid = Valid::new(&call.config.name, valid);
        let mut failures = Failures::new();
        if let Some(mut nft) = open_nftables(&mut failures) {
            failures.note(Masquerade::new(&mut nft).gc(&valid));
        }
        failures.note(Netlink::open().and_then(|mut host| host.remove_stale(KIND, &valid)));
        failures.note(call.forward_to_ipam(Delegate::gc));
        failures.into_result(PtpError::Several)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), PtpError> {
        Conf::load(call)?.masquerade.status()?;
        Ok(call.forward_to_ipam(Delegate::status)?)
    }
}

/// A socket to remove rules by. `None`: there are none, or the failure is noted.
fn open_nftables(failures: &mut Failures<PtpError>) -> Option<Nfnetlink> {
    let opened = Nfnetlink::open_if_supported();
    opened.unwrap_or_else(|e| {
        failures.note::<()>(Err(e));
        None
    })
}
