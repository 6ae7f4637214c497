//! A program that runs on a machine for a while: a daemon, a server, a ping that does not stop.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How much of its log is shown when the test fails.
const LINES_SHOWN: usize = 30;

/// A running program. It is killed when this is dropped; if the test fails, the end of its log is shown.
#[derive(Debug)]
pub struct Process {
    /// What it is called in messages.
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to the end of the file `log`.
    pub fn start(name: &str, mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("log");
        let both = file.try_clone().expect("log");
        command.stdin(Stdio::null()).stdout(file).stderr(both);
        let child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process ID"));
        kill(pid, signal).unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    /// SIGKILL: it has no chance to say goodbye.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// SIGTERM, and its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().expect("wait").code()
    }

    /// Its exit code, when it ends by itself.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("wait").code()
    }

    /// All that it printed, when it ends by itself.
    ///
    /// # Panics
    /// If it cannot be waited for.
    #[must_use]
    pub fn log_when_ended(mut self) -> String {
        self.child.wait().expect("wait");
        self.log()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// All that it printed, and those before it with the same log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("log")).into_owned()
    }

    /// A value of `/proc/PID/status` in KiB: `VmHWM` (the most memory it had), `VmRSS` (what it has).
    pub fn memory_kib(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|value| value.split_whitespace().next()?.parse().ok()).expect("a number of KiB")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines.len().saturating_sub(LINES_SHOWN);
            let shown = format!("---- {}\n{}\n", self.name, lines[end..].join("\n"));
            // The test has failed already.
            let _ = std::io::stderr().write_all(shown.as_bytes());
        }
    }
}
