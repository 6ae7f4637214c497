//! The file of one address: made whole, read with suspicion.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libcni::store::{self, StoreError, anonymous, lacks_anonymous_files, remove_file};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::index::Index;
use crate::owner::Owner;

const MODE: u32 = 0o600;

/// More than any container ID and interface name; a longer file is not one of ours.
const MAX_CONTENT: usize = 4096;

/// What stands under the name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A reservation.
    Owned(Owner),
    /// A file that names no owner, as the reference leaves when it is killed between create and write. It counts as
    /// free.
    Garbled,
    /// Something else than a file. It is not ours to remove, and its name cannot be given.
    Foreign,
    /// Nothing.
    Absent,
}

/// Reads the reservation at `path`.
///
/// # Errors
/// [`StoreError`] if there is a file that cannot be read.
pub(crate) fn read(path: &Path) -> Result<Found, StoreError> {
    // A symbolic link must not lead us elsewhere, nor a FIFO make us wait.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = match File::options().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
        Err(e) if matches!(Errno::from_raw(e.raw_os_error().unwrap_or(0)), Errno::ELOOP | Errno::ENXIO) => {
            return Ok(Found::Foreign);
        }
        Err(e) => return Err(StoreError::on("read", path)(e)),
    };
    if !file.metadata().map_err(StoreError::on("read", path))?.is_file() {
        return Ok(Found::Foreign);
    }
    let mut buffer = [0; MAX_CONTENT];
    // The kernel reads a file's content whole if the buffer takes it.
    let length = file.read(&mut buffer).map_err(StoreError::on("read", path))?;
    let content = buffer.get(..length).filter(|content| content.len() < MAX_CONTENT).unwrap_or_default();
    Ok(Owner::parse(content).map_or(Found::Garbled, Found::Owned))
}

/// The address that a file is named after; `None` for every other name. Only the usual way of writing an address is
/// one: what the reference and we write.
pub(crate) fn address_of(name: &str) -> Option<IpAddr> {
    let address: IpAddr = name.parse().ok()?;
    (address.to_string() == name).then_some(address)
}

/// A file that is written and has no name yet. Giving it one is atomic, and exclusive: whoever comes first has the
/// address. A process killed before that leaves nothing, or a hidden file that the next one overwrites.
#[derive(Debug)]
pub(crate) enum Unnamed {
    /// `O_TMPFILE`: gone with the process.
    Anonymous(File),
    /// A file in the index's directory, for filesystems without `O_TMPFILE`.
    Hidden(PathBuf),
}

impl Unnamed {
    /// Writes `content` on the filesystem of `dir`, the network's directory. Two of one `purpose` cannot be at once.
    ///
    /// It is not synced: docs/decisions/0001-reservations-are-not-synced.md.
    ///
    /// # Errors
    /// [`StoreError`], as on a full disk; nothing is left then.
    pub(crate) fn write(dir: &Path, index: &Index, purpose: &str, content: &str) -> Result<Self, StoreError> {
        match anonymous(dir, content.as_bytes(), MODE) {
            Ok(file) => Ok(Self::Anonymous(file)),
            Err(e) if lacks_anonymous_files(&e) => Self::write_hidden(index, purpose, content.as_bytes()),
            Err(e) => Err(StoreError::on("write a file in", dir)(e)),
        }
    }

    fn write_hidden(index: &Index, purpose: &str, content: &[u8]) -> Result<Self, StoreError> {
        index.ensure()?;
        // The lock keeps other processes away; what a killed one left is replaced.
        let path = index.dir().join(format!(".new.{purpose}"));
        remove_file(&path)?;
        let hidden = Self::Hidden(path.clone());
        let written = File::options().create_new(true).write(true).mode(MODE).open(&path);
        written.and_then(|mut file| file.write_all(content)).map_err(StoreError::on("write", path))?;
        Ok(hidden)
    }

    /// Gives it the name `path`. `false` if that is taken.
    ///
    /// # Errors
    /// [`StoreError`] for any other reason.
    pub(crate) fn link(&self, path: &Path) -> Result<bool, StoreError> {
        let linked = match self {
            Self::Anonymous(file) => store::name(file, path),
            Self::Hidden(hidden) => fs::hard_link(hidden, path),
        };
        match linked {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(StoreError::on("create", path)(e)),
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Self::Hidden(path) = self {
            // What stays is overwritten by the next, and cleared away when the index is written anew.
            let _ = remove_file(path);
        }
    }
}
