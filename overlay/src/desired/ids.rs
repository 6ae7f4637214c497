//! The numbers of next hop objects.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

/// Which number the next hop by a gateway has. One that is in the kernel keeps its number over a restart; no number that
/// somebody else uses is taken.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    by_gateway: BTreeMap<IpAddr, u32>,
    /// `None`: somebody else's.
    taken: BTreeMap<u32, Option<IpAddr>>,
    last: u32,
}

/// Ours begin here, far from where people begin.
const FIRST: u32 = 79_000_000;

impl Ids {
    /// The number of the next hop by `gateway`; a new one if it has none.
    pub(crate) fn of(&mut self, gateway: IpAddr) -> u32 {
        if let Some(id) = self.by_gateway.get(&gateway) {
            return *id;
        }
        self.last = self.last.max(FIRST - 1);
        loop {
            self.last = self.last.checked_add(1).unwrap_or(FIRST);
            if let Entry::Vacant(free) = self.taken.entry(self.last) {
                free.insert(Some(gateway));
                self.by_gateway.insert(gateway, self.last);
                return self.last;
            }
        }
    }

    /// The kernel has a next hop of ours by `gateway` with this number.
    pub(crate) fn adopt(&mut self, gateway: IpAddr, id: u32) {
        if let Entry::Vacant(free) = self.taken.entry(id)
            && !self.by_gateway.contains_key(&gateway)
        {
            free.insert(Some(gateway));
            self.by_gateway.insert(gateway, id);
        }
    }

    /// Somebody else has this number: whoever had it of us gets another.
    pub(crate) fn give_up(&mut self, id: u32) {
        if let Some(gateway) = self.taken.insert(id, None).flatten() {
            self.by_gateway.remove(&gateway);
        }
    }

    /// There is no next hop by `gateway` any more.
    pub(crate) fn release(&mut self, gateway: IpAddr) {
        if let Some(id) = self.by_gateway.remove(&gateway) {
            self.taken.remove(&id);
        }
    }
}
