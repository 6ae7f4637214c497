//! The CNI plugin `macvlan`: an interface with an Ethernet address of its own on a link of the host.

mod conf;
mod error;

use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId, MacAddr};
use linuxnet::attach::{self, AttachError, Found, Sandbox};
use linuxnet::link::{self, Dev, LinkError, MacvlanMode};

use crate::conf::Conf;
pub use crate::error::MacvlanError;

/// The plugin `macvlan`.
#[derive(Clone, Copy, Debug)]
pub struct Macvlan;

impl Plugin for Macvlan {
    type Error = MacvlanError;

    fn name(&self) -> &'static str {
        "macvlan"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, MacvlanError> {
        let conf = Conf::load(call)?;
        let mac = attach::requested_mac(call, attachment, &conf.mac)?;
        let options = conf.master.apply_options();
        attach::add(call, attachment, options, AddResult::default(), |sandbox| create(sandbox, &conf, mac))
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), MacvlanError> {
        Ok(attach::del(call, attachment)?)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), MacvlanError> {
        let conf = Conf::load(call)?;
        let mut found = Found::expect(call, attachment, "macvlan")?;
        found.expect_same("mode", found.link.macvlan, conf.mode)?;
        conf.master.verify(&mut found)?;
        Ok(found.verify()?)
    }

    /// The kernel removes the link with the container's namespace: what may be left is IPAM's.
    fn gc(&self, call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), MacvlanError> {
        Ok(call.forward_to_ipam(Delegate::gc).map_err(AttachError::from)?)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), MacvlanError> {
        Conf::load(call)?.master.status()?;
        Ok(call.forward_to_ipam(Delegate::status).map_err(AttachError::from)?)
    }
}

/// Makes the interface. Its address is given to it here, since udev changes those that the kernel made.
fn create(sandbox: &mut Sandbox, conf: &Conf, mac: Option<MacAddr>) -> Result<(), MacvlanError> {
    let mut master = conf.master.find(sandbox).map_err(AttachError::from)?;
    let mac_at_birth = match conf.mode {
        MacvlanMode::Passthru => None,
        MacvlanMode::Bridge | MacvlanMode::Private | MacvlanMode::Vepa => {
            Some(mac.map_or_else(link::random_mac, Ok).map_err(AttachError::from)?)
        }
    };
    let wanted = link::Macvlan { mode: conf.mode, mac: mac_at_birth, broadcast_queue_len: conf.broadcast_queue_len };
    let (netlink, upper) = master.upper(sandbox);
    netlink.create_macvlan(upper, wanted).map_err(|e| match e {
        LinkError::Netlink(source) if source.is_invalid() => {
            MacvlanError::Refused { master: upper.lower.name.to_owned(), mode: conf.mode, source }
        }
        e => AttachError::from(e).into(),
    })?;
    match mac {
        Some(mac) if conf.mode == MacvlanMode::Passthru => Ok(change_mac(sandbox, mac)?),
        _ => Ok(()),
    }
}

/// A macvlan in mode passthru is born with its master's address, and a change is one of the master's, too. The kernel
/// gives the master its own back when the macvlan goes.
fn change_mac(sandbox: &mut Sandbox, mac: MacAddr) -> Result<(), AttachError> {
    let change = |sandbox: &mut Sandbox| match sandbox.interface()? {
        Some(link) => sandbox.netlink.run(link::set_mac(Dev::from(&link), mac)),
        None => Ok(()),
    };
    change(sandbox).map_err(|refused| {
        // The first failure is the one to tell.
        let _ = sandbox.remove_interface();
        refused.into()
    })
}
