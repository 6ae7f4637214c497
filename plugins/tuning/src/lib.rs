//! The CNI plugin `tuning`: sysctls of the container's namespace, and settings of its interface.

mod allowlist;
mod backup;
mod conf;
mod error;
mod settings;
mod sysctl;

use libcni::error::{CniError, Failures};
use libcni::names::NetworkName;
use libcni::plugin::{Attachment, Call, Plugin};
use libcni::store::require_writable;
use libcni::types::{AddResult, AttachmentId};
use linuxnet::attach::Sandbox;
use linuxnet::link::Link;
use linuxnet::netlink::Batch;
use linuxnet::undo::Undo;

use crate::backup::{Backup, File, Identity, Originals, Owner};
use crate::conf::Conf;
pub use crate::error::{Hint, TuningError};
use crate::settings::Settings;
pub use crate::sysctl::KeyError;

/// The plugin `tuning`.
#[derive(Clone, Copy, Debug)]
pub struct Tuning;

impl Plugin for Tuning {
    type Error = TuningError;

    fn name(&self) -> &'static str {
        "tuning"
    }

    /// Writes down what is, then sets what is wanted.
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, TuningError> {
        let conf = Conf::of(call, attachment)?;
        let mut result = call.config.prev_result.clone().ok_or(TuningError::PrevResultMissing)?;
        allowlist::require_allowed(&conf.sysctls)?;
        if conf.is_empty() {
            return Ok(result);
        }
        let mut sandbox = Sandbox::open(attachment)?;
        let link = sandbox.interface()?;
        let originals = originals(&conf, attachment, &sandbox, link.as_ref())?;
        let mut undo = Undo::new();
        write_down(call, attachment, &conf, link.as_ref(), &originals, &mut undo)?;
        undo.push("restore what was before", || {
            Ok(restore(attachment, &originals)
                .into_iter()
                .collect::<Failures<_>>()
                .into_result(TuningError::Several)?)
        });
        if let Some(link) = &link {
            let changes: Batch = conf.interface.changes(link).into_iter().collect();
            changes.send(&mut sandbox.netlink)?;
        }
        undo.checkpoint()?;
        // After the interface: its MTU bounds that of IPv6, which is a sysctl.
        sandbox.netns.within(|| sysctl::set(&conf.sysctls))??;
        undo.checkpoint()?;
        undo.commit();
        conf.interface.report_in(&mut result, attachment.ifname());
        Ok(result)
    }

    /// Sets back what ADD, ours or the Go plugin's, has written down.
    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), TuningError> {
        let file = File::of(&conf::known_data_dir(call), &attachment.id);
        let originals = match file.read() {
            Ok(Some(Backup { originals, .. })) => originals,
            Ok(None) => return Ok(()),
            Err(garbled @ TuningError::Garbled { .. }) => {
                call.warn(garbled.reply());
                return Ok(file.remove()?);
            }
            Err(e) => return Err(e),
        };
        // What the kernel refuses for good would keep the container from being removed for ever.
        let (refused, failed): (Vec<_>, Vec<_>) =
            restore(attachment, &originals).into_iter().partition(TuningError::is_final);
        for fault in refused {
            call.warn(fault.reply());
        }
        if failed.is_empty() {
            return Ok(file.remove()?);
        }
        failed.into_iter().collect::<Failures<_>>().into_result(TuningError::Several)
    }

    /// Compares with what is configured, and with nothing else.
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), TuningError> {
        let conf = Conf::of(call, attachment)?;
        if call.config.prev_result.is_none() {
            return Err(TuningError::PrevResultMissing);
        }
        if conf.is_empty() {
            return Ok(());
        }
        let mut sandbox = Sandbox::open(attachment)?;
        let mut differences = sandbox.netns.within(|| sysctl::differences(&conf.sysctls))?;
        if !conf.interface.is_empty() {
            match sandbox.interface()? {
                Some(link) => differences.extend(conf.interface.differences(&link)),
                None => differences.push(format!("Cannot find container link {}", attachment.ifname())),
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(TuningError::Differs(differences)) }
    }

    /// Removes what was written down for attachments that are gone; what it was about has gone with them.
    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), TuningError> {
        let faults = backup::collect_garbage(&conf::known_data_dir(call), &call.config.name, valid);
        faults.into_iter().collect::<Failures<_>>().into_result(TuningError::Several)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), TuningError> {
        let conf = Conf::of_network(call)?;
        allowlist::require_allowed(&conf.sysctls)?;
        let unavailable = |e| TuningError::Unavailable(Box::new(e));
        if !conf.sysctls.is_empty() {
            linuxnet::sysctl::require_writable().map_err(|e| unavailable(TuningError::ReadOnly(e)))?;
        }
        if !conf.is_empty() {
            require_writable(&conf.data_dir).map_err(|e| unavailable(e.into()))?;
        }
        Ok(())
    }
}

