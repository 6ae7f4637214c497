//! The book (docs/) is true: its links lead somewhere, the messages that it explains are those of the plugins, each
//! recipe of the cookbook is cooked, and packages are installed as their page shows it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod console;
mod links;
mod messages;
mod packages;
mod page;
mod recipes;

use std::path::{Path, PathBuf};

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
