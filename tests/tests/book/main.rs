//! The book (docs/) is true: its links lead somewhere, the messages that it explains are those of the plugins, and each
//! recipe of the cookbook is cooked.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod console;
mod links;
mod messages;
mod page;
mod recipes;

use std::path::{Path, PathBuf};

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
