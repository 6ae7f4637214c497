//! Taking addresses: one of each range set, all or none.

use std::net::IpAddr;

use libcni::types::IpConfig;

use crate::error::Error;
use crate::owner::Owner;
use crate::range::{Range, RangeSet};
use crate::reservation::Unnamed;
use crate::store::Store;

/// So many addresses are tried one by one before the whole directory is listed. In a pool that is not dense the first
/// or second is free.
const TRIED_ONE_BY_ONE: usize = 8;

/// Addresses being taken by one ADD. What is not committed is given back on drop.
#[derive(Debug)]
pub(crate) struct Taking<'s> {
    store: &'s mut Store,
    owner: &'s Owner,
    reservation: Unnamed,
    /// What the owner had before.
    held: Vec<IpAddr>,
    taken: Vec<IpAddr>,
    committed: bool,
}

impl<'s> Taking<'s> {
    /// Begins to take addresses for `owner`. Nothing is taken yet.
    pub(crate) fn begin(store: &'s mut Store, owner: &'s Owner) -> Result<Self, Error> {
        let held = store.held_by(owner)?;
        let reservation = store.prepare(owner)?;
        Ok(Self { store, owner, reservation, held, taken: Vec::new(), committed: false })
    }

    /// Takes an address of `set`, which is the configuration's number `index`: the requested one, or the next.
    pub(crate) fn take(&mut self, index: usize, set: &RangeSet, requested: Option<IpAddr>) -> Result<IpConfig, Error> {
        let (range, address) = match requested {
            Some(address) => self.take_requested(index, set, address)?,
            None => self.take_next(index, set)?,
        };
        self.store.set_last_reserved(index, address);
        Ok(range.ip_config(address))
    }

    fn take_requested<'r>(
        &mut self,
        index: usize,
        set: &'r RangeSet,
        address: IpAddr,
    ) -> Result<(&'r Range, IpAddr), Error> {
        if set.is_gateway(address) {
            return Err(Error::RequestedGateway { set: index, address });
        }
        match set.range_of(address) {
            Some(range) if self.try_take(address)? => Ok((range, address)),
            _ => Err(Error::RequestedTaken { set: index, address, ranges: set.to_string() }),
        }
    }

    fn take_next<'r>(&mut self, index: usize, set: &'r RangeSet) -> Result<(&'r Range, IpAddr), Error> {
        if let Some(address) = self.held.iter().find(|address| set.contains(**address)) {
            return Err(Error::Duplicate { set: index, address: *address, owner: self.owner.joined(" ") });
        }
        let last = self.store.last_reserved(index);
        if let Some(found) = self.take_first(set.walk(last).take(TRIED_ONE_BY_ONE))? {
            return Ok(found);
        }
        let named = self.store.addresses()?;
        if let Some(found) = self.take_first(set.walk(last).filter(|(_, address)| !named.contains(address)))? {
            return Ok(found);
        }
        // Every address has a file; now those count that have no owner.
        self.take_first(set.walk(last))?.ok_or_else(|| Error::Exhausted {
            set: index,
            ranges: set.to_string(),
            capacity: set.capacity(),
        })
    }

    /// Takes the first of `candidates` that can be had.
    fn take_first<'r>(
        &mut self,
        mut candidates: impl Iterator<Item = (&'r Range, IpAddr)>,
    ) -> Result<Option<(&'r Range, IpAddr)>, Error> {
        candidates
            .find_map(|(range, address)| match self.try_take(address) {
                Ok(false) => None,
                taken => Some(taken.map(|_true| (range, address))),
            })
            .transpose()
    }

    fn try_take(&mut self, address: IpAddr) -> Result<bool, Error> {
        let taken = self.store.reserve(address, &self.reservation)?;
        if taken {
            self.taken.push(address);
        }
        Ok(taken)
    }

    /// Keeps what was taken.
    pub(crate) fn commit(mut self) {
        let mut all = std::mem::take(&mut self.held);
        all.extend(&self.taken);
        self.store.record(self.owner, &all);
        self.committed = true;
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        for address in &self.taken {
            // What cannot be removed now is the owner's by its file, and DEL or GC removes it.
            let _ = self.store.free(*address);
        }
    }
}
