//! The CNI plugin `dhcp`: asks the DHCP server of the container's network for its address, and keeps the lease.
//!
//! A plugin ends after each call, and a lease must be prolonged; so a daemon (`dhcp daemon`, the same executable) does
//! the work, and the plugin asks it by a socket.

mod conf;
mod connection;
mod daemon;
mod error;
mod lease;
mod packet;
mod protocol;
mod record;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libcni::CniError;
use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId};

use crate::conf::Conf;
pub use crate::error::Error;
use crate::protocol::{Outcome, PROTOCOL, Request, What};
use crate::record::{Owner, Records};

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dhcp;

impl Plugin for Dhcp {
    type Error = Error;

    fn name(&self) -> &'static str {
        "dhcp"
    }

    /// Has the daemon get a lease. A second time for the same attachment it is the same lease.
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, Error> {
        let conf = Conf::parse(call)?;
        let netns = absolute(attachment.sandbox())?;
        let what = What::Add { attachment: attachment.id.clone(), netns, options: (&conf.options).into() };
        let mut result = result_of(connection::ask(&conf.socket, &request(call, what))?);
        if conf.priority.is_some() {
            result.routes.iter_mut().for_each(|route| route.priority = conf.priority);
        }
        Ok(result)
    }

    /// Has the daemon release the lease; one that is absent is left a note.
    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Error> {
        let owner = Owner { network: call.config.name.clone(), attachment: attachment.id.clone() };
        ask_or_note(call, What::Del { attachment: attachment.id.clone() }, |other| *other == owner)
    }

    /// Asks the daemon whether it keeps the lease, and compares it with `prevResult`.
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Error> {
        let conf = Conf::parse(call)?;
        let what = What::Check { attachment: attachment.id.clone(), netns: absolute(attachment.sandbox())? };
        let lease = result_of(connection::ask(&conf.socket, &request(call, what))?);
        let Some(result) = &call.config.prev_result else { return Ok(()) };
        match lease.ips.iter().find(|ip| !result.ips.iter().any(|other| other.address == ip.address)) {
            Some(ip) => Err(Error::OtherAddress { lease: ip.address.addr() }),
            None => Ok(()),
        }
    }

    /// Has the daemon release what no valid attachment has; one that is absent is left a note.
    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), Error> {
        let is_stale = |owner: &Owner| owner.network == call.config.name && !valid.contains(&owner.attachment);
        ask_or_note(call, What::Gc { valid: valid.to_vec() }, is_stale)
    }

    /// Whether the daemon answers.
    fn status(&self, call: &Call<'_>) -> Result<(), Error> {
        let conf = Conf::parse(call)?;
        match connection::ask(&conf.socket, &request(call, What::Status)) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::NotAvailable(Box::new(e))),
        }
    }

    fn command(&self, arguments: &[OsString]) -> Option<ExitCode> {
        match arguments {
            [command, flags @ ..] if command == "daemon" => Some(daemon::main(flags)),
            _ => None,
        }
    }
}

fn request(call: &Call<'_>, what: What) -> Request {
    Request { protocol: PROTOCOL, network: call.config.name.clone(), what }
}

fn result_of(outcome: Outcome) -> AddResult {
    match outcome {
        Outcome::Result(result) => *result,
        Outcome::Done | Outcome::Error(_) => AddResult::default(),
    }
}

/// The daemon may have another working directory.
fn absolute(netns: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(netns).map_err(|source| Error::RelativeNetns { path: netns.to_owned(), source })
}

/// Asks the daemon to release leases. If nobody listens, pods must be able to end all the same: the leases that
/// `stale` chooses are marked on disk, and the daemon releases them when it starts. (Nobody prolongs them until then.)
fn ask_or_note(call: &Call<'_>, what: What, stale: impl Fn(&Owner) -> bool) -> Result<(), Error> {
    let socket = conf::socket(&call.config).unwrap_or_else(|e| {
        // Even if another daemon has the lease, that one sees when the container is gone.
        call.warn(format_args!("the daemon is looked for at {}: {}", conf::DEFAULT_SOCKET, e.reply()));
        conf::DEFAULT_SOCKET.into()
    });
    let request = request(call, what);
    let source = match connection::ask(&socket, &request) {
        Ok(_) => return Ok(()),
        Err(Error::Dial { source, .. }) => source,
        Err(e) => return Err(e),
    };
    Records::of_socket("", &socket).release(stale)?;
    match connection::ask(&socket, &request) {
        // It has started meanwhile, perhaps before the note was there.
        Ok(_) => Ok(()),
        Err(Error::Dial { .. }) => {
            call.warn(format_args!(
                "no DHCP daemon at {} ({source}): it releases the lease when it starts",
                socket.display()
            ));
            Ok(())
        }
        Err(e) => Err(e),
    }
}
