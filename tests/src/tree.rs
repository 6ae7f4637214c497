//! The files of a directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Each path below a directory, with `TYPE MODE` or where the link leads.
pub type Tree = BTreeMap<PathBuf, String>;

/// What is below `root`, but for `passed_over`.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn tree(root: &Path, passed_over: &[&str]) -> Tree {
    let (mut tree, mut folders) = (Tree::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("file").map(|entry| entry.expect("entry")) {
            let path = entry.path();
            let below = path.strip_prefix(root).expect("file");
            if passed_over.iter().any(|passed_over| below.starts_with(passed_over)) {
                continue;
            }
            let (kind, mode) =
                (entry.file_type().expect("file"), entry.metadata().expect("file").permissions().mode() & 0o7777);
            let said = match kind {
                kind if kind.is_symlink() => format!("-> {}", fs::read_link(&path).expect("file").display()),
                kind if kind.is_dir() => format!("directory {mode:o}"),
                _ => format!("file {mode:o}"),
            };
            tree.insert(below.to_owned(), said);
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    tree
}
