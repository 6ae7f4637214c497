//! The daemon's socket: made, or passed by systemd; and its pidfile.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use libcni::socket;
use libcni::store::{self, StoreError};

use super::DaemonError;

/// The first descriptor that systemd passes (sd_listen_fds(3), `SD_LISTEN_FDS_START`).
const FIRST_PASSED: i32 = 3;
/// As the mode in cni-dhcp.socket.
const SOCKET_MODE: u32 = 0o660;
const PIDFILE_MODE: u32 = 0o644;

/// Why there is no socket to listen at.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    #[error(transparent)]
    Listen(#[from] socket::ListenError),
    #[error("Too many ({0}) FDs passed through socket activation")]
    TooMany(usize),
    #[error("what was passed through socket activation is no UNIX socket with a path")]
    NotASocket,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    /// As the plugin names it: without the host's prefix.
    path: PathBuf,
    /// The file that ends with the daemon; `None` where it is systemd's.
    own: Option<PathBuf>,
}

impl Listener {
    /// Takes the socket that systemd passes, or makes one at `socket` below `prefix`. A file that a killed daemon left
    /// there is replaced.
    ///
    /// # Errors
    /// [`ListenError`]
    pub(super) fn open(prefix: &str, socket: &Path) -> Result<Self, ListenError> {
        let listener = match passed()? {
            Some(listener) => {
                let address = listener.local_addr().map_err(StoreError::on("examine", "the passed socket"))?;
                let path = address.as_pathname().ok_or(ListenError::NotASocket)?.to_owned();
                let path = path.strip_prefix(prefix).map_or(path.clone(), |inside| Path::new("/").join(inside));
                Self { socket: listener, path, own: None }
            }
            None => {
                let file = PathBuf::from(format!("{prefix}{}", socket.display()));
                Self { socket: socket::listen(&file, SOCKET_MODE)?, path: socket.to_owned(), own: Some(file) }
            }
        };
        listener.socket.set_nonblocking(true).map_err(StoreError::on("use", &listener.path))?;
        Ok(listener)
    }

    /// Its path, as plugins name it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next plugin that connected; `None`: nobody waits.
    ///
    /// # Errors
    /// If the kernel gives no descriptor.
    pub(super) fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                Ok(Some(stream))
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.own {
            // The next daemon replaces it.
            let _ = fs::remove_file(file);
        }
    }
}

/// The socket of systemd's socket activation (sd_listen_fds(3)): meant for this process, and one.
fn passed() -> Result<Option<UnixListener>, ListenError> {
    let number = |key: &str| std::env::var(key).ok().and_then(|value| value.parse::<usize>().ok());
    if number("LISTEN_PID") != usize::try_from(std::process::id()).ok() {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => Ok(None),
        Some(1) => {
            // SAFETY: whoever sets LISTEN_PID to this process leaves it descriptor 3, which nothing else here knows.
            let listener = unsafe { UnixListener::from_raw_fd(FIRST_PASSED) };
            Ok(Some(listener))
        }
        Some(many) => Err(ListenError::TooMany(many)),
    }
}

/// The file with the process id; it ends with the daemon.
#[derive(Debug)]
pub(super) struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes it.
    ///
    /// # Errors
    /// If the path is relative, or cannot be written.
    pub(super) fn write(path: &Path) -> Result<Self, DaemonError> {
        if !path.is_absolute() {
            return Err(DaemonError::PidfileNotAbsolute(path.to_owned()));
        }
        store::write_atomic(path, std::process::id().to_string().as_bytes(), PIDFILE_MODE)
            .map_err(DaemonError::Pidfile)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Whoever reads it finds no such process.
        let _ = fs::remove_file(&self.0);
    }
}
