//! Namespaces of its own for this process: what it does to links, to /run and to /var/lib/cni, no machine notices.
#![expect(clippy::disallowed_methods, reason = "the process of a node moves to namespaces of its own, as a whole")]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

/// Where the suite keeps what is its own on a node.
pub(crate) const DIR: &str = "/run/conformance";

/// Where plugins of the suite lie on a node.
pub(crate) const OWN_PLUGINS: &str = "/run/conformance/plugins";

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel does not allow it.
    #[error(
        "cannot make namespaces (hint: sysctl kernel.unprivileged_userns_clone=1, or \
         kernel.apparmor_restrict_unprivileged_userns=0, or run as root)"
    )]
    Unshare(#[source] Errno),
    /// This process cannot become root of its namespace.
    #[error("cannot write {}", path.display())]
    Identity {
        /// `/proc/self/uid_map` or one of its kind.
        path: &'static Path,
        /// Why.
        source: io::Error,
    },
    /// A file system of its own cannot be mounted.
    #[error("cannot mount {}", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory of plugins, or this program, cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Moves this process, which must have one thread, to namespaces of its own, with /run, /var/lib/cni and /etc/cni empty;
/// where the plugins of `bin_dir` are there.
///
/// # Errors
/// [`SandboxError`]; the process is of no use then.
pub(crate) fn enter(bin_dir: &Path) -> Result<PathBuf, SandboxError> {
    let open = |path: &Path| File::open(path).map_err(|source| SandboxError::Open { path: path.to_owned(), source });
    let program = Path::new("/proc/self/exe");
    let program = program.read_link().map_err(|source| SandboxError::Open { path: program.to_owned(), source })?;
    unshare_all()?;
    // Opened in the new mount namespace, since nothing else can be bound there.
    let (plugins, program) = (open(bin_dir)?, open(&program)?);
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |errno: Errno| SandboxError::Mount { path, source: errno.into() }
    };
    let root = Path::new("/");
    mount(None::<&str>, root, None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(fault(root))?;
    let state = if Path::new("/var/lib/cni").is_dir() { "/var/lib/cni" } else { "/var/lib" };
    for path in ["/run", state, "/etc/cni"].map(Path::new).into_iter().filter(|path| path.is_dir()) {
        mount(Some("conformance"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).map_err(fault(path))?;
    }
    // /sys shows the links of the namespace in which it was mounted. Plugins should not look there; where it cannot be
    // mounted, those that do see the wrong links.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
    std::fs::create_dir_all(OWN_PLUGINS).map_err(|source| SandboxError::Mount { path: OWN_PLUGINS.into(), source })?;
    let ipam = Path::new(OWN_PLUGINS).join(crate::profile::RECORDING_IPAM);
    File::create(&ipam).map_err(|source| SandboxError::Mount { path: ipam.clone(), source })?;
    bind(&program, &ipam)?;
    if bin_dir.is_dir() {
        return Ok(bin_dir.to_owned());
    }
    // It was in one of the directories that are empty now.
    let seen = Path::new(DIR).join("bin");
    std::fs::create_dir(&seen).map_err(|source| SandboxError::Mount { path: seen.clone(), source })?;
    bind(&plugins, &seen)?;
    Ok(seen)
}

/// Shows what is open as `file` at `path`, too.
fn bind(file: &File, path: &Path) -> Result<(), SandboxError> {
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| SandboxError::Mount { path: path.to_owned(), source: errno.into() })
}

/// New namespaces: as root of a new user namespace, or, where there are none, as the root that this process is.
fn unshare_all() -> Result<(), SandboxError> {
    let (user, group) = (getuid(), getgid());
    let of_node = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    match unshare(of_node | CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {
            tell("/proc/self/setgroups", "deny")?;
            tell("/proc/self/uid_map", &format!("0 {user} 1"))?;
            tell("/proc/self/gid_map", &format!("0 {group} 1"))
        }
        Err(_) if user.is_root() => unshare(of_node).map_err(SandboxError::Unshare),
        Err(errno) => Err(SandboxError::Unshare(errno)),
    }
}

fn tell(path: &'static str, text: &str) -> Result<(), SandboxError> {
    let write = || File::options().write(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|source| SandboxError::Identity { path: Path::new(path), source })
}

/// What of /run outlives a reboot: what the suite keeps.
const KEPT: &str = "conformance";

/// Makes a new network namespace this process's, and empties /run: what a reboot leaves are files elsewhere.
///
/// # Errors
/// [`SandboxError`].
pub(crate) fn reboot() -> Result<(), SandboxError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(SandboxError::Unshare)?;
    // It shows the namespace in which it was mounted; see [`enter`].
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
    let run = Path::new("/run");
    let fault = |source| SandboxError::Open { path: run.to_owned(), source };
    for entry in std::fs::read_dir(run).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.file_name() == KEPT {
            continue;
        }
        let path = entry.path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(fault)?;
    }
    Ok(())
}
