//! Taking addresses: one of each range set, all or none.

use std::net::IpAddr;

use libcni::types::IpConfig;

use crate::error::Error;
use crate::owner::Owner;
use crate::range::RangeSet;
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
        let address = match requested {
            Some(address) => self.take_requested(index, set, address)?,
            None => self.take_next(index, set)?,
        };
        self.store.set_last_reserved(index, address);
        let range = set.range_of(address).ok_or_else(|| self.exhausted(index, set))?;
        Ok(IpConfig { address: range.with_prefix_len(address), gateway: Some(range.gateway()), interface: None })
    }

    fn take_requested(&mut self, index: usize, set: &RangeSet, address: IpAddr) -> Result<IpAddr, Error> {
        if set.is_gateway(address) {
            return Err(Error::RequestedGateway { set: index, address });
        }
        if self.try_take(address)? {
            return Ok(address);
        }
        Err(Error::RequestedTaken { set: index, address, ranges: set.to_string() })
    }

    fn take_next(&mut self, index: usize, set: &RangeSet) -> Result<IpAddr, Error> {
        if let Some(address) = self.held.iter().find(|address| set.contains(**address)) {
            return Err(Error::Duplicate { set: index, address: *address, owner: self.owner.joined(" ") });
        }
        let last = self.store.last_reserved(index);
        for address in set.walk(last).take(TRIED_ONE_BY_ONE) {
            if self.try_take(address)? {
                return Ok(address);
            }
        }
        let named = self.store.addresses()?;
        for address in set.walk(last).skip(TRIED_ONE_BY_ONE).filter(|address| !named.contains(address)) {
            if self.try_take(address)? {
                return Ok(address);
            }
        }
        // Every address has a file; now those count that have no owner.
        for address in set.walk(last) {
            if self.try_take(address)? {
                return Ok(address);
            }
        }
        Err(self.exhausted(index, set))
    }

    fn try_take(&mut self, address: IpAddr) -> Result<bool, Error> {
        let taken = self.store.reserve(address, &self.reservation)?;
        if taken {
            self.taken.push(address);
        }
        Ok(taken)
    }

    fn exhausted(&self, index: usize, set: &RangeSet) -> Error {
        Error::Exhausted { set: index, ranges: set.to_string(), capacity: set.capacity() }
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
