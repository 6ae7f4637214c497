//! What `scripts/package` makes is installed, upgraded, rolled back and removed as people do it, and works.
#![expect(clippy::unwrap_used, reason = "tests")]

mod archives;
mod attachments;
mod checks;
mod debian;
mod overlayd;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The types of all plugins.
fn types(binaries: &ferrule_tests::Binaries) -> Vec<String> {
    let ferrule = tempfile::tempdir().unwrap();
    let name = ferrule.path().join("ferrule");
    std::os::unix::fs::symlink(binaries.plugin("bridge"), &name).unwrap();
    let output = Command::new(name).arg("--names").output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs a program to its end; all that it printed.
///
/// # Panics
/// If it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = words(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}
