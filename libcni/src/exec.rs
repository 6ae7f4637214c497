//! Runs a plugin's executable: environment and stdin in, stdout or the error object out.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::child::wait_until;
use crate::env::Env;
use crate::error::ErrorReply;

/// An executable that is being replaced cannot be started (ETXTBSY); it can a moment later.
const BUSY_RETRIES: u32 = 100;
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// What a plugin that is told to end gets to undo its work before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Why a plugin gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It answered with an error object, which is passed on unchanged.
    #[error(transparent)]
    Reply(ErrorReply),
    /// It cannot be started.
    #[error("cannot run plugin {}", path.display())]
    Start {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It failed and wrote no error object. (The reference's words.)
    #[error("netplugin failed: \"{stderr}\": {status}")]
    NoReply {
        /// What it wrote to stderr.
        stderr: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It failed and wrote nothing at all.
    #[error("netplugin failed with no error message: {0}")]
    Silent(ExitStatus),
    /// It failed and its stdout is no error object.
    #[error("netplugin failed but error parsing its diagnostic message \"{stdout}\": {problem}")]
    Unparsable {
        /// What it wrote to stdout.
        stdout: String,
        /// What is wrong with that.
        problem: String,
    },
    /// It did not end in time and was told to (SIGTERM, then SIGKILL).
    #[error("plugin {} did not finish within {} s and was stopped", path.display(), timeout.as_secs_f32())]
    TimedOut {
        /// The executable.
        path: PathBuf,
        /// The limit.
        timeout: Duration,
    },
}

/// Where the plugin's stderr goes.
#[derive(Debug)]
pub(crate) enum Stderr<'a> {
    /// To ours, as it comes: a delegate's log is its caller's log.
    Inherit,
    /// Into the error; to ours only on success.
    Capture,
    /// Into the error, and here.
    Keep(&'a mut Vec<u8>),
}

/// Runs `path` with exactly `env`, feeding `stdin`; its stdout if it succeeds.
pub(crate) fn exec(
    path: &Path,
    env: &Env,
    stdin: &[u8],
    stderr: Stderr<'_>,
    timeout: Option<Duration>,
    started: impl FnOnce(u32),
) -> Result<Vec<u8>, ExecError> {
    let mut child = spawn(path, env, &stderr).map_err(|source| ExecError::Start { path: path.to_owned(), source })?;
    started(child.id());
    let deadline = timeout.map(|t| Instant::now() + t);
    let outcome =
        Pipes::of(&mut child).pump(stdin, deadline).and_then(|output| Ok((output, wait(&mut child, deadline)?)));
    let ((stdout, stderr_text), status) = match outcome {
        Ok(done) => done,
        Err(source) => {
            stop(&mut child);
            return Err(match timeout {
                Some(timeout) if source.kind() == io::ErrorKind::TimedOut => {
                    ExecError::TimedOut { path: path.to_owned(), timeout }
                }
                _ => ExecError::Start { path: path.to_owned(), source },
            });
        }
    };
    let outcome = if status.success() { Ok(stdout) } else { Err(failure(&stdout, &stderr_text, status)) };
    match stderr {
        Stderr::Keep(kept) => *kept = stderr_text,
        // The plugin's log; losing it is no failure of the plugin.
        Stderr::Capture if outcome.is_ok() => drop(io::stderr().write_all(&stderr_text)),
        Stderr::Capture | Stderr::Inherit => {}
    }
    outcome
}

fn spawn(path: &Path, env: &Env, stderr: &Stderr<'_>) -> io::Result<Child> {
    let mut command = Command::new(path);
    command.env_clear().envs(env.iter()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(if matches!(stderr, Stderr::Inherit) { Stdio::inherit() } else { Stdio::piped() });
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_RETRIES => {
                tries += 1;
                std::thread::sleep(BUSY_RETRY);
            }
            outcome => return outcome,
        }
    }
}

/// The error of a plugin that exited with another status than 0.
fn failure(stdout: &[u8], stderr: &[u8], status: ExitStatus) -> ExecError {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if stdout.is_empty() || status.signal().is_some() {
        return match text(stderr) {
            empty if empty.is_empty() => ExecError::Silent(status),
            stderr => ExecError::NoReply { stderr, status },
        };
    }
    match serde_json::from_slice(stdout) {
        Ok(reply) => ExecError::Reply(reply),
        Err(e) => ExecError::Unparsable { stdout: text(stdout), problem: e.to_string() },
    }
}

/// Waits for the end of a child whose output has ended.
fn wait(child: &mut Child, deadline: Option<Instant>) -> io::Result<ExitStatus> {
    let Some(deadline) = deadline else { return child.wait() };
    wait_until(child, deadline)?.ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// SIGTERM, time to undo, SIGKILL.
fn stop(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // The child is not reaped yet, so the pid is its own.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
    if wait(child, Some(Instant::now() + GRACE)).is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The child's ends of stdin, stdout and stderr, moved together so that none blocks another.
struct Pipes {
    stdin: Option<std::process::ChildStdin>,
    stdout: Option<std::process::ChildStdout>,
    stderr: Option<std::process::ChildStderr>,
}

impl Pipes {
    fn of(child: &mut Child) -> Self {
        Self { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() }
    }

    /// Writes `input` and reads both outputs until they end. `TimedOut` after `deadline`.
    fn pump(mut self, mut input: &[u8], deadline: Option<Instant>) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let Some(pipe) = &self.stdin {
            nonblocking(pipe.as_fd())?;
        }
        loop {
            if input.is_empty() {
                self.stdin = None;
            }
            let mut fds = Vec::with_capacity(3);
            if let Some(pipe) = &self.stdin {
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLOUT));
            }
            if let Some(pipe) = &self.stdout {
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
            if let Some(pipe) = &self.stderr {
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
            if self.stdout.is_none() && self.stderr.is_none() {
                return Ok((stdout, stderr));
            }
            match poll(&mut fds, remaining(deadline)?) {
                Ok(_) => {}
                Err(nix::Error::EINTR) => continue,
                Err(e) => return Err(e.into()),
            }
            let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect::<Vec<_>>().into_iter();
            let mut is_ready = |present: bool| present && ready.next().unwrap_or(false);
            let (write, out, err) =
                (is_ready(self.stdin.is_some()), is_ready(self.stdout.is_some()), is_ready(self.stderr.is_some()));
            if write && let Some(pipe) = &mut self.stdin {
                match pipe.write(input) {
                    Ok(n) => input = input.get(n..).unwrap_or_default(),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    // The plugin does not read to the end; it may still answer.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => input = &[],
                    Err(e) => return Err(e),
                }
            }
            if out && !read_some(&mut self.stdout, &mut stdout)? {
                self.stdout = None;
            }
            if err && !read_some(&mut self.stderr, &mut stderr)? {
                self.stderr = None;
            }
        }
    }
}

/// Reads what is there; false at the end.
fn read_some(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut buffer = [0; 8192];
    let n = pipe.read(&mut buffer)?;
    into.extend_from_slice(buffer.get(..n).unwrap_or_default());
    Ok(n > 0)
}

fn remaining(deadline: Option<Instant>) -> io::Result<PollTimeout> {
    let Some(deadline) = deadline else { return Ok(PollTimeout::NONE) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    // Rounded up, so that poll does not spin in the last millisecond.
    Ok(PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX))
}

fn nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stdin: &[u8], timeout: Option<Duration>) -> Result<Vec<u8>, ExecError> {
        use std::os::unix::fs::OpenOptionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugin");
        let mut file = std::fs::File::options().create_new(true).write(true).mode(0o755).open(&path).unwrap();
        file.write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        drop(file);
        let env = Env::from_iter([("PATH", "/usr/bin:/bin")]);
        exec(&path, &env, stdin, Stderr::Capture, timeout, |_pid| {})
    }

    #[test]
    fn stdout_of_a_success_comes_back() {
        assert_eq!(shell("cat", b"{}", None).unwrap(), b"{}");
        let large = vec![b'x'; 1 << 20];
        assert_eq!(shell("cat", &large, None).unwrap(), large, "neither side blocks the other");
    }

    #[test]
    fn each_kind_of_failure_is_told_apart() {
        let message = |script| shell(script, b"", None).unwrap_err().to_string();
        assert_eq!(message("exit 1"), "netplugin failed with no error message: exit status: 1");
        assert_eq!(message("echo oops >&2; exit 2"), "netplugin failed: \"oops\": exit status: 2");
        assert!(
            message("echo oops; exit 1")
                .starts_with("netplugin failed but error parsing its diagnostic message \"oops\"")
        );
        let reply = shell("echo '{\"code\": 11, \"msg\": \"later\"}'; exit 1", b"", None).unwrap_err();
        assert!(matches!(reply, ExecError::Reply(r) if r.code.0 == 11 && r.msg == "later"));
    }

    #[test]
    fn a_plugin_that_hangs_is_stopped() {
        let hung = shell("exec sleep 60", b"", Some(Duration::from_millis(50)));
        assert!(matches!(hung, Err(ExecError::TimedOut { .. })), "{hung:?}");
    }
}
