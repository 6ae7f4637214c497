//! The CNI plugin `vxlan-delegate`: has another plugin attach containers with addresses of the node's subnet, which the
//! daemon of the overlay wrote into a file. The drop-in for flannel's CNI plugin.

mod cache;
mod compose;
mod conf;
mod error;
mod overlayd;
mod subnet;

use libcni::error::{CniError, Failures};
use libcni::plugin::{Attachment, Call, Delegate, DelegateError, Plugin};
use libcni::store;
use libcni::types::{AddResult, AttachmentId};
use linuxnet::attach::Sandbox;

use crate::cache::{Cache, Dead};
use crate::compose::DelegateConf;
use crate::conf::{Conf, DataDir};
use crate::error::Error;
pub use crate::error::Error as VxlanDelegateError;
pub use crate::subnet::{Subnet, SubnetFileError};

/// The keys that say to GC what is valid.
const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// The plugin `vxlan-delegate`.
#[derive(Clone, Copy, Debug)]
pub struct VxlanDelegate;

impl Plugin for VxlanDelegate {
    type Error = Error;

    fn name(&self) -> &'static str {
        "vxlan-delegate"
    }

    fn other_names(&self) -> &'static [&'static str] {
        &["flannel"]
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, Error> {
        let conf = Conf::load(call)?;
        let subnet = Subnet::read(&conf.subnet_file).map_err(Error::NotReady)?;
        let composed = compose::compose(call, conf.delegate, conf.ipam, Some(&subnet))?;
        // A delegate that fails is sent DEL: that must not hit an attachment that is there already.
        Sandbox::open(attachment)?.require_free_name()?;
        let delegate = composed.delegate(call)?;
        let cache = Cache::of(call, &conf.data_dir);
        cache.write(&attachment.id, &composed)?;
        match delegate.try_add() {
            Ok(result) => Ok(result),
            Err(failure) => {
                withdraw(call, attachment, &delegate, &cache);
                Err(failure.into())
            }
        }
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Error> {
        let data_dir = DataDir::find(call);
        let cache = Cache::of(call, &data_dir);
        match cache.find(&attachment.id)? {
            Some(cached) => about(call, cached).delegate(call)?.del()?,
            // Never attached, or the cache is lost; then the delegate may hold an address all the same.
            None => match compose_anew(call).and_then(|composed| Ok(about(call, composed).delegate(call)?)) {
                Ok(delegate) => delegate.del()?,
                Err(e) => call.warn(format_args!("nothing is known of {}: {}", attachment.id, e.reply())),
            },
        }
        Ok(cache.remove(&attachment.id)?)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Error> {
        let conf = Conf::load(call)?;
        let composed = match Cache::of(call, &conf.data_dir).find(&attachment.id)? {
            Some(cached) => cached,
            None => compose_anew(call)?,
        };
        Ok(about(call, composed).delegate(call)?.check()?)
    }

    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), Error> {
        let mut failures = Failures::new();
        let data_dir = DataDir::find(call);
        let cache = Cache::of(call, &data_dir);
        match cache.dead(valid) {
            Ok(dead) => dead.into_iter().for_each(|dead| failures.note(remove_dead(call, &cache, dead))),
            Err(e) => failures.note::<()>(Err(e)),
        }
        failures.note(forward_gc(call));
        failures.into_result(Error::Several)
    }

    fn status(&self, call: &Call<'_>) -> Result<(), Error> {
        let conf = Conf::load(call)?;
        overlayd::require_ready(&conf.overlayd_socket)?;
        let subnet = Subnet::read(&conf.subnet_file).map_err(Error::NoSubnet)?;
        store::require_writable(&conf.data_dir).map_err(Error::NotWritable)?;
        let composed = compose::compose(call, conf.delegate, conf.ipam, Some(&subnet))?;
        Ok(composed.delegate(call)?.status()?)
    }
}

/// After a failed ADD: DEL of the delegate. If that fails too, the cache stays for the DEL that the runtime sends.
fn withdraw(call: &Call<'_>, attachment: &Attachment, delegate: &Delegate<'_>, cache: &Cache<'_>) {
    let undone = delegate.del().map_err(Error::from).and_then(|()| Ok(cache.remove(&attachment.id)?));
    if let Err(e) = undone {
        call.warn(format_args!("after a failed ADD, DEL of {} failed: {}", delegate.name(), e.reply()));
    }
}

/// What an ADD would give the delegate now.
fn compose_anew(call: &Call<'_>) -> Result<DelegateConf, Error> {
    let conf = Conf::load(call)?;
    let subnet = Subnet::read(&conf.subnet_file).map_err(Error::NotReady)?;
    compose::compose(call, conf.delegate, conf.ipam, Some(&subnet))
}

/// `composed`, which may be of an earlier version of the network, with what DEL and CHECK say: the result of ADD, and
/// the version that it is in.
fn about(call: &Call<'_>, mut composed: DelegateConf) -> DelegateConf {
    for key in ["cniVersion", "prevResult"] {
        composed.copy(call, key);
    }
    composed
}

/// The delegate removes an attachment that its runtime forgot; then the cache does. What cannot be read is of no use
/// to anybody.
fn remove_dead(call: &Call<'_>, cache: &Cache<'_>, dead: Dead) -> Result<(), Error> {
    if let Some(mut cached) = dead.conf {
        cached.copy(call, "cniVersion");
        cached.delegate(call)?.del_other(&dead.id)?;
    }
    Ok(store::remove_file(&dead.path).and_then(|()| cache.remove(&dead.id))?)
}

/// GC of the delegate, with which it finds what is in no cache. It needs no subnet for that.
fn forward_gc(call: &Call<'_>) -> Result<(), Error> {
    let conf = Conf::load(call)?;
    let subnet = Subnet::read(&conf.subnet_file).map_err(|e| call.warn(e)).ok();
    let mut composed = compose::compose(call, conf.delegate, conf.ipam, subnet.as_ref())?;
    for key in VALID_ATTACHMENTS {
        composed.copy(call, key);
    }
    let forwarded: Result<(), DelegateError> = composed.delegate(call)?.gc();
    Ok(forwarded?)
}
