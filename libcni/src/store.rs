//! State on disk that survives a kill at any point: a lock, and files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs2::FileExt;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

/// A file operation that failed: what, on which path, why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct StoreError {
    /// What was attempted: `create`, `lock`, `write`…
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl StoreError {
    /// Maps the error of `action` on `path`: `.map_err(StoreError::on("read", path))`.
    pub fn on(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.into(), source }
    }
}

/// An exclusive lock on a file, given back on drop. It is flock(2), so it excludes the Go plugins too.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl Lock {
    /// Waits for the lock on the file at `path`, which is made if missing.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be opened or locked.
    pub fn exclusive(path: &Path) -> Result<Self, StoreError> {
        // The reference opens a directory or this very file, mode 0750; the content is never used.
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o750)
            .open(path)
            .map_err(StoreError::on("open", path))?;
        Self::of(file, path)
    }

    /// Waits for the lock on an open file; `path` is for the error.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be locked.
    pub fn of(file: File, path: &Path) -> Result<Self, StoreError> {
        file.lock_exclusive().map_err(StoreError::on("lock", path))?;
        Ok(Self(file))
    }
}

/// Makes `dir` and its parents with `mode` (less the umask) where they are missing.
///
/// # Errors
/// [`StoreError`].
pub fn ensure_dir(dir: &Path, mode: u32) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(dir).map_err(StoreError::on("create directory", dir))
}

/// Replaces the file at `path` by one with `content` and `mode`: written without a name, synced, then named; a file
/// that is there already is replaced by rename(2) from a name beside it that begins with a dot. A reader sees the old
/// content or the new; a full disk leaves the old; a kill leaves nothing but, between two system calls, that name.
///
/// # Errors
/// [`StoreError`]; the temporary file is removed.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreError> {
    write(path, content, mode, place)
}

/// As [`write_atomic`], always by rename(2): for directories that somebody watches. containerd reads its networks when a file
/// there is written, renamed or removed; one that appears by link(2) it sees too early or never.
///
/// # Errors
/// As of [`write_atomic`].
pub fn write_by_rename(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreError> {
    write(path, content, mode, place_by_rename)
}

/// Gives an anonymous file its place: by way of a temporary name, if need be.
type Place = fn(&File, &Path, &Path) -> io::Result<()>;

fn write(path: &Path, content: &[u8], mode: u32, place: Place) -> Result<(), StoreError> {
    let fault = |action| StoreError::on(action, path);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fault("write")(io::ErrorKind::InvalidInput.into()));
    };
    // One process writes one path once at a time; the pid keeps processes apart.
    let temporary = dir.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    // A relative path of one part lies in the current directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let written = match anonymous(dir, content, mode) {
        Ok(file) => file.sync_data().and_then(|()| place(&file, &temporary, path)),
        Err(e) if lacks_anonymous_files(&e) => write_named(&temporary, content, mode, path),
        Err(e) => Err(e),
    };
    written.map_err(|source| {
        // Nothing more can be done if this fails too; the name says what it is.
        let _ = fs::remove_file(&temporary);
        fault("write")(source)
    })
}

/// Gives an anonymous file the name `path`, by way of `temporary` if that is taken.
fn place(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    match name(file, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        named => return named,
    }
    place_by_rename(file, temporary, path)
}

fn place_by_rename(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    // Of a process with this pid that was killed.
    let _ = fs::remove_file(temporary);
    name(file, temporary)?;
    fs::rename(temporary, path)
}

/// As [`write_atomic`], where files cannot be made without a name.
fn write_named(temporary: &Path, content: &[u8], mode: u32, path: &Path) -> io::Result<()> {
    let mut file = File::options().create(true).truncate(true).write(true).mode(mode).open(temporary)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(temporary, path)
}

fn write_for_a_moment(path: &Path) -> io::Result<()> {
    let written = File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?.write_all(b"status");
    fs::remove_file(path)?;
    written
}

/// Removes what processes that were killed in [`write_atomic`] left unfinished in `dir`, whoever they worked for. Others
/// may be writing there.
///
/// # Errors
/// The first [`StoreError`], after trying everything.
pub fn remove_unfinished(dir: &Path) -> Result<(), StoreError> {
    let is_left = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with('.'));
        let pid = name.and_then(|name| name.rsplit_once('.')).and_then(|(_, pid)| pid.parse::<u32>().ok());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
    };
    let faults = files(dir)?.into_iter().filter(is_left).filter_map(|path| remove_file(&path).err());
    faults.collect::<Vec<_>>().into_iter().next().map_or(Ok(()), Err)
}

