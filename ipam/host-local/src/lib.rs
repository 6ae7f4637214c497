//! The CNI plugin host-local: assigns addresses from ranges, kept in files on this host.
//!
//! The files are the reference's, to the byte: see `store.rs`. Configuration and behaviour: README.md.

mod allocate;
mod boot;
mod conf;
mod error;
mod index;
mod owner;
mod range;
mod reservation;
mod resolv_conf;
mod store;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use libcni::plugin::{Attachment, Call, Plugin};
use libcni::store::{StoreError, require_writable};
use libcni::types::{AddResult, AttachmentId, Dns, IpConfig};

use crate::allocate::Taking;
use crate::conf::Conf;
use crate::error::Error;
use crate::owner::{Owner, Valid};
use crate::range::RangeSet;
use crate::reservation::Found;
use crate::store::{Place, Store};

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostLocal;

impl Plugin for HostLocal {
    type Error = Error;

    fn name(&self) -> &'static str {
        "host-local"
    }

    /// Takes one address of every range set.
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, Error> {
        let conf = Conf::parse(&call.config, Some(&attachment.args()?))?;
        let dns = conf.resolv_conf.as_deref().map(read_resolv_conf).transpose()?.unwrap_or_default();
        let owner = Owner::attachment(&attachment.id);
        let mut store = Store::create(&conf.place)?;
        let ips = allocate(&mut store, &owner, &conf)?;
        Ok(AddResult { interfaces: Vec::new(), ips, routes: conf.routes, dns })
    }

    /// Frees what the attachment has, whatever the ranges are now.
    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Error> {
        let Some(mut store) = Store::find(&Place::of(&call.config)?)? else { return Ok(()) };
        if !store.release(&Owner::attachment(&attachment.id))? {
            store.release(&Owner::container(&attachment.id))?;
        }
        Ok(())
    }

    /// Compares the reservations with the range sets and with `prevResult`.
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Error> {
        let conf = Conf::parse(&call.config, Some(&attachment.args()?))?;
        let owner = Owner::attachment(&attachment.id);
        let held = held_by(&conf.place, &attachment.id)?;
        let in_result = call.config.prev_result.iter().flat_map(|result| &result.ips).map(|ip| ip.address.addr());
        let missing = not_reserved(&conf.sets, &held, in_result);
        if missing.is_empty() { Ok(()) } else { Err(Error::NotReserved { owner: owner.joined(" "), missing }) }
    }

    /// Frees what no valid attachment has.
    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), Error> {
        let Some(mut store) = Store::find(&Place::of(&call.config)?)? else { return Ok(()) };
        store.keep_only(&Valid::new(valid)).map_err(Error::Several)
    }

    /// Says whether every range set has a free address, and whether it could be written down.
    fn status(&self, call: &Call<'_>) -> Result<(), Error> {
        let conf = Conf::parse(&call.config, None)?;
        if let Some(path) = &conf.resolv_conf {
            read_resolv_conf(path)?;
        }
        require_writable(&conf.place.data_dir.join(&conf.place.network))
            .map_err(|StoreError { path, source, .. }| Error::StatusNotWritable { path, source })?;
        let Some(store) = Store::find(&conf.place)? else { return Ok(()) };
        let named = store.addresses()?;
        conf.sets.iter().try_for_each(|set| require_free(&store, set, &named))
    }
}

/// Takes one address of every set of `conf` for `owner`: all or none.
fn allocate(store: &mut Store, owner: &Owner, conf: &Conf) -> Result<Vec<IpConfig>, Error> {
    let requested = requested_of_sets(&conf.sets, conf.requested.clone())?;
    let mut taking = Taking::begin(store, owner)?;
    let sets = conf.sets.iter().zip(requested).enumerate();
    let ips = sets.map(|(index, (set, requested))| taking.take(index, set, requested)).collect::<Result<_, _>>()?;
    taking.commit();
    Ok(ips)
}

/// Which of the `requested` addresses each set is to give: the first that lies in it. None may be left over.
fn requested_of_sets(sets: &[RangeSet], mut requested: Vec<IpAddr>) -> Result<Vec<Option<IpAddr>>, Error> {
    let mut pick = |set: &RangeSet| requested.iter().position(|a| set.contains(*a)).map(|at| requested.remove(at));
    let picked = sets.iter().map(&mut pick).collect();
    if requested.is_empty() { Ok(picked) } else { Err(Error::RequestedLeft(requested)) }
}

/// What the attachment has; without that, what its container has in the old form.
fn held_by(place: &Place, id: &AttachmentId) -> Result<Vec<IpAddr>, Error> {
    let Some(mut store) = Store::find(place)? else { return Ok(Vec::new()) };
    let held = store.held_by(&Owner::attachment(id))?;
    if held.is_empty() { Ok(store.held_by(&Owner::container(id))?) } else { Ok(held) }
}

/// What is missing from `held`: an address of each set, and each address of `in_result` that lies in a set (others
/// are another plugin's).
fn not_reserved(sets: &[RangeSet], held: &[IpAddr], in_result: impl Iterator<Item = IpAddr>) -> Vec<String> {
    let sets_without = sets
        .iter()
        .filter(|set| !held.iter().any(|address| set.contains(*address)))
        .map(|set| format!("none is reserved in range set {set}"));
    let addresses = in_result
        .filter(|address| sets.iter().any(|set| set.contains(*address)) && !held.contains(address))
        .map(|address| format!("{address} is in prevResult and not reserved"));
    sets_without.chain(addresses).collect()
}

fn read_resolv_conf(path: &Path) -> Result<Dns, Error> {
    let text = std::fs::read(path).map_err(|source| Error::ResolvConf { path: path.to_owned(), source })?;
    Ok(resolv_conf::parse(&String::from_utf8_lossy(&text)))
}

/// Whether `set` has a free address, `named` being those that have a file.
fn require_free(store: &Store, set: &RangeSet, named: &HashSet<IpAddr>) -> Result<(), Error> {
    let capacity = set.capacity();
    let assignable = |address: &&IpAddr| set.contains(**address) && !set.is_gateway(**address);
    if (named.iter().filter(assignable).count() as u128) < capacity {
        return Ok(());
    }
    // Only now is it worth reading them: those without an owner are free.
    let mut in_use: u128 = 0;
    for address in named.iter().filter(assignable) {
        in_use += u128::from(store.at(*address)? != Found::Garbled);
    }
    if in_use < capacity {
        return Ok(());
    }
    let network = store.dir().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(Error::StatusExhausted { network, ranges: set.to_string(), in_use, capacity })
}
