//! What `scripts/package` makes of the plugins under test: archives, Debian packages, checksums.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

use crate::skip::in_sandbox;
use crate::{Binaries, installed, script, skip};

/// In the sandbox this is a tmpfs that ends with it.
const STATE: &str = "/run";

/// A directory with packages. Those of the same binaries are made once.
#[derive(Clone, Debug)]
pub struct Packages(Arc<TempDir>);

/// The packages that have been made, by the arguments of the script.
static MADE: Mutex<Option<HashMap<Vec<String>, Packages>>> = Mutex::new(None);

impl Packages {
    /// The plugins under test as small as they get: without symbols they are a third, and sooner packed. `None`, with a
    /// printed SKIP, outside the sandbox or without plugins.
    ///
    /// # Panics
    /// If they cannot be copied.
    #[must_use]
    pub fn contents() -> Option<Binaries> {
        static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
        if !in_sandbox() {
            return None;
        }
        let ours = Binaries::ours()?;
        let dir = STRIPPED.get_or_init(|| {
            let dir = tempfile::Builder::new().prefix("stripped-").tempdir_in(STATE).expect("directory").keep();
            for name in ["bridge", "cnitool", "overlayd"] {
                let mut strip = Command::new("strip");
                strip.args(["--strip-all", "-o"]).arg(dir.join(name)).arg(ours.plugin(name));
                assert!(strip.status().expect("strip").success(), "strip {name}");
            }
            dir
        });
        Some(Binaries::at(dir))
    }

    /// The archives of these binaries. `None`, with a printed SKIP, outside the sandbox.
    #[must_use]
    pub fn archives(binaries: &Binaries) -> Option<Self> {
        in_sandbox().then(|| Self::make(binaries, &["--tar"]))
    }

    /// The Debian packages of these binaries. `None`, with a printed SKIP, where they cannot be made.
    #[must_use]
    pub fn debs(binaries: &Binaries, revision: &str) -> Option<Self> {
        can_make_debs().then(|| Self::make(binaries, &["--deb", "--revision", revision]))
    }

    /// The archives and the Debian packages. `None`, with a printed SKIP, where they cannot be made.
    #[must_use]
    pub fn all(binaries: &Binaries) -> Option<Self> {
        can_make_debs().then(|| Self::make(binaries, &[]))
    }

    fn make(binaries: &Binaries, options: &[&str]) -> Self {
        let from = binaries.dir().to_str().expect("a path");
        let arguments: Vec<String> =
            ["--fast", "--from", from].iter().chain(options).map(|&word| word.into()).collect();
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let pack = || {
            let dir = tempfile::Builder::new().prefix("packages-").tempdir_in(STATE).expect("directory");
            let output = Command::new(script("package")).args(&arguments).arg(dir.path()).output().expect("package");
            assert!(output.status.success(), "scripts/package: {}", String::from_utf8_lossy(&output.stderr));
            Self(Arc::new(dir))
        };
        made.get_or_insert_default().entry(arguments.clone()).or_insert_with(pack).clone()
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// The one package whose file name begins so: `ferrule-cni_`.
    ///
    /// # Panics
    /// If there is none, or several.
    #[must_use]
    pub fn named(&self, begin: &str) -> PathBuf {
        let entries = std::fs::read_dir(self.dir()).expect("directory").map(|entry| entry.expect("entry").path());
        let is_wanted = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin));
        let found: Vec<PathBuf> = entries.filter(is_wanted).collect();
        assert_eq!(found.len(), 1, "{begin}: {found:?}");
        found[0].clone()
    }
}

/// Whether this is the sandbox and there are dpkg and cargo-deb. If not, the calling test is skipped; without cargo-deb it fails
/// if `CI=true`.
fn can_make_debs() -> bool {
    if !in_sandbox() || !installed(&["dpkg-deb"]) {
        return false;
    }
    let mut cargo_deb = Command::new(script("install-tools"));
    // It is there, or is to be had by those who have a network.
    let found = cargo_deb.arg("--deb").env("CARGO_NET_OFFLINE", "true").output().expect("install-tools");
    if !found.status.success() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no cargo-deb");
        skip("no cargo-deb (hint: scripts/install-tools)");
    }
    found.status.success()
}
