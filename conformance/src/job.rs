//! What the suite asks the process of a node to do, and what that answers: JSON on stdin and stdout.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Record;
use crate::case::Firewall;
use crate::profile::Profile;
use crate::survey::{self, Survey};
use crate::trial;

/// What a node is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// To find out what the kernel has, and which programs of the directory are plugins.
    Survey {
        /// The directory.
        bin_dir: PathBuf,
        /// The types that are asked; all programs, if empty.
        types: Vec<String>,
    },
    /// To run a case.
    Trial(Box<Assignment>),
}

/// One case with one plugin, version and firewall backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// `GROUP/NAME`.
    pub(crate) case: String,
    /// The plugin under test; `None` for cases of whole lists.
    pub(crate) subject: Option<Profile>,
    pub(crate) version: String,
    pub(crate) firewall: Option<Firewall>,
    pub(crate) bin_dir: PathBuf,
    /// What each execution of a plugin gets.
    pub(crate) limit: Duration,
    /// The runtime that drives the plugins instead of the suite.
    pub(crate) cnitool: Option<PathBuf>,
}

/// How a trial went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// What came of a trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything is as the case says.
    Pass,
    /// Something is not.
    Fail(Box<Failure>),
    /// The case cannot be run here, and why.
    Skip(String),
}

/// What was not as a case says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The number of the step, from 1; 0: before the first.
    pub step: usize,
    /// The step, as it stands in the case.
    pub action: String,
    /// What should be, and what is.
    pub problem: String,
    /// What was executed in this step, the last of it being what failed.
    pub calls: Vec<Record>,
}

/// Why the process of a node gave no answer: no fault of a plugin.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It cannot be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// This program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It ended, and said why.
    #[error("a node cannot be made: {0}")]
    Node(String),
    /// It did not end.
    #[error("a node did not end within {} s and was killed", .0.as_secs())]
    Late(Duration),
}

/// Runs `job` in a process of its own: `program`, started with `arguments`, must call [`node_main`].
pub(crate) fn delegate<T: serde::de::DeserializeOwned>(
    program: &Path,
    arguments: &[&str],
    job: &Job,
    limit: Duration,
) -> Result<T, JobError> {
    let fault = |source| JobError::Start { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(fault)?;
    if let Some(mut stdin) = child.stdin.take() {
        let text = serde_json::to_vec(job).map_err(|e| fault(e.into()))?;
        // One that ended already says why on stderr.
        let _ = stdin.write_all(&text);
    }
    // Both are read at once, by threads that end with the process.
    let output = mpsc::channel();
    for (name, pipe) in [
        ("stdout", child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>)),
        ("stderr", child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>)),
    ] {
        let sender = output.0.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                // What was read until then counts.
                let _ = pipe.read_to_end(&mut bytes);
            }
            // Nobody waits for one that is late.
            let _ = sender.send((name, bytes));
        });
    }
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        match output.1.recv_timeout(limit) {
            Ok(("stdout", bytes)) => stdout = bytes,
            Ok((_, bytes)) => stderr = bytes,
            Err(_) => {
                // It may have ended this moment.
                let _ = child.kill();
                let _ = child.wait();
                return Err(JobError::Late(limit));
            }
        }
    }
    child.wait().map_err(fault)?;
    serde_json::from_slice(&stdout)
        .map_err(|_said_nothing| JobError::Node(String::from_utf8_lossy(&stderr).trim().to_owned()))
}

/// What the process of a node does: reads a job from `stdin`, moves to namespaces of its own, does it, and writes what
/// came of it to `stdout`. The process must have one thread.
pub fn node_main(stdin: &mut dyn Read, stdout: &mut dyn Write, stderr: &mut dyn Write) -> ExitCode {
    let outcome = perform(stdin).and_then(|answer| stdout.write_all(&answer).map_err(|e| e.to_string()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // The exit code says it too.
            let _ = writeln!(stderr, "{problem}");
            ExitCode::FAILURE
        }
    }
}

fn perform(stdin: &mut dyn Read) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    stdin.read_to_end(&mut text).map_err(|e| e.to_string())?;
    let job: Job = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let causes = |e: &(dyn std::error::Error + 'static)| libcni::error::causes(Some(e));
    let answer = match job {
        Job::Survey { bin_dir, types } => {
            let survey: Survey = survey::of(&bin_dir, &types).map_err(|e| causes(&e))?;
            serde_json::to_vec(&survey)
        }
        Job::Trial(assignment) => {
            let outcome: Outcome = trial::run(*assignment).map_err(|e| causes(&e))?;
            serde_json::to_vec(&outcome)
        }
    };
    answer.map_err(|e| e.to_string())
}
