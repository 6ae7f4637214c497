//! The daemon that is measured: started, asked, and looked at from outside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Where its metrics are.
const HTTP: &str = "127.0.0.1:9179";

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Child,
    clock: ClockId,
    cnitool: PathBuf,
    socket: PathBuf,
    pub(crate) started: Instant,
}

impl Daemon {
    /// Starts the `overlayd` in `binaries`, with its state below `directory`.
    pub(crate) fn start(binaries: &Path, directory: &Path, settings: &Value) -> io::Result<Self> {
        let socket = directory.join("overlayd.sock");
        let mut settings = settings.clone();
        settings["node"] = json!("bench");
        settings["http"] = json!(HTTP);
        settings["socket"] = json!(socket);
        settings["state_dir"] = json!(directory.join("state"));
        settings["subnet_file"] = json!(directory.join("subnet.env"));
        let path = directory.join("overlayd.toml");
        let text = toml::to_string(&settings).map_err(io::Error::other)?;
        File::create(&path)?.write_all(text.as_bytes())?;
        let log = File::options().create(true).append(true).open(directory.join("overlayd.log"))?;
        let mut command = Command::new(binaries.join("overlayd"));
        command.arg("--config").arg(path).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let process = command.spawn()?;
        let clock = clock_getcpuclockid(Pid::from_raw(process.id().try_into().map_err(io::Error::other)?))?;
        Ok(Self { process, clock, cnitool: binaries.join("cnitool"), socket, started })
    }

    /// The CPU time that it has used.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// A value of `/proc/PID/status`, in MB of 10^6 bytes.
    pub(crate) fn megabytes(&self, key: &str) -> io::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kib: Option<f64> = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
        kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| io::Error::other(format!("no {key}")))
    }

    /// Waits until it has done all that it was told.
    pub(crate) fn settle(&self) -> io::Result<()> {
        // One question after the other is answered by who does the work.
        self.ask("status").map(drop)
    }

    /// A metric without labels.
    pub(crate) fn metric(&self, name: &str) -> io::Result<f64> {
        let mut stream = TcpStream::connect(HTTP)?;
        stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {HTTP}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
        value.ok_or_else(|| io::Error::other(format!("no metric {name} in {text}")))
    }

    /// Has it compare all with the kernel. How long that took, with the start of the program that asks; an error if
    /// anything differs.
    pub(crate) fn check(&self) -> io::Result<Duration> {
        self.ask("diff")
    }

    fn ask(&self, what: &str) -> io::Result<Duration> {
        let started = Instant::now();
        let output = Command::new(&self.cnitool).args(["overlay", what, "--socket"]).arg(&self.socket).output()?;
        let took = started.elapsed();
        if output.status.success() {
            return Ok(took);
        }
        let text = [output.stdout, output.stderr].concat();
        Err(io::Error::other(format!("cnitool overlay {what}: {}", String::from_utf8_lossy(&text))))
    }

    /// SIGKILL, as in a cold start after a crash.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
