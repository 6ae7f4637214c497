//! The CNI plugin static: assigns the addresses that the configuration or the runtime names.
//!
//! It keeps nothing anywhere, so there is nothing to remove and nothing to collect.

mod conf;
mod error;

use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId, IpConfig};

use crate::conf::Conf;
pub use crate::error::StaticError;

/// The plugin `static`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Static;

impl Plugin for Static {
    type Error = StaticError;

    fn name(&self) -> &'static str {
        "static"
    }

    /// Returns the addresses, with the routes and the DNS settings of the configuration.
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, StaticError> {
        let Conf { addresses, routes, dns } = Conf::parse(&call.config, Some(&attachment.args()?))?;
        if addresses.is_empty() {
            return Err(StaticError::NoAddresses);
        }
        Ok(AddResult { interfaces: Vec::new(), ips: addresses, routes, dns })
    }

    /// Nothing was kept.
    fn del(&self, _call: &Call<'_>, _attachment: &Attachment) -> Result<(), StaticError> {
        Ok(())
    }

    /// Compares the addresses with those of `prevResult`. Routes and DNS settings may be changed by plugins after this
    /// one.
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), StaticError> {
        let conf = Conf::parse(&call.config, Some(&attachment.args()?))?;
        let result = call.config.prev_result.as_ref().ok_or(StaticError::PrevResultMissing)?;
        let differences: Vec<String> =
            conf.addresses.iter().filter_map(|wanted| difference(wanted, &result.ips)).collect();
        if differences.is_empty() { Ok(()) } else { Err(StaticError::Differs(differences)) }
    }

    /// Nothing was kept.
    fn gc(&self, _call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), StaticError> {
        Ok(())
    }

    /// Says whether the configuration is right. Which addresses the runtime will name cannot be known.
    fn status(&self, call: &Call<'_>) -> Result<(), StaticError> {
        Conf::parse(&call.config, None).map(drop)
    }
}

/// What is wrong with `wanted` in the addresses of a result. A gateway that is not wanted may have been found by the
/// plugin that uses it.
fn difference(wanted: &IpConfig, ips: &[IpConfig]) -> Option<String> {
    let address = wanted.address;
    let Some(found) = ips.iter().find(|ip| ip.address == address) else {
        return Some(format!("{address} is not in prevResult"));
    };
    let shown = found.gateway.map_or("none".to_owned(), |gateway| gateway.to_string());
    let gateway = wanted.gateway.filter(|gateway| found.gateway != Some(*gateway))?;
    Some(format!("the gateway of {address} in prevResult is {shown}, not {gateway}"))
}
