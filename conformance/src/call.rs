//! One execution of a plugin: exactly this environment and input, and all that came back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use libcni::child::wait_until;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::sandbox;

/// The most of an output that is kept, in bytes.
const OUTPUT_MAX: u64 = 1 << 20;

/// What is to be executed.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) program: PathBuf,
    /// None, for a plugin.
    pub(crate) arguments: Vec<String>,
    /// All of its environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) stdin: String,
    /// For people: `bridge ADD`.
    pub(crate) name: String,
}

/// What was executed, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `bridge ADD`.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// All of its environment.
    pub env: BTreeMap<String, String>,
    /// What it read.
    pub stdin: String,
    /// What it wrote; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// What it logged; bytes that are no UTF-8 are replaced.
    pub stderr: String,
    /// How it ended.
    pub end: End,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// How a plugin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal that it was not sent by the suite.
    Signal(i32),
    /// It was killed, as the case wants.
    Killed,
    /// It was killed, since it did not end within so many seconds.
    TimedOut(u64),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Killed => write!(f, "killed by the suite, as the case wants"),
            Self::TimedOut(seconds) => write!(f, "did not end within {seconds} s and was killed"),
        }
    }
}

impl Record {
    /// Whether the plugin says that it succeeded.
    pub(crate) fn succeeded(&self) -> bool {
        self.end == End::Exit(0)
    }
}

impl Execution {
    /// Executes it, for at most `limit`. Afterwards nothing of it runs any more, also none of what it started (unless
    /// that left its process group).
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn run(&self, limit: Duration) -> io::Result<Record> {
        self.run_until(limit, End::TimedOut(limit.as_secs()))
    }

    /// As [`Execution::run`], killed after `limit` because the case wants it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn run_and_kill(&self, limit: Duration) -> io::Result<Record> {
        self.run_until(limit, End::Killed)
    }

    fn run_until(&self, limit: Duration, end_by_us: End) -> io::Result<Record> {
        // Files and no pipes: whoever outlives the plugin and holds one open cannot hold us up.
        let (mut stdin, mut stdout, mut stderr) = (nameless_file()?, nameless_file()?, nameless_file()?);
        stdin.write_all(self.stdin.as_bytes())?;
        stdin.rewind()?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(&self.env).current_dir("/").process_group(0);
        command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let started = Instant::now();
        let mut child = command.spawn()?;
        let end = wait_until(&mut child, started + limit)?;
        kill_group(child.id());
        let end = match end {
            Some(status) => end_of(status),
            None => {
                child.wait()?;
                end_by_us
            }
        };
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(Record {
            name: self.name.clone(),
            program: self.program.clone(),
            env: self.env.clone(),
            stdin: self.stdin.clone(),
            stdout: text_of(&mut stdout)?,
            stderr: text_of(&mut stderr)?,
            end,
            micros,
        })
    }
}

/// Ends what the plugin and its delegates left running.
fn kill_group(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        // Nobody there is what is hoped for.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    }
}

/// A file without a name, on the node's own file system.
fn nameless_file() -> io::Result<File> {
    File::options().read(true).write(true).custom_flags(nix::libc::O_TMPFILE).open(sandbox::DIR)
}

fn text_of(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
