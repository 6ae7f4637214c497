//! Where the plugins under test and the reference are, and the fixtures.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::skip;

/// A directory of plugin binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// The plugins under test: `FERRULE_BIN_DIR`. Without it the calling test is skipped.
    #[must_use]
    pub fn ours() -> Option<Self> {
        Self::named_by("FERRULE_BIN_DIR")
    }

    /// The Go reference plugins: `GOREF_BIN_DIR`. Without it the calling test is skipped.
    #[must_use]
    pub fn reference() -> Option<Self> {
        Self::named_by("GOREF_BIN_DIR")
    }

    /// Both, for tests that swap one for the other.
    #[must_use]
    pub fn both() -> Option<(Self, Self)> {
        Some((Self::ours()?, Self::reference()?))
    }

    fn named_by(variable: &str) -> Option<Self> {
        let Some(dir) = std::env::var_os(variable) else {
            skip(format_args!("{variable} is not set (hint: scripts/test sets it)"));
            return None;
        };
        Some(Self::at(Path::new(&dir)))
    }

    /// The plugins in `dir`.
    ///
    /// # Panics
    /// If there is no such directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self(dir.canonicalize().unwrap_or_else(|e| panic!("plugin directory {}: {e}", dir.display())))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// The value of `CNI_PATH` in tests: the directory, then the plugins that are written for tests.
    #[must_use]
    pub fn search_path(&self) -> String {
        format!("{}:{}/fixtures/plugins", self.0.display(), env!("CARGO_MANIFEST_DIR"))
    }

    /// The executable of the plugin type `name`.
    #[must_use]
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// The program `scripts/<name>`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}

/// The JSON file `tests/fixtures/<name>`.
///
/// # Panics
/// If it is missing or malformed.
#[must_use]
pub fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
