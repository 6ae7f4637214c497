//! Stands in the place of a plugin, in `<node>/bin/<type>`: executes `<node>/plugins/<type>` with the same input, output,
//! environment and exit code, and writes to `<node>/calls` what the call was and how long it took.
//!
//! Three files per call, so that one that never ended is seen: `<start>-<pid>.stdin`, `.begun` and `.ended`. The plugins find each
//! other where they are, as without a recorder: a delegate is no call of the runtime's.
#![expect(clippy::expect_used, reason = "a recorder that cannot record fails the call")]
#![expect(clippy::disallowed_methods, reason = "what is recorded is no state: a half-written file is of a killed call")]

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

/// Of the environment, what the specification names.
const PREFIX: &str = "CNI_";
/// The variable that says where plugins are.
const SEARCH_PATH: &str = "CNI_PATH";

fn main() -> ExitCode {
    let me = PathBuf::from(std::env::args_os().next().expect("a name"));
    let (bin, kind) = (me.parent().expect("a directory"), me.file_name().expect("a type"));
    let node = bin.parent().expect("a node");
    let plugins = node.join("plugins");

    let mut stdin = Vec::new();
    std::io::stdin().read_to_end(&mut stdin).expect("stdin");
    let began = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_nanos();
    let record = node.join("calls").join(format!("{began}-{}", std::process::id()));
    let env: Map<String, Value> = std::env::vars()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, value)| (name, json!(value)))
        .collect();
    let call = json!({"plugin": kind.to_string_lossy(), "env": env});
    std::fs::write(record.with_extension("stdin"), &stdin).expect("the record of a call");
    std::fs::write(record.with_extension("begun"), call.to_string()).expect("the record of a call");

    let mut command = Command::new(plugins.join(kind));
    // Nobody has to feed a pipe.
    command.stdin(File::open(record.with_extension("stdin")).expect("the input of the plugin"));
    if let Some(path) = std::env::var_os(SEARCH_PATH) {
        command.env(SEARCH_PATH, search_path(&path, bin, &plugins));
    }
    die_with_parent(&mut command);
    let started = Instant::now();
    let status = command.status().expect("the plugin");
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    std::fs::write(record.with_extension("ended"), json!({"exit": code, "ms": ms}).to_string()).expect("the record");
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// `path` with the plugins' directory instead of the recorders'.
fn search_path(path: &std::ffi::OsStr, bin: &Path, plugins: &Path) -> std::ffi::OsString {
    let directories = std::env::split_paths(path).map(|dir| if dir == bin { plugins.to_owned() } else { dir });
    std::env::join_paths(directories).expect("directories")
}

/// A runtime that kills the plugin kills this program: the plugin then ends as it would have without.
fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl(2) is one system call, and may be called between fork and exec.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
    }
}