/// The content of `path`; `None` if there is no such file.
///
/// # Errors
/// [`StoreError`].
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::on("read", path)(e)),
    }
}

/// The regular files of `dir` and links to them, sorted by path; a missing `dir` has none.
///
/// # Errors
/// [`StoreError`] if the directory cannot be listed.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let fault = |e| StoreError::on("list directory", dir)(e);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(fault(e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        // What cannot be examined, as a dangling link, is left for the reader to stumble on and report.
        if fs::metadata(&path).map_or(true, |meta| meta.is_file()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Removes the file at `path`; absent is success.
///
/// # Errors
/// [`StoreError`].
pub fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::on("remove", path)(e)),
        _ => Ok(()),
    }
}

/// A file without a name on the filesystem of `dir`, with `content` and `mode` (`O_TMPFILE`). It goes when it is closed.
///
/// # Errors
/// As of open(2) and write(2); see [`lacks_anonymous_files`].
pub fn anonymous(dir: &Path, content: &[u8], mode: u32) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE.bits();
    let mut file = File::options().write(true).custom_flags(flags).mode(mode).open(dir)?;
    // Without /proc it could not be named.
    if !Path::new("/proc/self/fd").exists() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    file.write_all(content)?;
    Ok(file)
}

/// Gives an [`anonymous`] file a name, by linkat(2) from /proc: the way without privileges.
///
/// # Errors
/// As of linkat(2): `EEXIST` if the name is taken.
pub fn name(file: &File, path: &Path) -> io::Result<()> {
    let source = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(linkat(AT_FDCWD, &source, AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?)
}

/// Whether `fault` says that the filesystem (EOPNOTSUPP, EINVAL) or the kernel (EISDIR) has no `O_TMPFILE`.
#[must_use]
pub fn lacks_anonymous_files(fault: &io::Error) -> bool {
    matches!(fault.raw_os_error().map(Errno::from_raw), Some(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EISDIR))
}

/// Whether a file could be written in `dir`, which is made when it is needed: one without a name, or with a temporary one where
/// there are no others, is written there, or in the nearest parent that exists.
///
/// # Errors
/// [`StoreError`]: read-only, full, not allowed.
pub fn require_writable(dir: &Path) -> Result<(), StoreError> {
    // A relative path ends in the empty one, which is the current directory.
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let probed = match anonymous(existing, b"status", 0o600) {
        // The permissions alone say nothing: root may do everything, and /proc still has no room for a file.
        Err(e) if lacks_anonymous_files(&e) => {
            write_for_a_moment(&existing.join(format!(".status.{}", std::process::id())))
        }
        probed => probed.map(drop),
    };
    probed.map_err(StoreError::on("write files in", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(read_if_present(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        remove_file(&path).unwrap();
        remove_file(&path).unwrap();
        assert_eq!(read_if_present(&path).unwrap(), None);
    }

    #[test]
    fn only_what_nobody_finishes_any_more_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, hidden) = (format!(".state.{}", std::process::id()), ".hidden.file".to_owned());
        // Greater than any process id can be.
        for name in [".state.99999999", &ours, &hidden, "state.99999999"] {
            File::create(dir.path().join(name)).unwrap();
        }
        remove_unfinished(dir.path()).unwrap();
        let left: Vec<_> = files(dir.path()).unwrap().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(left, [hidden.as_str(), ours.as_str(), "state.99999999"]);
        remove_unfinished(&dir.path().join("missing")).unwrap();
    }

    #[test]
    fn what_is_writable_is_told_by_writing() {
        let dir = tempfile::tempdir().unwrap();
        require_writable(&dir.path().join("later/deeper")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let moment = dir.path().join("moment");
        write_for_a_moment(&moment).unwrap();
        assert!(!moment.exists());
        // Not even root can make a file there.
        let e = require_writable(Path::new("/proc/cni/networks")).unwrap_err();
        assert_eq!(e.path, Path::new("/proc/cni/networks"));
    }

    #[test]
    fn the_lock_excludes_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        let other = File::open(&path).unwrap();
        assert!(FileExt::try_lock_exclusive(&other).is_err());
        drop(held);
        assert!(FileExt::try_lock_exclusive(&other).is_ok());
    }
}
