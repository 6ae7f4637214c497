//! Which addresses an owner has, without reading every reservation.
//!
//! The reservations are the truth; the index is a hint beside them, in `<dataDir>/.owners/<network>/`: one symbolic
//! link per owner, named after the owner, whose target is the list of its addresses. (A link is made and read in one
//! system call each, and needs no block on the disk.) The directory lies outside of the network's own, because the
//! Go plugin reads every file below that one; no network is called `.owners`, since names begin with a letter or digit.
//!
//! The index is believed only while both directories carry our *signature*: the same modification time, whose
//! nanoseconds are [`SIGNATURE_NS`]. Each of our commands signs after its changes, still under the lock. Whoever else
//! makes or removes a file in one of the directories (a Go plugin, an operator) sets another time by that, and so does
//! a command of ours that is killed before it signs. The next command then reads the reservations once, writes the
//! index anew and signs. A signature of an earlier boot does not count either: after a power loss the two directories
//! may have come back in different states.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use libcni::names::NetworkName;
use libcni::store::{StoreError, ensure_dir, remove_file};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use sha2::{Digest, Sha256};

use crate::owner::Owner;

/// The nanoseconds of a signed modification time. The kernel's own times come from a clock that ticks every few
/// milliseconds, or with all nine digits: one in a thousand million looks like this, and would also have to come in
/// the second of our signature. Filesystems that keep coarser times never look signed, and are read every time.
const SIGNATURE_NS: i64 = 271_828_183;

/// The longest name of an entry made of the owner itself; `NAME_MAX` is 255 bytes.
const MAX_PLAIN_NAME: usize = 200;

const MODE: u32 = 0o700;

/// All reservations, by owner.
pub(crate) type Holdings = BTreeMap<Owner, Vec<IpAddr>>;

/// The index of one network. Used under the network's lock only.
#[derive(Debug)]
pub(crate) struct Index {
    dir: PathBuf,
}

impl Index {
    /// The index of `network` in `data_dir`. Nothing is touched yet.
    pub(crate) fn new(data_dir: &Path, network: &NetworkName) -> Self {
        Self { dir: data_dir.join(".owners").join(network) }
    }

    /// Where files may be prepared out of the Go plugin's sight: the same filesystem as the reservations.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the index's directory where it is missing.
    pub(crate) fn ensure(&self) -> Result<(), StoreError> {
        ensure_dir(&self.dir, MODE)
    }

    /// Whether the index tells what is in `reservations`, the network's directory, as of now.
    pub(crate) fn is_signed(&self, reservations: &Path, boot: SystemTime) -> bool {
        let Ok(signed) = fs::metadata(reservations).map(|meta| (meta.mtime(), meta.mtime_nsec())) else { return false };
        // Whole seconds are compared with a time that has a fraction, hence the second of grace.
        let boot = boot.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        signed.1 == SIGNATURE_NS
            && signed.0.saturating_add(1) >= i64::try_from(boot).unwrap_or(i64::MAX)
            && fs::metadata(&self.dir).is_ok_and(|meta| (meta.mtime(), meta.mtime_nsec()) == signed)
    }

    /// Signs: from now on the index is believed. The index's own directory comes last, so that a kill between the
    /// two leaves them different.
    pub(crate) fn sign(&self, reservations: &Path) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let time = TimeSpec::new(i64::try_from(now).unwrap_or(0), SIGNATURE_NS);
        for dir in [reservations, &self.dir] {
            utimensat(AT_FDCWD, dir, &TimeSpec::UTIME_OMIT, &time, UtimensatFlags::FollowSymlink)?;
        }
        Ok(())
    }

    /// The addresses of `owner`; empty where the index knows none.
    pub(crate) fn find(&self, owner: &Owner) -> Vec<IpAddr> {
        fs::read_link(self.entry(owner))
            .ok()
            .and_then(|target| Some(target.to_str()?.split(',').filter_map(|text| text.parse().ok()).collect()))
            .unwrap_or_default()
    }

    /// Makes `addresses` all that `owner` has.
    pub(crate) fn record(&self, owner: &Owner, addresses: &[IpAddr]) -> Result<(), StoreError> {
        let entry = self.entry(owner);
        if addresses.is_empty() {
            return remove_file(&entry);
        }
        let target = target(addresses);
        match symlink(&target, &entry) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                remove_file(&entry)?;
                symlink(&target, &entry).map_err(StoreError::on("write", entry))
            }
            made => made.map_err(StoreError::on("write", entry)),
        }
    }

    /// Makes the index say `holdings` and nothing else. Entries that say so already are left alone.
    pub(crate) fn rebuild(&self, holdings: &Holdings) -> Result<(), StoreError> {
        self.ensure()?;
        let mut wanted: BTreeMap<PathBuf, (&Owner, &[IpAddr])> =
            holdings.iter().map(|(owner, addresses)| (self.entry(owner), (owner, addresses.as_slice()))).collect();
        let fault = |e| StoreError::on("read directory", &self.dir)(e);
        for found in fs::read_dir(&self.dir).map_err(fault)? {
            let path = found.map_err(fault)?.path();
            let right = wanted
                .get(&path)
                .is_some_and(|(_, addresses)| fs::read_link(&path).is_ok_and(|t| t == Path::new(&target(addresses))));
            if right {
                wanted.remove(&path);
            } else {
                remove_file(&path)?;
            }
        }
        wanted.into_values().try_for_each(|(owner, addresses)| self.record(owner, addresses))
    }

    /// `<container ID>,<interface>`, or `<container ID>` for the old form. A comma is in no container ID, so the name
    /// is unambiguous; `~` begins none, so a shortened name is no other owner's.
    fn entry(&self, owner: &Owner) -> PathBuf {
        let name = owner.joined(",");
        if name.len() <= MAX_PLAIN_NAME {
            return self.dir.join(name);
        }
        let mut short = String::from("~");
        for byte in Sha256::digest(&name) {
            short.push_str(&format!("{byte:02x}"));
        }
        self.dir.join(short)
    }
}

fn target(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}
