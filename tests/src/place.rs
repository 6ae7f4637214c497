//! A place on the network: a namespace in which commands run and sockets open.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use libcni::netns::Netns;
use serde_json::Value;

use crate::eventually;

/// A network namespace with a name, for commands and packets.
#[derive(Debug)]
pub struct Place {
    /// `host`, `outside`, or the container's name.
    pub name: String,
    /// Where the namespace is bound. It is not held open: what is removed here is gone.
    pub netns: PathBuf,
}

impl Place {
    /// Runs `work` in the namespace, on a thread of its own.
    ///
    /// # Panics
    /// If the namespace cannot be entered, or if `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.open().run(work).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// The namespace.
    pub(crate) fn open(&self) -> Netns {
        Netns::open(&self.netns).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Runs a command line (split at white space) in the namespace; its stdout.
    ///
    /// # Panics
    /// If it fails, with its stderr.
    pub fn sh(&self, line: &str) -> String {
        self.try_sh(line).unwrap_or_else(|stderr| panic!("in {}: {line}: {stderr}", self.name))
    }

    /// Like [`Place::sh`], for commands that may fail.
    ///
    /// # Errors
    /// What it wrote to stderr.
    pub fn try_sh(&self, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("a command"));
        command.args(words);
        self.output(command, "")
    }

    /// Runs a command with this input in the namespace; its stdout.
    ///
    /// # Errors
    /// What it wrote to stderr.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn output(&self, mut command: Command, input: &str) -> Result<String, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.run(|| command.spawn()).unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // It may end without reading.
        let _ = child.stdin.take().expect("stdin").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("output");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The JSON that a command line prints: `ip -j`, `bridge -j`, `nft -j`. An empty output is an empty list, as `ip`
    /// means it.
    ///
    /// # Panics
    /// If it fails or prints something else.
    pub fn json(&self, line: &str) -> Value {
        let text = self.sh(line);
        if text.trim().is_empty() {
            return Value::Array(Vec::new());
        }
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {text}"))
    }

    /// The value of a sysctl, `/`-separated: `net/ipv4/ip_forward`.
    ///
    /// # Panics
    /// If there is no such sysctl.
    pub fn sysctl(&self, key: &str) -> String {
        let path = format!("/proc/sys/{key}");
        self.run(|| std::fs::read_to_string(&path)).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
    }

    /// Checks that the interface's IPv6 link-local address, which the kernel adds a little later, works from then on:
    /// without it the kernel cannot ask who has the destination of a packet that it forwards. The interface has not
    /// asked for anybody yet.
    ///
    /// # Panics
    /// If there is none, or others on the link were asked for it first.
    #[track_caller]
    pub fn assert_link_local_at_once(&self, interface: &str) {
        eventually("an IPv6 link-local address that works", || {
            let found = self.sh(&format!("ip -6 -o address show dev {interface} scope link"));
            !found.is_empty() && !found.contains("tentative")
        });
        let counters = self.sh(&format!("cat /proc/net/dev_snmp6/{interface}"));
        let is_unasked = |line: &str| line.split_whitespace().eq(["Icmp6OutNeighborSolicits", "0"]);
        assert!(counters.lines().any(is_unasked), "{}: duplicate address detection: {counters}", self.name);
    }

    /// One line of `ip -j -d link show dev <name>`; `None` if there is no such link.
    #[must_use]
    pub fn find_link(&self, name: &str) -> Option<Value> {
        let text = self.try_sh(&format!("ip -j -d link show dev {name}")).ok()?;
        serde_json::from_str::<Vec<Value>>(&text).expect("JSON of ip").pop()
    }
}
