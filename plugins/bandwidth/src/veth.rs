//! The container's veth. All that it sends and receives passes the end on the host.

use libcni::plugin::Attachment;
use linuxnet::NetlinkError;
use linuxnet::attach::Sandbox;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::tc::GONE;

use crate::error::BandwidthError;

/// The kind of link that can be limited.
const KIND: &str = "veth";

/// The end on the host, found by the container's interface: its name may have changed since the result.
pub(crate) fn host_end(host: &mut Netlink, attachment: &Attachment) -> Result<Link, BandwidthError> {
    let mut sandbox = Sandbox::open(attachment)?;
    let name = attachment.ifname();
    let inside = sandbox.interface()?.ok_or_else(|| BandwidthError::NoInterface(name.to_owned()))?;
    if inside.kind != KIND {
        return Err(BandwidthError::NotAVeth { name: inside.name, kind: inside.kind });
    }
    let end = host.find_other_end(&inside, &sandbox.netns)?;
    end.ok_or(BandwidthError::PeerElsewhere { name: inside.name })
}

/// The same for DEL, if it is still there.
pub(crate) fn find_host_end(host: &mut Netlink, attachment: &Attachment) -> Result<Option<Link>, BandwidthError> {
    let Some(mut sandbox) = Sandbox::find(attachment)? else { return Ok(None) };
    let Some(inside) = sandbox.interface()?.filter(|link| link.kind == KIND) else { return Ok(None) };
    Ok(host.find_other_end(&inside, &sandbox.netns)?)
}

/// Refuses to replace what somebody else has the end on the host send by. (What the kernel chose has no handle.)
pub(crate) fn require_free(host: &mut Netlink, end: &Link) -> Result<(), BandwidthError> {
    match host.root_qdisc(Dev::from(end))? {
        Some(qdisc) if qdisc.handle != 0 && qdisc.tbf.is_none() => {
            Err(BandwidthError::OtherQueue { link: end.name.clone(), kind: qdisc.kind })
        }
        _ => Ok(()),
    }
}

/// Removes from the end on the host what ADD put there: the token bucket, and the redirection to one of `ifbs`, or to one
/// that an earlier DEL removed: it would drop all that the container sends.
pub(crate) fn free(host: &mut Netlink, end: Dev<'_>, ifbs: &[Link]) -> Result<(), NetlinkError> {
    let is_ours = |target: &u32| *target == GONE || ifbs.iter().any(|ifb| ifb.index == *target);
    if host.redirections(end)?.iter().any(is_ours) {
        host.remove_ingress(end)?;
    }
    host.remove_tbf(end)
}
