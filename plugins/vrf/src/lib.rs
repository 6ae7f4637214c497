//! The CNI plugin `vrf`: puts the container's interface into a VRF (virtual routing and forwarding), where it has a
//! routing table of its own.

mod check;
mod conf;
mod device;
mod error;
mod port;

use libcni::error::{CniError, Failures};
use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId};
use libcni::version::SpecVersion;
use linuxnet::attach::Sandbox;
use linuxnet::link::{self, Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::undo::Undo;

use crate::conf::Conf;
pub use crate::error::VrfError;
use crate::port::Saved;

/// The plugin `vrf`.
#[derive(Clone, Copy, Debug)]
pub struct Vrf;

impl Plugin for Vrf {
    type Error = VrfError;

    fn name(&self) -> &'static str {
        "vrf"
    }

    /// As the reference.
    fn versions(&self) -> &'static [SpecVersion] {
        &[SpecVersion::V0_3_1, SpecVersion::V0_4_0, SpecVersion::V1_0_0, SpecVersion::V1_1_0]
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, VrfError> {
        let conf = Conf::load(call)?;
        let result = call.config.prev_result.as_ref().ok_or(VrfError::NotChained)?;
        let mut sandbox = Sandbox::open(attachment)?;
        // Two of one container must not choose the same table, nor one remove the VRF that the other is about to use.
        let _lock = sandbox.netns.lock()?;
        let link = sandbox.interface()?.ok_or_else(|| VrfError::NoInterface(attachment.ifname().to_owned()))?;
        let Sandbox { netlink, netns, .. } = &mut sandbox;
        require_no_master(netlink, &link)?;
        let dev = Dev::from(&link);
        let saved = Saved::of(netlink, dev)?;

        let mut undo = Undo::new();
        let vrf = device::ensure(netlink, netns, &conf, &mut undo)?;
        undo.checkpoint()?;
        undo.push(format!("take {} from VRF {}", dev.name, conf.name), || {
            Ok(port::release(&mut Netlink::open_in(netns)?, dev, &saved)?)
        });
        port::enslave(netlink, dev, &saved, &vrf)?;
        undo.checkpoint()?;
        undo.commit();
        Ok(saved.report(result, &vrf))
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), VrfError> {
        let Some(mut sandbox) = Sandbox::find(attachment)? else { return Ok(()) };
        let _lock = sandbox.netns.lock()?;
        let link = sandbox.interface()?;
        let Some(vrf) = vrf_of(call, &mut sandbox.netlink, link.as_ref())? else { return Ok(()) };
        let mut failures = Failures::new();
        if let Some(link) = link.filter(|link| link.master == Some(vrf.link.index)) {
            failures.note(sandbox.netlink.run(link::clear_master(Dev::from(&link))));
        }
        failures.note(device::remove_unused(&mut sandbox.netlink, &vrf));
        failures.into_result(VrfError::Several)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), VrfError> {
        check::check(call, attachment)
    }

    /// Nothing: VRFs are the container's namespace's, and end with it.
    fn gc(&self, _call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), VrfError> {
        Ok(())
    }

    fn status(&self, call: &Call<'_>) -> Result<(), VrfError> {
        Conf::load(call)?;
        match Netlink::open().and_then(|mut host| host.knows_vrfs()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(VrfError::NoVrfs),
            Err(e) => Err(VrfError::Unavailable(e)),
        }
    }
}

fn require_no_master(netlink: &mut Netlink, link: &Link) -> Result<(), VrfError> {
    let Some(index) = link.master else { return Ok(()) };
    let master = netlink.find_link_by_index(index)?;
    let master = master.map_or_else(|| format!("link number {index}"), |master| master.name);
    Err(VrfError::HasMaster { ifname: link.name.clone(), master })
}

/// The VRF to take the interface from: the configuration's. If that cannot be read (any more), the one that the
/// interface is in.
fn vrf_of(call: &Call<'_>, netlink: &mut Netlink, link: Option<&Link>) -> Result<Option<device::Vrf>, VrfError> {
    let name = match Conf::load(call) {
        Ok(conf) => Some(conf.name.to_string()),
        Err(e) => {
            call.warn(e.reply());
            let master = link.and_then(|link| link.master);
            master.map(|index| netlink.find_link_by_index(index)).transpose()?.flatten().map(|master| master.name)
        }
    };
    match name.map(|name| device::find(netlink, &name)).transpose() {
        // Somebody else's link has the name: there is no VRF.
        Err(VrfError::NotAVrf { .. }) => Ok(None),
        found => Ok(found?.flatten()),
    }
}
