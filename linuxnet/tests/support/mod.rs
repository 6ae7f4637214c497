//! What the namespace tests share: two namespaces of their own, and other programs' view of them.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failure here is a failed test, and a SKIP must be seen"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use libcni::netns::Netns;
use linuxnet::netlink::Netlink;
use serde_json::Value;

/// Two network namespaces of one test: a "host" and a "container". They end with it.
pub(crate) struct Bed {
    dir: tempfile::TempDir,
    pub(crate) host: Netns,
    pub(crate) container: Netns,
}

impl Bed {
    /// `None`, with SKIP and the reason printed, where namespaces cannot be made.
    pub(crate) fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| Netns::create(dir.path().join(name));
        match (make("host"), make("container")) {
            (Ok(host), Ok(container)) => Some(Self { dir, host, container }),
            (Err(e), _) | (_, Err(e)) => {
                let why = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
                skip(&format!("{e}: {why}; hint: unshare -Urnm cargo test"));
                None
            }
        }
    }

    pub(crate) fn host_netlink(&self) -> Netlink {
        Netlink::open_in(&self.host).unwrap()
    }

    pub(crate) fn container_netlink(&self) -> Netlink {
        Netlink::open_in(&self.container).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for name in ["host", "container"] {
            // What stays, stays for the life of the private mount namespace.
            let _ = Netns::remove(self.path(name));
        }
    }
}

impl Bed {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Prints why a test was not run; a failure where everything is required.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(std::env::var_os("CNI_TEST_REQUIRE").is_none_or(|v| v != "all"), "{test} cannot run: {why}");
    let program = std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let (program, _hash) = program.rsplit_once('-').unwrap();
    // Not eprintln, which the test harness swallows.
    std::io::stderr().write_all(format!("SKIP {program} {test}: {why}\n").as_bytes()).unwrap();
}

/// Runs a program in `netns`, and gives what it printed.
pub(crate) fn output(netns: &Netns, command: &str) -> String {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    // A child is where its parent thread is.
    let output = netns.within(|| command.output()).unwrap().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `ip -j …` or `bridge -j …` in `netns`.
pub(crate) fn json(netns: &Netns, command: &str) -> Value {
    let text = output(netns, command);
    if text.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&text).unwrap() }
}
