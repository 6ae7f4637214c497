//! The conformance suite: it catches every plugin that breaks a rule, accepts sound ones in any language, and what is written
//! about it is so.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod broken;
mod documents;
mod examples;

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrule_tests::{Binaries, skip};
use libcni::store::write_atomic;
use serde_json::Value;

/// Most of the time a trial waits for the kernel.
const AT_ONCE: usize = 8;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A directory of plugins for the suite, and a file of their profiles.
struct Plugins {
    dir: tempfile::TempDir,
    /// What an execution of a plugin gets, in seconds.
    limit: u32,
}

impl Plugins {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), limit: 30 }
    }

    fn dir(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// The directory has `program` under this name.
    fn with(self, name: &str, program: &Path) -> Self {
        std::fs::create_dir_all(self.dir()).unwrap();
        symlink(program, self.dir().join(name)).unwrap();
        self
    }

    /// The outcome of the cases with the plugins of these types; `profiles` is for `--config`.
    fn run(&self, cnitool: &Path, types: &[&str], profiles: Option<&Value>, cases: &[&str]) -> Outcome {
        let mut command = conformance(cnitool, &self.dir(), types, cases);
        if let Some(profiles) = profiles {
            let file = self.dir.path().join("profiles.json");
            write_atomic(&file, profiles.to_string().as_bytes(), 0o644).unwrap();
            command.arg("--config").arg(file);
        }
        command.args(["--timeout", &self.limit.to_string()]);
        Outcome::of(command)
    }
}

/// `cnitool conformance`.
fn conformance(cnitool: &Path, bin_dir: &Path, types: &[&str], cases: &[&str]) -> Command {
    let mut command = Command::new(cnitool);
    command.args(["conformance", "--format", "json", "--bin-dir"]).arg(bin_dir);
    command.args(types.iter().flat_map(|name| ["--plugin", name]));
    command.args(cases.iter().flat_map(|name| ["--group", name]));
    command
}

/// What `cnitool conformance --format json` printed.
struct Outcome {
    results: Vec<Value>,
    exit_code: Option<i32>,
}

impl Outcome {
    fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        Self { results: report["results"].as_array().unwrap().clone(), exit_code: output.status.code() }
    }

    /// The cases with this status: `pass`, `fail`, `skip`, `error`.
    fn cases(&self, status: &str) -> BTreeSet<&str> {
        let with_status = self.results.iter().filter(|row| row["status"] == status);
        with_status.map(|row| row["case"].as_str().unwrap()).collect()
    }

    /// What failed, in words.
    fn problems(&self) -> String {
        let failed = self.results.iter().filter(|row| row["status"] != "pass" && row["status"] != "skip");
        failed.map(|row| format!("{row:#}\n")).collect()
    }
}

/// Our cnitool; `None`, with a SKIP, where there is another one.
fn cnitool() -> Option<PathBuf> {
    let binaries = Binaries::ours()?;
    let cnitool = binaries.plugin("cnitool");
    let knows = Command::new(&cnitool).args(["conformance", "--list"]).output();
    if knows.is_ok_and(|output| output.status.success()) {
        return Some(cnitool);
    }
    skip("FERRULE_BIN_DIR has no cnitool of ours");
    None
}

/// Does the same to each, several at once; what came of it, in order.
fn at_once<T: Sync, R: Send>(items: &[T], action: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((index, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
                {
                    *done[index].lock().unwrap() = Some(action(item));
                }
            });
        }
    });
    done.into_iter().map(|slot| slot.into_inner().unwrap().unwrap()).collect()
}
