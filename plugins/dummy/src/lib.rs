//! The CNI plugin `dummy`: an interface that leads nowhere, for addresses that processes of the container listen on.

mod error;

use libcni::plugin::{Attachment, Call, Delegate, Plugin};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::attach::{self, Found};
use linuxnet::iface::Options;
use linuxnet::link;

pub use crate::error::DummyError;

/// The plugin `dummy`.
#[derive(Clone, Copy, Debug)]
pub struct Dummy;

impl Plugin for Dummy {
    type Error = DummyError;

    fn name(&self) -> &'static str {
        "dummy"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, DummyError> {
        // There is nobody who could be told.
        let options = Options { arp_notify: false, ..Options::default() };
        attach::add(call, attachment, options, AddResult::default(), |sandbox| -> Result<(), DummyError> {
            Ok(sandbox.netlink.create_dummy(attachment.ifname(), Some(link::random_mac()?))?)
        })
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), DummyError> {
        attach::del(call, attachment)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), DummyError> {
        Found::expect(call, attachment, "dummy")?.verify()
    }

    /// The kernel removes the link with the container's namespace: what may be left is IPAM's.
    fn gc(&self, call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), DummyError> {
        Ok(call.forward_to_ipam(Delegate::gc)?)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), DummyError> {
        Ok(call.forward_to_ipam(Delegate::status)?)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_that_of_all_plugins() {
        schemas::Schema::of_plugin("dummy", env!("CARGO_PKG_DESCRIPTION")).assert_is_current();
    }
}
