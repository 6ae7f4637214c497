//! The CNI plugin `vlan`: an interface in a VLAN of a link of the host.

mod conf;
mod error;

use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::attach::{self, AttachError, Found, Sandbox};

use crate::conf::Conf;
pub use crate::error::VlanError;

/// The plugin `vlan`.
#[derive(Clone, Copy, Debug)]
pub struct Vlan;

impl Plugin for Vlan {
    type Error = VlanError;

    fn name(&self) -> &'static str {
        "vlan"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, VlanError> {
        let conf = Conf::load(call)?;
        let options = conf.master.apply_options();
        Ok(attach::add(call, attachment, options, AddResult::default(), |sandbox| create(sandbox, &conf))?)
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), VlanError> {
        Ok(attach::del(call, attachment)?)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), VlanError> {
        let conf = Conf::load(call)?;
        let mut found = Found::expect(call, attachment, "vlan")?;
        found.expect_same("VLAN ID", found.link.vlan, conf.id)?;
        conf.master.verify(&mut found)?;
        Ok(found.verify()?)
    }

    /// The kernel removes the link with the container's namespace: what may be left is IPAM's.
    fn gc(&self, call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), VlanError> {
        Ok(call.forward_to_ipam(Delegate::gc).map_err(AttachError::from)?)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), VlanError> {
        Conf::load(call)?.master.status()?;
        Ok(call.forward_to_ipam(Delegate::status).map_err(AttachError::from)?)
    }
}

fn create(sandbox: &mut Sandbox, conf: &Conf) -> Result<(), AttachError> {
    let mut master = conf.master.find(sandbox)?;
    let (netlink, upper) = master.upper(sandbox);
    Ok(netlink.create_vlan(upper, conf.id)?)
}
