//! The CNI plugin `ipvlan`: an interface with addresses of its own on a link of the host, whose Ethernet address it has.

mod conf;
mod error;

use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::attach::{self, AttachError, Found, Sandbox};

use crate::conf::Conf;
pub use crate::error::IpvlanError;

/// The plugin `ipvlan`.
#[derive(Clone, Copy, Debug)]
pub struct Ipvlan;

impl Plugin for Ipvlan {
    type Error = IpvlanError;

    fn name(&self) -> &'static str {
        "ipvlan"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, IpvlanError> {
        let before = call.config.prev_result.as_ref();
        let conf = Conf::load(call)?.chained(before)?;
        let chained = before.cloned().unwrap_or_default();
        let options = conf.master.apply_options();
        Ok(attach::add(call, attachment, options, chained, |sandbox| create(sandbox, &conf))?)
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), IpvlanError> {
        Ok(attach::del(call, attachment)?)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), IpvlanError> {
        let conf = Conf::load(call)?;
        let mut found = Found::expect(call, attachment, "ipvlan")?;
        found.expect_same("mode", found.link.ipvlan, conf.mode)?;
        conf.master.verify(&mut found)?;
        Ok(found.verify()?)
    }

    /// The kernel removes the link with the container's namespace: what may be left is IPAM's.
    fn gc(&self, call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), IpvlanError> {
        Ok(call.forward_to_ipam(Delegate::gc).map_err(AttachError::from)?)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), IpvlanError> {
        let conf = Conf::load(call)?;
        // A master without a name may come from the plugin before.
        if conf.master.name.is_some() {
            conf.master.status()?;
        }
        Ok(call.forward_to_ipam(Delegate::status).map_err(AttachError::from)?)
    }
}

fn create(sandbox: &mut Sandbox, conf: &Conf) -> Result<(), AttachError> {
    let mut master = conf.master.find(sandbox)?;
    let (netlink, upper) = master.upper(sandbox);
    Ok(netlink.create_ipvlan(upper, conf.mode)?)
}
