//! CHECK: whether the limits are as ADD set them.

use libcni::plugin::{Attachment, Call};
use linuxnet::NetlinkError;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::Netlink;

use crate::conf::{Conf, Limit};
use crate::error::BandwidthError;
use crate::ifb::{self, Owner};
use crate::veth;

/// Compares the kernel with the configuration, and tells all differences.
pub(crate) fn check(call: &Call<'_>, attachment: &Attachment) -> Result<(), BandwidthError> {
    let conf = Conf::load(call)?;
    if call.config.prev_result.is_none() {
        return Err(BandwidthError::PrevResultMissing);
    }
    if conf.is_empty() {
        return Ok(());
    }
    let mut host = Netlink::open()?;
    let end = veth::host_end(&mut host, attachment)?;
    let mut differences = Vec::new();
    if let Some(limit) = conf.ingress {
        differences.extend(compare(&mut host, &end, limit)?);
    }
    if let Some(limit) = conf.egress {
        let ifbs = ifb::find(&mut host, &Owner::of(call, attachment), call)?;
        differences.extend(compare_egress(&mut host, &end, &ifbs, limit)?);
    }
    if differences.is_empty() { Ok(()) } else { Err(BandwidthError::Differs(differences.join("; "))) }
}

/// How the way of what the container sends differs.
fn compare_egress(host: &mut Netlink, end: &Link, ifbs: &[Link], limit: Limit) -> Result<Vec<String>, NetlinkError> {
    let targets = host.redirections(Dev::from(end))?;
    let Some(ifb) = ifbs.iter().find(|ifb| targets.contains(&ifb.index)).or(ifbs.first()) else {
        return Ok(vec![format!("the ifb that limits what {} brings from the container is gone", end.name)]);
    };
    let mut differences = compare(host, ifb, limit)?;
    if !ifb.is_up {
        differences.push(format!("{} is down", ifb.name));
    }
    if targets.first() != Some(&ifb.index) {
        differences.push(format!("what comes in by {} is not redirected to {}", end.name, ifb.name));
    }
    Ok(differences)
}

/// How the limit of a link differs.
fn compare(host: &mut Netlink, link: &Link, limit: Limit) -> Result<Vec<String>, NetlinkError> {
    let name = &link.name;
    let qdisc = host.root_qdisc(Dev::from(link))?;
    let Some(found) = qdisc.as_ref().and_then(|qdisc| qdisc.tbf) else {
        let kind = qdisc.map_or_else(|| "none".to_owned(), |qdisc| qdisc.kind);
        return Ok(vec![format!("{name} has no limit: its queueing discipline is {kind} instead of tbf")]);
    };
    let wanted = limit.tbf();
    let mut differences = Vec::new();
    if found.rate != wanted.rate {
        differences.push(format!("the rate of {name} is {} bits/s instead of {}", found.rate * 8, wanted.rate * 8));
    } else if !wanted.has_burst_of(&found) {
        // The kernel tells a burst as time, which means nothing at another rate.
        let burst = u64::from(wanted.burst) * 8;
        differences.push(format!("the burst of {name} is {} bits instead of {burst}", found.burst() * 8));
    }
    if found.limit != wanted.limit {
        differences.push(format!("the queue of {name} holds {} bytes instead of {}", found.limit, wanted.limit));
    }
    Ok(differences)
}
