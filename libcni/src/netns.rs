//! Network namespaces: open with checks, compare, enter, make.
//!
//! A namespace is entered in two ways. [`Netns::within`] switches the calling thread there and back: 15 µs, for a
//! socket or a few system calls. [`Netns::run`] uses a new thread that ends: for anything longer, or anything that
//! may panic. Nothing else in this project switches namespaces (clippy.toml forbids it).
#![expect(clippy::disallowed_methods, reason = "this is the one module that may switch and make namespaces")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, NSFS_MAGIC, PROC_SUPER_MAGIC, fstatfs};

use crate::store::{Lock, StoreError};

/// The calling thread's own namespace. (`/proc/self` is the main thread's, which may be in another.)
const CURRENT: &str = "/proc/thread-self/ns/net";

/// Where `ip netns` keeps its names.
pub const NAMED_DIR: &str = "/run/netns";

/// What went wrong with a namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Nothing is at the path: the namespace is gone.
    #[error("network namespace \"{}\" does not exist", .0.display())]
    NotFound(PathBuf),
    /// The path cannot be opened.
    #[error("cannot open network namespace \"{}\"", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is a file on another file system than nsfs and procfs.
    #[error("\"{}\" is no network namespace: unknown FS magic {magic}", path.display())]
    NotANamespace {
        /// The path.
        path: PathBuf,
        /// The magic number that statfs(2) gave, in hexadecimal.
        magic: String,
    },
    /// The thread cannot be moved there: it is a namespace of another type, or the permission is missing.
    #[error("cannot enter network namespace \"{}\"", path.display())]
    Enter {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A namespace cannot be made or named.
    #[error("cannot make network namespace \"{}\"", path.display())]
    Create {
        /// The name's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl NetnsError {
    /// Whether the namespace is simply gone, which DEL treats as success.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// An open network namespace. It lives at least as long as this handle.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace at `path` (`CNI_NETNS`: `/run/netns/NAME`, `/proc/PID/ns/net`).
    ///
    /// # Errors
    /// [`NetnsError::NotFound`] if nothing is there (also for the empty path, which runtimes send on DEL when the
    /// namespace is gone), [`NetnsError::NotANamespace`] for another kind of file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => NetnsError::NotFound(path.to_owned()),
            _ => NetnsError::Open { path: path.to_owned(), source },
        })?;
        let FsType(magic) =
            fstatfs(&file).map_err(|e| NetnsError::Open { path: path.to_owned(), source: e.into() })?.filesystem_type();
        if magic != NSFS_MAGIC.0 && magic != PROC_SUPER_MAGIC.0 {
            // As text: the number is signed with glibc and unsigned with musl.
            return Err(NetnsError::NotANamespace { path: path.to_owned(), magic: format!("{magic:x}") });
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// [`NetnsError::Open`] where /proc is not mounted.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open(CURRENT)
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are the same namespace (device and inode of nsfs).
    ///
    /// # Errors
    /// [`NetnsError::Open`] if either cannot be examined.
    pub fn same_as(&self, other: &Self) -> Result<bool, NetnsError> {
        Ok(self.identity()? == other.identity()?)
    }

    /// What tells it from every other namespace: device and inode of nsfs.
    ///
    /// # Errors
    /// [`NetnsError::Open`] if it cannot be examined.
    pub fn identity(&self) -> Result<(u64, u64), NetnsError> {
        let meta = self.file.metadata().map_err(|source| NetnsError::Open { path: self.path.clone(), source })?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Runs `work` on this thread inside the namespace, then goes back. For opening sockets: a netlink socket
    /// stays in the namespace that it was opened in. `work` must not start threads.
    ///
    /// # Errors
    /// [`NetnsError::Enter`]. If the way back fails the process aborts, since everything it did next would
    /// happen in the wrong namespace.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> Result<T, NetnsError> {
        struct Back(Netns);
        impl Drop for Back {
            fn drop(&mut self) {
                if setns(&self.0.file, CloneFlags::CLONE_NEWNET).is_err() {
                    std::process::abort();
                }
            }
        }
        let current = Self::current()?;
        self.enter()?;
        // From here on: whoever may not enter is where he was, and may not go "back" either.
        let back = Back(current);
        let outcome = work();
        drop(back);
        Ok(outcome)
    }

    /// Runs `work` inside the namespace on a new thread, which ends with it; a panic of `work` goes on in the caller.
    ///
    /// # Errors
    /// [`NetnsError::Enter`].
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.enter().map(|()| work()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Waits for the exclusive lock of this namespace, for what happens to it by several steps that must not mix with
    /// another process's.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be locked.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        // An open file of its own: whoever shares one shares its lock. Not by the path, which may be gone by now, or be
        // another namespace's.
        let this = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let file = File::open(this).map_err(StoreError::on("open", &self.path))?;
        Lock::of(file, &self.path)
    }

    fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|e| NetnsError::Enter { path: self.path.clone(), source: e.into() })
    }

    /// Makes a new namespace and binds it to `path`, as `ip netns add` does. For tools and tests; container
    /// runtimes make their own.
    ///
    /// # Errors
    /// [`NetnsError::Create`], also if `path` exists; nothing is left then.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref();
        let fault = |source: io::Error| NetnsError::Create { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fault)?;
        }
        File::options().write(true).create_new(true).open(path).map_err(fault)?;
        let bound = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)?;
                mount(Some(CURRENT), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        if let Err(e) = bound {
            // The file is ours and empty; if it stays, the next create says so.
            let _ = std::fs::remove_file(path);
            return Err(fault(e.into()));
        }
        Self::open(path)
    }

    /// Removes the name that [`Netns::create`] made. The namespace ends with its last user. Absent is success.
    ///
    /// # Errors
    /// [`NetnsError::Open`] if the name cannot be unmounted or removed.
    pub fn remove(path: impl AsRef<Path>) -> Result<(), NetnsError> {
        let path = path.as_ref();
        let fault = |source: io::Error| NetnsError::Open { path: path.to_owned(), source };
        match umount2(path, nix::mount::MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(e) => return Err(fault(e.into())),
        }
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fault(e)),
            _ => Ok(()),
        }
    }
}

/// Moves the calling thread into a new, empty network namespace for good, to try something out; where the privilege is
/// missing, into a new user namespace too, in which it has every privilege over that. Works only before the process
/// has other threads.
///
/// # Errors
/// [`NetnsError::Create`] where neither is allowed.
pub fn isolate() -> Result<(), NetnsError> {
    let isolated = match unshare(CloneFlags::CLONE_NEWNET) {
        Err(nix::Error::EPERM) => unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET),
        done => done,
    };
    isolated.map_err(|e| NetnsError::Create { path: CURRENT.into(), source: e.into() })
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_namespace_is_itself() {
        let (a, b) = (Netns::current().unwrap(), Netns::open("/proc/self/ns/net").unwrap());
        assert!(a.same_as(&b).unwrap());
    }

    #[test]
    fn what_is_no_namespace_is_told_apart() {
        assert!(Netns::open("").unwrap_err().is_not_found());
        assert!(Netns::open("/nowhere/net").unwrap_err().is_not_found());
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = Netns::open(file.path()).unwrap_err().to_string();
        assert!(text.contains("unknown FS magic"), "{text}");
    }

    #[test]
    fn other_kinds_of_namespace_cannot_be_entered() {
        let mnt = Netns::open("/proc/self/ns/mnt").unwrap();
        assert!(matches!(mnt.within(|| ()), Err(NetnsError::Enter { .. })));
        assert!(matches!(mnt.run(|| ()), Err(NetnsError::Enter { .. })));
    }
}
