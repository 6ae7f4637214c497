//! One execution of a plugin, with exactly the environment and the input that the test says.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::Place;

/// A plugin (or another program) about to be executed.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    stdin: Vec<u8>,
}

impl Invocation {
    /// `program` with `PATH` as its whole environment.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        Self { command, stdin: Vec::new() }
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With a command line argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// With `config` as JSON on stdin.
    #[must_use]
    pub fn config(self, config: &Value) -> Self {
        self.stdin(serde_json::to_vec(config).expect("JSON"))
    }

    /// With any bytes on stdin.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// In a process group of its own, with what it will start.
    #[must_use]
    pub fn in_own_group(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// Starts it in the namespace of `place`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(self, place: &Place) -> Child {
        place.run(|| self.start_here())
    }

    /// Starts it in the calling thread's namespace.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_here(mut self) -> Child {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = self.command.get_program().to_owned();
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        // A plugin that fails early does not read: its exit code says why.
        let _ = child.stdin.take().expect("stdin").write_all(&self.stdin);
        child
    }

    /// Runs it in the namespace of `place` until it ends.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(self, place: &Place) -> Output {
        place.run(|| self.run_here())
    }

    /// Runs it in the calling thread's namespace until it ends.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run_here(self) -> Output {
        Output::from(self.start_here().wait_with_output().expect("output of a plugin"))
    }

    /// The same, executed by another program: `wrapper[0] wrapper[1] … program`.
    #[must_use]
    pub fn wrapped_in(mut self, wrapper: &[&str]) -> Self {
        let [wrapping, arguments @ ..] = wrapper else { return self };
        let mut command = Command::new(wrapping);
        command.args(arguments).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.command = command;
        self
    }
}

/// How a plugin ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its reply.
    pub stdout: String,
    /// Its log.
    pub stderr: String,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Output {
    /// The reply of a success; `null` for an empty one.
    ///
    /// # Errors
    /// The error object, if the plugin failed.
    ///
    /// # Panics
    /// If the reply is no JSON: no plugin may ever do that.
    pub fn reply(self) -> Result<Value, Failure> {
        let parsed = || serde_json::from_str(&self.stdout);
        if self.status.success() {
            let empty = self.stdout.trim().is_empty();
            return Ok(if empty { Value::Null } else { parsed().unwrap_or_else(|e| panic!("{e}: {self:?}")) });
        }
        let error: Value = parsed().unwrap_or_else(|e| panic!("{e}: {self:?}"));
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        Err(Failure {
            code: error["code"].as_u64().unwrap_or_else(|| panic!("no code: {self:?}")),
            msg: text("msg"),
            details: text("details"),
            cni_version: error["cniVersion"].as_str().map(str::to_owned),
            stderr: self.stderr,
        })
    }
}

/// The error object of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The CNI error code.
    pub code: u64,
    /// What failed.
    pub msg: String,
    /// Why.
    pub details: String,
    /// The version of the reply; the Go plugins leave it out.
    pub cni_version: Option<String>,
    /// What the plugin logged.
    pub stderr: String,
}