/// What is set now, of what is about to be set.
fn originals(
    conf: &Conf,
    attachment: &Attachment,
    sandbox: &Sandbox,
    link: Option<&Link>,
) -> Result<Originals, TuningError> {
    let interface = match link {
        Some(link) => Settings::of(link).only(&conf.interface),
        None if conf.interface.is_empty() => Settings::default(),
        None => return Err(TuningError::NoInterface(attachment.ifname().to_owned())),
    };
    Ok(Originals { interface, sysctls: sandbox.netns.within(|| sysctl::read(&conf.sysctls))? })
}

/// Writes down `originals`. Of what an earlier `tuning` of the same chain has changed, its originals stay.
fn write_down<'a>(
    call: &Call<'_>,
    attachment: &Attachment,
    conf: &Conf,
    link: Option<&Link>,
    originals: &Originals,
    undo: &mut Undo<'a>,
) -> Result<(), TuningError> {
    let file = File::of(&conf.data_dir, &attachment.id);
    let network = call.config.name.clone();
    let earlier = match file.read() {
        Ok(found) => found.filter(|backup| is_of_this_chain(backup, &network, link)),
        Err(TuningError::Garbled { .. }) => None,
        Err(e) => return Err(e),
    };
    let originals = match &earlier {
        Some(earlier) => earlier.originals.clone().or(originals.clone()),
        None => originals.clone(),
    };
    let mac = |link: &Link| conf.interface.mac.or(link.mac);
    let interface = link.map(|link| Identity { index: link.index, mac: mac(link) });
    let of_undo = file.clone();
    undo.push(format!("put {} back", file.path().display()), move || match earlier {
        Some(earlier) => Ok(of_undo.write(&earlier)?),
        None => Ok(of_undo.remove()?),
    });
    Ok(file.write(&Backup { originals, owner: Some(Owner { network, interface }) })?)
}

/// Whether `backup` was written by an earlier `tuning` of the chain that is being run, and not for an interface of the
/// same name and container that is gone.
fn is_of_this_chain(backup: &Backup, network: &NetworkName, link: Option<&Link>) -> bool {
    let is_this = |identity: &Option<Identity>| match (identity, link) {
        (Some(Identity { index, mac }), Some(link)) => *index == link.index && *mac == link.mac,
        (None, _) => true,
        (Some(_), None) => false,
    };
    backup.owner.as_ref().is_some_and(|owner| owner.network == *network && is_this(&owner.interface))
}

/// Sets the attachment's interface and namespace back to `originals`. What is gone is passed over; everything is tried.
fn restore(attachment: &Attachment, originals: &Originals) -> Vec<TuningError> {
    let mut faults = Vec::new();
    let mut sandbox = match Sandbox::find(attachment) {
        Ok(Some(sandbox)) => sandbox,
        Ok(None) => return faults,
        Err(e) => return vec![e.into()],
    };
    match sandbox.interface() {
        Ok(link) => {
            for change in link.iter().flat_map(|link| originals.interface.changes(link)) {
                faults.extend(sandbox.netlink.run(change).err().filter(|e| !e.is_not_found()).map(TuningError::from));
            }
        }
        Err(e) => faults.push(e.into()),
    }
    match sandbox.netns.within(|| sysctl::restore(&originals.sysctls)) {
        Ok(of_sysctls) => faults.extend(of_sysctls.into_iter().map(TuningError::Restore)),
        Err(e) => faults.push(e.into()),
    }
    faults
}
