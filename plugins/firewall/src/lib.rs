//! The CNI plugin `firewall`: lets a container's traffic pass the host's firewall, and isolates bridges from each other.

mod backends;
mod conf;
mod container;
mod error;
mod firewalld;
mod foreign;
mod forward;
mod iptables;
mod nftables;

use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId};
use libcni::version::SpecVersion;
use linuxnet::tag::Valid;
use linuxnet::undo::Undo;

use crate::backends::Backends;
use crate::conf::Conf;
use crate::container::Container;
pub use crate::error::FirewallError;
pub use crate::firewalld::BusError;

/// The plugin `firewall`.
#[derive(Clone, Copy, Debug)]
pub struct Firewall;

impl Plugin for Firewall {
    type Error = FirewallError;

    fn name(&self) -> &'static str {
        "firewall"
    }

    /// Those with `prevResult` on DEL, as the reference has it.
    fn versions(&self) -> &'static [SpecVersion] {
        &[SpecVersion::V0_4_0, SpecVersion::V1_0_0, SpecVersion::V1_1_0]
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, FirewallError> {
        let conf = Conf::load(call)?;
        let result = call.config.prev_result.as_ref().ok_or(FirewallError::PrevResultMissing)?;
        let container = Container::find(call, attachment, &conf, result)?;
        if container.ips.is_empty() {
            return Ok(result.clone());
        }
        let mut backends = Backends::open(conf.backend)?;
        let mut undo = Undo::new();
        for note in backends.admit(&container, &conf, &mut undo)? {
            call.warn(note);
        }
        undo.checkpoint()?;
        undo.commit();
        Ok(result.clone())
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), FirewallError> {
        let conf = Conf::load_lenient(call);
        let container = Container::without_bridge(call, attachment, call.config.prev_result.as_ref());
        Backends::of_host()?.remove(&container, &conf.zone)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), FirewallError> {
        let conf = Conf::load(call)?;
        let result = call.config.prev_result.as_ref().ok_or(FirewallError::PrevResultMissing)?;
        let container = Container::find(call, attachment, &conf, result)?;
        if container.ips.is_empty() {
            return Ok(());
        }
        let differences = Backends::open(conf.backend)?.verify(&container, &conf)?;
        if differences.is_empty() { Ok(()) } else { Err(FirewallError::Differs(differences.join("; "))) }
    }

    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), FirewallError> {
        Backends::of_host()?.collect_garbage(&Valid::new(&call.config.name, valid))
    }

    fn status(&self, call: &Call<'_>) -> Result<(), FirewallError> {
        let conf = Conf::load(call)?;
        let notes = Backends::open(conf.backend).and_then(|mut backends| backends.status()).map_err(|source| {
            let backend = conf.backend.unwrap_or(conf::Backend::Nftables).as_str();
            FirewallError::Unavailable { backend, source: Box::new(source) }
        })?;
        for note in notes {
            call.warn(note);
        }
        Ok(())
    }
}
