//! What is remembered of a directory, in the directory itself: it goes where the files go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use libcni::store::{self, StoreError};
use serde::{Deserialize, Serialize};

/// Below the directory. No runtime looks into directories below its own.
const FOLDER: &str = ".ferrule";

/// Files by name, with the SHA-256 of each.
pub(super) type Sums = BTreeMap<String, String>;

/// A change of the directory.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Change {
    /// What was installed before it.
    pub(super) installed: Sums,
    /// The names that it changed. Those that were there before are kept.
    pub(super) names: BTreeSet<String>,
}

/// `.ferrule/record.json`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Record {
    /// What is of ours.
    pub(super) installed: Sums,
    /// The last change: `rollback` undoes it. What it replaced is in `previous/`.
    #[serde(default)]
    pub(super) previous: Option<Change>,
    /// A change that has begun and not ended. What it replaces is in `pending/`.
    #[serde(default)]
    pub(super) pending: Option<Change>,
}

/// The places below `.ferrule`.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(dir: &Path) -> Self {
        Self(dir.join(FOLDER))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// New files, before they get their names.
    pub(super) fn next(&self) -> PathBuf {
        self.0.join("next")
    }

    /// What the change under way replaces.
    pub(super) fn pending(&self) -> PathBuf {
        self.0.join("pending")
    }

    /// What the last change replaced.
    pub(super) fn previous(&self) -> PathBuf {
        self.0.join("previous")
    }

    /// Files that nobody here had installed, and that were replaced.
    pub(super) fn foreign(&self) -> PathBuf {
        self.0.join("foreign")
    }

    /// An empty record if there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn read(&self) -> Result<Record, StoreError> {
        let path = self.record();
        let Some(content) = store::read_if_present(&path)? else { return Ok(Record::default()) };
        serde_json::from_slice(&content).map_err(std::io::Error::from).map_err(StoreError::on("understand", path))
    }

    /// # Errors
    /// [`StoreError`]
    pub(super) fn write(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.record();
        let text = serde_json::to_vec_pretty(record).map_err(std::io::Error::from);
        store::write_atomic(&path, &text.map_err(StoreError::on("write", &path))?, 0o644)
    }

    fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }
}
