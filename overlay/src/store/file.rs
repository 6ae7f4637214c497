//! Nodes in a file, or one file each in a directory: needs nothing else, and is watched.

use std::path::PathBuf;

use serde::Deserialize;

/// The table `[store.file]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileConf {
    /// A file of all nodes, or a directory of one file per node.
    pub(crate) path: PathBuf,
    /// Where it is a directory that nodes share: write this node's own file.
    #[serde(default)]
    pub(crate) publish: bool,
}
