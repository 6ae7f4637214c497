//! The reservations of one network on disk, in the reference's layout, so that the Go plugin can work on the same
//! directory at the same time:
//!
//! | path in `<dataDir>/<network>/` | what |
//! | --- | --- |
//! | `10.1.2.3`, `fd00::1` | the reservation of this address: `<container ID>\r\n<interface name>`, mode 0600 |
//! | `last_reserved_ip.<n>` | where round robin goes on in range set n: an address |
//! | `lock` | flock(2): held by a [`Store`] as long as it lives |
//!
//! All else in the directory is other people's, and left alone. Beside it lies the [index](crate::index).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use libcni::names::NetworkName;
use libcni::store::{Lock, StoreError, ensure_dir, read_if_present, remove_file};

use crate::boot;
use crate::index::{Holdings, Index};
use crate::owner::{Owner, Valid};
use crate::reservation::{self, Found, Unnamed};

/// Where a network's reservations are, and how old ones are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `ipam.dataDir`.
    pub(crate) data_dir: PathBuf,
    /// The network.
    pub(crate) network: NetworkName,
    /// `ipam.reclaimAfterReboot`.
    pub(crate) reclaim_after_reboot: bool,
}

/// The reservations of one network, locked.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    index: Index,
    /// What the files say, where they had to be read and the index could not be written. The index is not used then.
    scanned: Option<Holdings>,
    /// The directory was changed, and the index follows.
    changed: bool,
    /// The index may say something else than the files: it must not be signed.
    doubtful: bool,
    _lock: Lock,
}

