//! Finding networks in a configuration directory.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::causes;
use crate::runtime::conflist::NetworkList;
use crate::store::{self, StoreError};

/// A file that was passed over, and why. One broken file does not hide the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped {}: {}", self.path.display(), self.reason)
    }
}

/// The networks of a directory.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// The lists with the files they come from: first the `.conflist` files, then the `.conf` and `.json` files,
    /// each sorted by name. Where two have one name, the first counts.
    pub lists: Vec<(PathBuf, NetworkList)>,
    /// The files that cannot be used.
    pub skipped: Vec<Skipped>,
}

/// A network that was found by its name.
#[derive(Clone, Debug)]
pub struct Found {
    /// The network.
    pub list: NetworkList,
    /// Its file.
    pub path: PathBuf,
    /// Files of the directory that cannot be used. One of them may have been meant.
    pub skipped: Vec<Skipped>,
}

/// Why a network cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory cannot be read.
    #[error(transparent)]
    Directory(#[from] StoreError),
    /// There is no configuration file at all.
    #[error("no net configurations found in {}", .0.display())]
    Empty(PathBuf),
    /// No file has a network of this name.
    #[error("no net configuration with name \"{name}\" in {}{}", dir.display(), Reasons(skipped))]
    NotFound {
        /// The name looked for.
        name: String,
        /// The directory.
        dir: PathBuf,
        /// The names that are there.
        present: Vec<String>,
        /// Files that cannot be used. One of them may have been meant.
        skipped: Vec<Skipped>,
    },
}

struct Reasons<'a>(&'a [Skipped]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|skipped| write!(f, "; {skipped}"))
    }
}

impl Networks {
    /// Reads all configuration files of `dir`. A missing directory has none.
    ///
    /// # Errors
    /// [`StoreError`] if the directory cannot be listed. A file that cannot be used is no error: see
    /// [`Networks::skipped`].
    pub fn read(dir: &Path) -> Result<Self, StoreError> {
        let mut networks = Self::default();
        let files = store::files(dir)?;
        let has =
            |path: &Path, extensions: &[&str]| path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x));
        let lists = files.iter().filter(|path| has(path, &["conflist"]));
        for path in lists.chain(files.iter().filter(|path| has(path, &["conf", "json"]))) {
            match NetworkList::from_file(path) {
                Ok(list) => networks.lists.push((path.clone(), list)),
                Err(fault) => networks.skipped.push(Skipped { path: path.clone(), reason: causes(Some(&fault)) }),
            }
        }
        Ok(networks)
    }
}

/// The network `name` of the configuration directory `dir`.
///
/// # Errors
/// [`LoadError`]; its message names the files that were skipped.
pub fn find_network(dir: &Path, name: &str) -> Result<Found, LoadError> {
    let Networks { lists, skipped } = Networks::read(dir)?;
    if lists.is_empty() && skipped.is_empty() {
        return Err(LoadError::Empty(dir.to_owned()));
    }
    let present = lists.iter().map(|(_, list)| list.name.to_string()).collect();
    match lists.into_iter().find(|(_, list)| list.name.as_str() == name) {
        Some((path, list)) => Ok(Found { list, path, skipped }),
        None => Err(LoadError::NotFound { name: name.to_owned(), dir: dir.to_owned(), present, skipped }),
    }
}
