//! What the tests of host-local share: a data directory of their own, and calls of the plugin, ours in process or any
//! as a program.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use host_local::HostLocal;
use libcni::plugin::{Env, dispatch};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Our own program.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_host-local");

/// A namespace that cannot be opened: the guard against the host's own lets it pass, and IPAM has no use for it.
const NETNS: &str = "/nonexistent/netns";

/// The Go reference's program, or a printed SKIP (a failure where everything is required).
pub(crate) fn reference() -> Option<PathBuf> {
    let dir = std::env::var_os("GOREF_BIN_DIR").map_or_else(|| PathBuf::from("/tmp/goref/bin"), PathBuf::from);
    let path = dir.join("host-local");
    if path.is_file() {
        return Some(path);
    }
    skip(&format!("no Go reference at {} (set GOREF_BIN_DIR)", path.display()));
    None
}

/// Says that a test is skipped, or fails it where CNI_TEST_REQUIRE=all.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CNI_TEST_REQUIRE").as_deref() != Ok("all"), "required, but skipped: {why}");
    // Written past the test runner, which shows what a test prints only if it fails.
    let _ = writeln!(std::io::stderr(), "SKIP {}: {why}", std::thread::current().name().unwrap_or("test"));
}

/// strace, or a printed SKIP.
pub(crate) fn strace() -> Option<Command> {
    if Command::new("strace").arg("-V").output().is_ok() {
        return Some(Command::new("strace"));
    }
    skip("no strace");
    None
}

/// A network with a data directory that goes with it.
pub(crate) struct Network {
    dir: TempDir,
    pub(crate) config: Value,
}

impl Network {
    /// Called `net`, version 1.1.0, with `ipam` as its IPAM configuration (type and dataDir are added).
    pub(crate) fn new(ipam: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut network =
            Self { dir, config: json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": ipam}) };
        network.config["ipam"]["type"] = "host-local".into();
        network.config["ipam"]["dataDir"] = network.data_dir().to_str().unwrap().into();
        network
    }

    /// One IPv4 subnet with a range of `size` addresses behind the gateway's.
    pub(crate) fn of_size(size: u32) -> Self {
        let last = std::net::Ipv4Addr::from_bits(0x0a01_0001 + size);
        Self::new(json!({"subnet": "10.1.0.0/16", "rangeStart": "10.1.0.2", "rangeEnd": last.to_string()}))
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("networks")
    }

    /// The network's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.data_dir().join("net")
    }

    /// The names of the files that are reservations by their name.
    pub(crate) fn reserved(&self) -> BTreeSet<IpAddr> {
        let Ok(entries) = std::fs::read_dir(self.path()) else { return BTreeSet::new() };
        entries.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).collect()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn plant(&self, name: &str, content: &[u8]) {
        std::fs::create_dir_all(self.path()).unwrap();
        std::fs::File::create(self.path().join(name)).unwrap().write_all(content).unwrap();
    }

    /// A call of our plugin in process.
    pub(crate) fn call(&self, verb: &str, id: &str) -> Reply {
        self.call_with(verb, id, "eth0", &[])
    }

    pub(crate) fn call_with(&self, verb: &str, id: &str, ifname: &str, more_env: &[(&str, &str)]) -> Reply {
        let env: Env = environment(verb, id, ifname).into_iter().chain(more_env.iter().copied()).collect();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let stdin = self.config.to_string();
        let exit = dispatch(&HostLocal, &[&HostLocal], &env, &mut stdin.as_bytes(), &mut stdout, &mut stderr);
        Reply::new(exit == 0, &stdout)
    }

    /// GC with exactly these attachments valid.
    pub(crate) fn gc(&self, valid: &[(&str, &str)]) -> Reply {
        let valid: Vec<Value> = valid.iter().map(|(id, name)| json!({"containerID": id, "ifname": name})).collect();
        let mut with_list = Self { dir: tempfile::tempdir().unwrap(), config: self.config.clone() };
        with_list.config["cni.dev/valid-attachments"] = valid.into();
        with_list.call("GC", "unused")
    }

    /// Starts `program` for one call.
    pub(crate) fn start(&self, program: &Path, verb: &str, id: &str) -> Child {
        let mut command = Command::new(program);
        command.env_clear().envs(environment(verb, id, "eth0"));
        start(command, &self.config)
    }

    /// Runs `program` for one call.
    pub(crate) fn run(&self, program: &Path, verb: &str, id: &str) -> Reply {
        finish(self.start(program, verb, id))
    }
}

pub(crate) fn environment<'a>(verb: &'a str, id: &'a str, ifname: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", id),
        ("CNI_NETNS", NETNS),
        ("CNI_IFNAME", ifname),
        ("CNI_PATH", "/nonexistent/bin"),
    ]
}

pub(crate) fn start(mut command: Command, config: &Value) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that is killed, or refuses early, does not read all of it.
    let _ = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
    child
}

pub(crate) fn finish(child: Child) -> Reply {
    let Output { status, stdout, .. } = child.wait_with_output().unwrap();
    Reply::new(status.success(), &stdout)
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) success: bool,
    pub(crate) json: Value,
}

impl Reply {
    fn new(success: bool, stdout: &[u8]) -> Self {
        let json = if stdout.is_empty() { Value::Null } else { serde_json::from_slice(stdout).unwrap_or_default() };
        Self { success, json }
    }

    /// The addresses of a successful ADD, with prefix length.
    #[track_caller]
    pub(crate) fn ips(&self) -> Vec<String> {
        assert!(self.success, "{}", self.json);
        let ips = self.json["ips"].as_array().unwrap();
        ips.iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
    }

    /// The only address of a successful ADD, without prefix length.
    #[track_caller]
    pub(crate) fn ip(&self) -> IpAddr {
        let ips = self.ips();
        assert_eq!(ips.len(), 1, "{ips:?}");
        ips[0].split('/').next().unwrap().parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn ok(&self) {
        assert!(self.success, "{}", self.json);
    }

    /// The code of a failure, and `msg; details`.
    #[track_caller]
    pub(crate) fn error(&self) -> (u64, String) {
        assert!(!self.success, "succeeded: {}", self.json);
        let text = |key: &str| self.json[key].as_str().unwrap_or_default().to_owned();
        let details = text("details");
        let separator = if details.is_empty() { "" } else { "; " };
        (self.json["code"].as_u64().unwrap(), format!("{}{separator}{details}", text("msg")))
    }

    #[track_caller]
    pub(crate) fn fails_with(&self, code: u64, words: &str) {
        let (found, text) = self.error();
        assert!(found == code && text.contains(words), "expected {code} {words:?}, got {found} {text:?}");
    }
}
