//! Kernel settings under /proc/sys (`sysctl`).
//!
//! Those under `net/` are of the calling thread's network namespace: wrap the calls in [`libcni::netns::Netns::within`].

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};

const ROOT: &str = "/proc/sys";

/// What went wrong with a setting.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The key would leave /proc/sys, or is empty.
    #[error("invalid sysctl key \"{0}\"")]
    Key(String),
    /// No setting can be written.
    #[error("/proc/sys is mounted read-only")]
    ReadOnly,
    /// It cannot be read.
    #[error("cannot read sysctl {key}")]
    Read {
        /// The key as it was given.
        key: String,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot set sysctl {key} to \"{value}\"")]
    Write {
        /// The key as it was given.
        key: String,
        /// The value.
        value: String,
        /// Why.
        source: io::Error,
    },
}

impl SysctlError {
    /// Whether the kernel has no such setting (or the link that it is of is gone).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(Errno::ENOENT)
    }

    /// The error number, if a system call gave one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Key(_) => None,
            Self::ReadOnly => Some(Errno::EROFS),
            Self::Read { source, .. } | Self::Write { source, .. } => source.raw_os_error().map(Errno::from_raw),
        }
    }
}

/// The value, without the line's end (`sysctl -n KEY`).
///
/// The key's parts are separated by `/`, or by `.` if that comes first; the other one is then part of the names, so
/// that `net/ipv4/conf/eth0.100/forwarding` and `net.ipv4.conf.eth0/100.forwarding` are the same.
///
/// # Errors
/// [`SysctlError::Key`] and [`SysctlError::Read`].
pub fn read(key: &str) -> Result<String, SysctlError> {
    let text = fs::read_to_string(path(key)?).map_err(|source| SysctlError::Read { key: key.to_owned(), source })?;
    Ok(text.trim_end().to_owned())
}

/// Sets the value (`sysctl -w KEY=VALUE`).
///
/// # Errors
/// [`SysctlError::Key`] and [`SysctlError::Write`].
pub fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    let path = path(key)?;
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|source| SysctlError::Write { key: key.to_owned(), value: value.to_owned(), source })
}

/// Sets the value unless it is set already; true if it was not. So it works where /proc/sys is read-only and the
/// administrator has set it.
///
/// # Errors
/// [`SysctlError::Key`], [`SysctlError::Read`] and [`SysctlError::Write`].
pub fn ensure(key: &str, value: &str) -> Result<bool, SysctlError> {
    if read(key)? == value {
        return Ok(false);
    }
    write(key, value).map(|()| true)
}

/// Has this namespace forward packets of the families of `addresses`. Written only where it is not so already: the
/// write itself resets other settings of every link.
///
/// # Errors
/// As [`ensure`].
pub fn enable_forwarding(addresses: impl IntoIterator<Item = IpAddr>) -> Result<(), SysctlError> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    for (key, is_wanted) in [("net/ipv4/ip_forward", !v4.is_empty()), ("net/ipv6/conf/all/forwarding", !v6.is_empty())]
    {
        if is_wanted {
            ensure(key, "1")?;
        }
    }
    Ok(())
}

/// Has `link` take no routes from what others on it advertise (`accept_ra`): a container must not tell its host where
/// to send packets. Where IPv6 is missing there is nothing to ignore.
///
/// # Errors
/// As [`ensure`].
pub fn ignore_router_advertisements(link: &str) -> Result<(), SysctlError> {
    ensure_ipv6(link, "accept_ra", "0")
}

/// Has `link` use its link-local IPv6 address at once (`accept_dad`), which otherwise is tentative for a second or two.
///
/// # Errors
/// As [`ensure`].
pub fn skip_duplicate_address_detection(link: &str) -> Result<(), SysctlError> {
    ensure_ipv6(link, "accept_dad", "0")
}

/// Where IPv6 is missing there is nothing to set.
fn ensure_ipv6(link: &str, key: &str, value: &str) -> Result<(), SysctlError> {
    match ensure(&format!("net/ipv6/conf/{link}/{key}"), value) {
        Err(e) if e.is_not_found() => Ok(()),
        done => done.map(drop),
    }
}

/// Whether there is such a setting.
#[must_use]
pub fn exists(key: &str) -> bool {
    path(key).is_ok_and(|path| path.exists())
}

/// Whether settings can be written: /proc/sys is not mounted read-only, as it is in containers.
///
/// # Errors
/// [`SysctlError::ReadOnly`].
pub fn require_writable() -> Result<(), SysctlError> {
    match statvfs(ROOT) {
        Ok(mount) if mount.flags().contains(FsFlags::ST_RDONLY) => Err(SysctlError::ReadOnly),
        // Where it cannot be told, the first write will.
        _ => Ok(()),
    }
}

fn path(key: &str) -> Result<PathBuf, SysctlError> {
    let dotted = key.find(['.', '/']).is_some_and(|at| key.as_bytes().get(at) == Some(&b'.'));
    let relative: String = if dotted { key.chars().map(swap).collect() } else { key.to_owned() };
    // A link may be called `a..b`, but no part may be `..` alone.
    let stays_inside = relative.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if stays_inside { Ok(Path::new(ROOT).join(relative)) } else { Err(SysctlError::Key(key.to_owned())) }
}

fn swap(c: char) -> char {
    match c {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_separator_is_understood() {
        for key in ["net/ipv4/conf/eth0.100/forwarding", "net.ipv4.conf.eth0/100.forwarding"] {
            assert_eq!(path(key).unwrap(), Path::new("/proc/sys/net/ipv4/conf/eth0.100/forwarding"));
        }
        assert_eq!(path("kernel").unwrap(), Path::new("/proc/sys/kernel"));
    }

    #[test]
    fn keys_cannot_leave() {
        for key in ["", "/etc/passwd", "net/../../etc/passwd", "..", "net//x", "net/", "../etc/passwd"] {
            assert!(matches!(path(key), Err(SysctlError::Key(_))), "{key}");
        }
    }

    #[test]
    fn reads_and_says_what_is_missing() {
        assert!(!read("kernel/ostype").unwrap().ends_with('\n'));
        assert!(!ensure("kernel.ostype", "Linux").unwrap());
        assert!(exists("kernel.ostype") && !exists("kernel.osstype") && !exists("../meminfo"));
        let error = read("net/ipv4/conf/nowhere0/forwarding").unwrap_err();
        assert_eq!(error.to_string(), "cannot read sysctl net/ipv4/conf/nowhere0/forwarding");
        assert!(error.is_not_found());
    }
}
