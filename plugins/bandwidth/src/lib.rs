//! The CNI plugin `bandwidth`: limits what a container sends and receives.

mod check;
mod conf;
mod error;
mod ifb;
mod veth;

use libcni::error::Failures;
use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId};
use libcni::version::SpecVersion;
use linuxnet::attach::on_host;
use linuxnet::link::{self, Dev, Link};
use linuxnet::netlink::{Batch, Netlink};
use linuxnet::tag::Valid;
use linuxnet::tc;
use linuxnet::undo::Undo;

use crate::conf::Conf;
pub use crate::error::BandwidthError;
use crate::ifb::Owner;

/// The plugin `bandwidth`.
#[derive(Clone, Copy, Debug)]
pub struct Bandwidth;

impl Plugin for Bandwidth {
    type Error = BandwidthError;

    fn name(&self) -> &'static str {
        "bandwidth"
    }

    /// Those whose results have interfaces, as the reference has it.
    fn versions(&self) -> &'static [SpecVersion] {
        &[SpecVersion::V0_3_0, SpecVersion::V0_3_1, SpecVersion::V0_4_0, SpecVersion::V1_0_0, SpecVersion::V1_1_0]
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, BandwidthError> {
        let conf = Conf::load(call)?;
        let mut result = call.config.prev_result.clone().ok_or(BandwidthError::NotChained)?;
        if conf.is_empty() {
            return Ok(result);
        }
        let mut host = Netlink::open()?;
        let end = veth::host_end(&mut host, attachment)?;
        if conf.ingress.is_some() {
            veth::require_free(&mut host, &end)?;
        }
        warn_of_small_bursts(call, &conf, &end);
        let mut undo = Undo::new();
        let ifb = match conf.egress {
            Some(_) => Some(ensure_ifb(call, attachment, &mut host, &end, &mut undo)?),
            None => None,
        };
        undo.checkpoint()?;
        push_undo_of_limits(&end, ifb.as_ref(), &mut undo);
        limits(&conf, &end, ifb.as_ref()).send(&mut host)?;
        undo.checkpoint()?;
        if let Some(ifb) = ifb.filter(|ifb| !result.host_interfaces().any(|known| known.name == ifb.name)) {
            result.interfaces.push(on_host(&ifb));
        }
        undo.commit();
        Ok(result)
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), BandwidthError> {
        let mut host = Netlink::open()?;
        let ifbs = ifb::find(&mut host, &Owner::of(call, attachment), call)?;
        let mut failures = Failures::new();
        // First, so that what the container still sends is not lost.
        failures.note(free(&mut host, attachment, &ifbs));
        for ifb in &ifbs {
            failures.note(host.remove_link(Dev::from(ifb)));
        }
        failures.into_result(BandwidthError::Several)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), BandwidthError> {
        check::check(call, attachment)
    }

    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), BandwidthError> {
        Ok(ifb::collect_garbage(&mut Netlink::open()?, &Valid::new(&call.config.name, valid))?)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), BandwidthError> {
        Conf::load(call)?;
        Netlink::open()?;
        Ok(())
    }
}

/// The attachment's ifb, with its undoing.
fn ensure_ifb(
    call: &Call<'_>,
    attachment: &Attachment,
    host: &mut Netlink,
    end: &Link,
    undo: &mut Undo<'_>,
) -> Result<Link, BandwidthError> {
    let ifb = ifb::ensure(host, &Owner::of(call, attachment), end)?;
    let unwanted = ifb.clone();
    undo.push(format!("remove link {}", ifb.name), move || Ok(Netlink::open()?.remove_link(Dev::from(&unwanted))?));
    Ok(ifb)
}

/// Packets that are larger than the burst never pass. It may be meant so, so it is no error.
fn warn_of_small_bursts(call: &Call<'_>, conf: &Conf, end: &Link) {
    for (direction, limit) in [("ingress", conf.ingress), ("egress", conf.egress)] {
        if let Some(burst) = limit.map(|limit| limit.tbf().burst).filter(|&burst| burst < end.mtu) {
            let mtu = end.mtu;
            call.warn(format_args!(
                "{direction}Burst is {burst} bytes: packets up to the MTU of {mtu} bytes are dropped"
            ));
        }
    }
}

/// What limits the container, in an order in which nothing passes by a way that is not limited yet.
fn limits(conf: &Conf, end: &Link, ifb: Option<&Link>) -> Batch {
    let mut changes = Batch::new();
    if let Some(limit) = conf.ingress {
        changes.push(tc::set_tbf(end, &limit.tbf()));
    }
    if let (Some(limit), Some(ifb)) = (conf.egress, ifb) {
        let (dev, end) = (Dev::from(ifb), Dev::from(end));
        changes.push(tc::set_tbf(ifb, &limit.tbf()));
        changes.push(link::set_up(dev));
        changes.push(tc::ensure_ingress(end));
        changes.push(tc::redirect(end, dev));
    }
    changes
}

fn push_undo_of_limits(end: &Link, ifb: Option<&Link>, undo: &mut Undo<'_>) {
    let (end, ifbs) = (end.clone(), Vec::from_iter(ifb.cloned()));
    undo.push(format!("remove the limits of {}", end.name), move || {
        Ok(veth::free(&mut Netlink::open()?, Dev::from(&end), &ifbs)?)
    });
}

/// Lets the container send and receive without limits, if it is still there.
fn free(host: &mut Netlink, attachment: &Attachment, ifbs: &[Link]) -> Result<(), BandwidthError> {
    match veth::find_host_end(host, attachment)? {
        Some(end) => Ok(veth::free(host, Dev::from(&end), ifbs)?),
        None => Ok(()),
    }
}
