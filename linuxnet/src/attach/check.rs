//! CHECK: the container's interface is as ADD made it.

use std::fmt;

use libcni::error::Failures;
use libcni::plugin::{Attachment, Call, Delegate};
use libcni::types::{AddResult, Interface};

use crate::iface;
use crate::link::Link;

use super::{AttachError, Sandbox};

/// The container's interface, found as `prevResult` says it should be.
#[derive(Debug)]
pub struct Found<'c> {
    /// The container's namespace.
    pub sandbox: Sandbox,
    /// The interface.
    pub link: Link,
    /// What ADD, and the plugins after, reported.
    pub result: &'c AddResult,
    /// The interface's entry in it.
    pub reported: &'c Interface,
}

impl<'c> Found<'c> {
    /// Looks for the attachment's interface, which must be of this `kind` ([`Link::kind`]; `None` for any), be reported,
    /// and have the MAC address that is reported. IPAM is asked, too.
    ///
    /// # Errors
    /// If `prevResult` is missing, IPAM finds a difference, or the interface is not so.
    pub fn expect<'k>(
        call: &'c Call<'_>,
        attachment: &Attachment,
        kind: impl Into<Option<&'k str>>,
    ) -> Result<Self, AttachError> {
        let result = call.config.prev_result.as_ref().ok_or(AttachError::PrevResultMissing)?;
        call.forward_to_ipam(Delegate::check)?;
        let ifname = attachment.ifname();
        let differs = |what: String| Err(AttachError::Differs(what));
        let Some((_, reported)) = result.container_interface(ifname) else {
            return differs(format!("prevResult has no interface {ifname} in a sandbox"));
        };
        let mut sandbox = Sandbox::open(attachment)?;
        let Some(link) = sandbox.interface()? else {
            return differs(format!("interface {ifname} is not in the container"));
        };
        if let Some(kind) = kind.into()
            && link.kind != kind
        {
            return differs(format!("interface {ifname} in the container is no {kind} but {:?}", link.kind));
        }
        match iface::mac_difference(&link, result) {
            Some(difference) => Err(difference.into()),
            None => Ok(Self { sandbox, link, result, reported }),
        }
    }

    /// A setting of the interface is what it should be. `None`: it has none that is known.
    ///
    /// # Errors
    /// If it differs.
    pub fn expect_same<T: PartialEq + fmt::Display>(
        &self,
        what: &str,
        is: Option<T>,
        wanted: T,
    ) -> Result<(), AttachError> {
        if is.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let is = is.map_or_else(|| "another".to_owned(), |is| is.to_string());
        Err(AttachError::Differs(format!("interface {} has {what} {is}, not {wanted}", self.link.name)))
    }

    /// The interface has the addresses and routes of the result, and is up ([`iface::verify`]).
    ///
    /// # Errors
    /// Every difference.
    pub fn verify(&mut self) -> Result<(), AttachError> {
        let differences = iface::verify(&mut self.sandbox.netlink, &self.link.name, self.result)?;
        let failures: Failures<_> = differences.into_iter().map(AttachError::from).collect();
        failures.into_result(AttachError::Several)
    }
}