impl Store {
    /// Opens the store at `place`, making it where it is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn create(place: &Place) -> Result<Self, StoreError> {
        let dir = place.data_dir.join(&place.network);
        match Self::find(place)? {
            Some(store) => Ok(store),
            None => {
                ensure_dir(&dir, 0o755)?;
                Self::locked(place, Lock::exclusive(&dir.join("lock"))?)
            }
        }
    }

    /// Opens the store at `place`; `None` if there is none. Makes no directory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn find(place: &Place) -> Result<Option<Self>, StoreError> {
        match Lock::exclusive(&place.data_dir.join(&place.network).join("lock")) {
            Err(e) if matches!(e.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            lock => Self::locked(place, lock?).map(Some),
        }
    }

    fn locked(place: &Place, lock: Lock) -> Result<Self, StoreError> {
        let dir = place.data_dir.join(&place.network);
        let index = Index::new(&place.data_dir, &place.network);
        let mut store = Self { dir, index, scanned: None, changed: false, doubtful: false, _lock: lock };
        if place.reclaim_after_reboot {
            store.reclaim_older_boot(place)?;
        }
        if !store.index.is_signed(&store.dir, boot::time()) {
            store.read_again()?;
        }
        Ok(store)
    }

    /// Reads every reservation and writes the index anew. Where the index cannot be written, what was read is kept
    /// for this command.
    fn read_again(&mut self) -> Result<(), StoreError> {
        let holdings = self.holdings()?;
        self.doubtful = self.index.rebuild(&holdings).is_err();
        self.changed = true;
        self.scanned = self.doubtful.then_some(holdings);
        Ok(())
    }

    /// Every reservation that has an owner.
    fn holdings(&self) -> Result<Holdings, StoreError> {
        let mut holdings = Holdings::new();
        for address in self.addresses()? {
            if let Found::Owned(owner) = reservation::read(&self.path(address))? {
                holdings.entry(owner).or_default().push(address);
            }
        }
        Ok(holdings)
    }

    /// Every address that has a file, whatever is in it. One pass over the directory, no file is opened.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn addresses(&self) -> Result<HashSet<IpAddr>, StoreError> {
        let mut addresses = HashSet::new();
        for entry in fs::read_dir(&self.dir).map_err(StoreError::on("read directory", &self.dir))? {
            let entry = entry.map_err(StoreError::on("read directory", &self.dir))?;
            addresses.extend(entry.file_name().to_str().and_then(reservation::address_of));
        }
        Ok(addresses)
    }

    /// The addresses that `owner` has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn held_by(&mut self, owner: &Owner) -> Result<Vec<IpAddr>, StoreError> {
        if self.scanned.is_none() {
            let hinted = self.index.find(owner);
            let mut all_true = true;
            for address in &hinted {
                all_true &= reservation::read(&self.path(*address))? == Found::Owned(owner.clone());
            }
            if all_true {
                return Ok(hinted);
            }
            // Somebody wrote into a file without making or removing one.
            self.read_again()?;
        }
        match &self.scanned {
            Some(holdings) => Ok(holdings.get(owner).cloned().unwrap_or_default()),
            None => Ok(self.index.find(owner)),
        }
    }

    /// What stands under the name of `address`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn at(&self, address: IpAddr) -> Result<Found, StoreError> {
        reservation::read(&self.path(address))
    }

    /// Writes a reservation of `owner`, to be given an address by [`Store::reserve`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn prepare(&self, owner: &Owner) -> Result<Unnamed, StoreError> {
        Unnamed::write(&self.dir, &self.index, "reservation", &owner.content())
    }

    /// Takes `address`; `false` if somebody has it. A file without an owner is replaced. [`Store::record`] must follow.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn reserve(&mut self, address: IpAddr, reservation: &Unnamed) -> Result<bool, StoreError> {
        let path = self.path(address);
        self.changed = true;
        if reservation.link(&path)? {
            return Ok(true);
        }
        if self.at(address)? != Found::Garbled {
            return Ok(false);
        }
        remove_file(&path)?;
        reservation.link(&path)
    }

    /// Removes the reservation of `address`, whoever has it. [`Store::record`] must follow.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn free(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.changed = true;
        remove_file(&self.path(address)).inspect_err(|_| self.doubtful = true)
    }

    /// Notes that `addresses` are now all that `owner` has.
    pub(crate) fn record(&mut self, owner: &Owner, addresses: &[IpAddr]) {
        match &mut self.scanned {
            Some(holdings) if addresses.is_empty() => drop(holdings.remove(owner)),
            Some(holdings) => drop(holdings.insert(owner.clone(), addresses.to_vec())),
            // Without the note the index is not signed, and the next command reads the files.
            None => self.doubtful |= self.index.record(owner, addresses).is_err(),
        }
    }

    /// Removes all reservations of `owner`, and says whether there were any.
    ///
    /// # Errors
    /// The first [`StoreError`], after trying all.
    pub(crate) fn release(&mut self, owner: &Owner) -> Result<bool, StoreError> {
        let held = self.held_by(owner)?;
        let mut faults = Vec::new();
        for address in &held {
            faults.extend(self.free(*address).err());
        }
        if !held.is_empty() {
            self.record(owner, &[]);
        }
        faults.into_iter().next().map_or(Ok(!held.is_empty()), Err)
    }

    /// Removes every reservation whose owner is not in `valid`, and every file of an address that has no owner.
    ///
    /// # Errors
    /// All [`StoreError`]s, after trying all files.
    pub(crate) fn keep_only(&mut self, valid: &Valid<'_>) -> Result<(), Vec<StoreError>> {
        let mut faults = Vec::new();
        let mut kept = Holdings::new();
        for address in self.addresses().map_err(|e| vec![e])? {
            match self.at(address) {
                Ok(Found::Owned(owner)) if valid.contains(&owner) => kept.entry(owner).or_default().push(address),
                Ok(Found::Owned(_) | Found::Garbled) => faults.extend(self.free(address).err()),
                Ok(Found::Foreign | Found::Absent) => {}
                Err(e) => {
                    self.doubtful = true;
                    faults.push(e);
                }
            }
        }
        if self.changed {
            self.doubtful |= self.index.rebuild(&kept).is_err();
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Where round robin stopped in range set `set`. `None` where nothing, or nothing readable, says so.
    pub(crate) fn last_reserved(&self, set: usize) -> Option<IpAddr> {
        let content = read_if_present(&self.last_reserved_path(set)).ok()??;
        std::str::from_utf8(&content).ok()?.trim().parse().ok()
    }

    /// Notes where round robin stopped. The note is a convenience: without it the search begins at the start of the
    /// set, so a full disk is no reason to refuse an address that is reserved already.
    ///
    /// The old note is removed before the new one is linked, and a kill between the two loses it. Renaming over it would
    /// not, but ext4 starts to write the disk on such a rename, which takes longer than all the rest of an ADD.
    pub(crate) fn set_last_reserved(&mut self, set: usize, address: IpAddr) {
        self.changed = true;
        let path = self.last_reserved_path(set);
        let _ = Unnamed::write(&self.dir, &self.index, "last_reserved_ip", &address.to_string())
            .and_then(|note| remove_file(&path).and_then(|()| note.link(&path)));
    }

    /// Frees what was reserved before this boot, once per boot. `reclaimAfterReboot` only.
    ///
    /// Whether this boot was seen already is told by its id, which no clock can move; the age of the files only
    /// keeps those that a Go plugin made since.
    fn reclaim_older_boot(&mut self, place: &Place) -> Result<(), StoreError> {
        let seen = self.index.dir().with_file_name(format!(".boot.{}", place.network));
        let boot_id = boot::id()?;
        if read_if_present(&seen)?.is_some_and(|id| id == boot_id.as_bytes()) {
            return Ok(());
        }
        let boot = boot::time();
        for address in self.addresses()? {
            let path = self.path(address);
            let older = fs::symlink_metadata(&path)
                .is_ok_and(|meta| meta.is_file() && meta.modified().is_ok_and(|time| time < boot));
            if older {
                remove_file(&path)?;
            }
        }
        // Last, so that a kill before it means: once more.
        self.index.ensure()?;
        remove_file(&seen)?;
        Unnamed::write(&self.dir, &self.index, "boot", &boot_id)?.link(&seen)?;
        Ok(())
    }

    fn path(&self, address: IpAddr) -> PathBuf {
        self.dir.join(address.to_string())
    }

    fn last_reserved_path(&self, set: usize) -> PathBuf {
        self.dir.join(format!("last_reserved_ip.{set}"))
    }

    /// The network's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Store {
    /// Signs what this command changed, before the lock goes.
    fn drop(&mut self) {
        if self.changed && !self.doubtful {
            // An index without a signature is read past, so nothing is wrong, only slower.
            let _ = self.index.sign(&self.dir);
        }
    }
}
