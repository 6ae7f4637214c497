//! What all clients run on: a node with the plugins behind recorders, and what they left on it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ferrule_tests::http::page;
use ferrule_tests::{Node, Place, Snapshot, eventually_within};
use libcni::store::{write_atomic, write_by_rename};
use serde_json::Value;

use crate::calls::{self, Calls};
use crate::options::Options;
use crate::report::Outcome;

/// Where container runtimes look for plugins. In the sandbox they are empty, and end with it.
const CNI: &str = "/opt/cni";
/// Where they look for networks.
const NETWORKS: &str = "/etc/cni/net.d";
/// Where the plugins keep addresses, unless they are told otherwise.
const RESERVATIONS: &str = "/var/lib/cni/networks";
/// Of the sandbox.
const OVERLAYS: &str = "/run/overlays";
/// What is no plugin.
const TOOLS: [&str; 2] = ["cnitool", "overlayd"];
/// How much of a log is shown when something failed.
const LINES_SHOWN: usize = 30;
/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine with our plugins.
pub(crate) struct Machine {
    pub(crate) node: Node,
    /// What the client called.
    pub(crate) calls: Calls,
    /// Logs and other files of tests; not looked at when something is left.
    pub(crate) dir: PathBuf,
    before: Snapshot,
    files_before: BTreeSet<PathBuf>,
}

impl Machine {
    pub(crate) fn boot(options: &Options) -> Self {
        let node = Node::start().expect("the sandbox");
        let (cni, dir) = (Path::new(CNI), PathBuf::from("/run/test"));
        for made in
            [cni.join("bin"), cni.join("calls"), NETWORKS.into(), RESERVATIONS.into(), dir.clone(), node.data_dir()]
        {
            std::fs::create_dir_all(&made).unwrap_or_else(|e| panic!("{}: {e}", made.display()));
        }
        symlink(&options.bin, cni.join("plugins")).expect("the plugins");
        for plugin in std::fs::read_dir(&options.bin).expect("plugins").flatten().map(|entry| entry.file_name()) {
            if !TOOLS.iter().any(|tool| plugin == *tool) {
                symlink(&options.recorder, cni.join("bin").join(plugin)).expect("a recorder");
            }
        }
        // The node's snapshots look there.
        let mounted = Command::new("mount").arg("--bind").arg(node.data_dir()).arg(RESERVATIONS).status();
        assert!(mounted.expect("mount").success(), "{RESERVATIONS}");
        let (before, files_before) = (node.snapshot(), files(&node));
        Self { node, calls: Calls::at(cni.join("calls")), dir, before, files_before }
    }

    /// The directory of the plugins, which the recorders execute: a link to those under test.
    pub(crate) fn plugins(&self) -> PathBuf {
        Path::new(CNI).join("plugins")
    }

    /// What recording adds to a call, in milliseconds. Forgets all calls.
    pub(crate) fn recorder_ms(&self) -> f64 {
        let ms = calls::overhead_ms(Path::new(CNI));
        let dir = Path::new(CNI).join("calls");
        std::fs::remove_dir_all(&dir).and_then(|()| std::fs::create_dir(&dir)).expect("calls");
        ms
    }

    /// Writes a file in the directory of networks, or removes it.
    pub(crate) fn network(&self, file: &str, text: Option<&str>) {
        let path = Path::new(NETWORKS).join(file);
        match text {
            Some(text) => write_by_rename(&path, text.as_bytes(), 0o644).expect("a network"),
            None => std::fs::remove_file(&path).expect("a network"),
        }
    }

    /// Writes a file of the test.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        write_atomic(&path, text.as_bytes(), 0o644).expect("a file");
        path
    }

    /// What daemons said last.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for path in std::fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = std::fs::read(&path).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<&str> = log.lines().collect();
                let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
                text.push_str(&format!("---- {}\n{shown}\n", path.display()));
            }
        }
        text
    }

    /// Runs a program on the machine, with this input; its stdout.
    ///
    /// # Errors
    /// What it wrote to stderr.
    pub(crate) fn run(&self, command: Command, input: &str) -> Result<String, String> {
        self.node.host.output(command, input)
    }

    /// What a program says of its version, in one line.
    pub(crate) fn version_of(&self, program: &str) -> String {
        let mut command = Command::new(program);
        command.arg("--version");
        let said = self.run(command, "").unwrap_or_else(|e| panic!("{program} --version: {e}"));
        said.lines().next().unwrap_or_default().to_owned()
    }

    /// How many addresses of a network are reserved.
    pub(crate) fn reserved(&self, network: &str) -> usize {
        let files = std::fs::read_dir(Path::new(RESERVATIONS).join(network)).into_iter().flatten().flatten();
        files.filter(|file| file.file_name().to_string_lossy().parse::<IpAddr>().is_ok()).count()
    }

    /// Our `cnitool install`: how a network gets to a node that runs an image of ours.
    pub(crate) fn install_network(&self, file: &str, text: &str) {
        let placement = format!("{}={NETWORKS}/{file}", self.write(file, text).display());
        let mut command = Command::new(Path::new(CNI).join("plugins/cnitool"));
        command.args(["install", &placement]);
        self.run(command, "").unwrap_or_else(|e| panic!("cnitool install {placement}: {e}"));
    }

    /// Our `cnitool gc` of a network, or of `all`: what an operator runs after a crash.
    pub(crate) fn collect_garbage(&self, network: &str) {
        self.cnitool(&["gc", "--networks", network]);
    }

    /// With containers of the client alive, our doctor finds nothing wrong, and our GC of all networks takes nothing.
    ///
    /// # Panics
    /// If there is a finding, or if something is gone.
    pub(crate) fn living_are_known(&self) -> Outcome {
        let found = self.cnitool(&["doctor"]);
        assert!(found.trim_end().ends_with("nothing is wrong"), "{found}");
        let (before, files_before) = (self.node.snapshot(), files(&self.node));
        self.collect_garbage("all");
        let (after, files) = (self.node.snapshot(), files(&self.node));
        let gone = (before.since(&after), files_before.difference(&files).collect::<Vec<_>>());
        assert!(gone.0.is_empty() && gone.1.is_empty(), "{gone:#?}");
        Ok(())
    }

    /// Our `cnitool`. Its calls are recorded, too.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub(crate) fn cnitool(&self, arguments: &[&str]) -> String {
        self.cnitool_of(&self.plugins(), &Path::new(CNI).join("bin"), arguments)
    }

    /// The `cnitool` in a directory, with plugins of the same or another one.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub(crate) fn cnitool_of(&self, dir: &Path, plugins: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(dir.join("cnitool"));
        command.args(arguments).env("CNI_PATH", plugins).env("NETCONFPATH", NETWORKS);
        self.run(command, "").unwrap_or_else(|e| panic!("cnitool {arguments:?}: {e}"))
    }

    /// What is on the machine that was not before any client ran, but for what the plugins keep by design: links,
    /// addresses, rules, elements, files, namespaces. `owned` are directories of the client itself.
    pub(crate) fn left(&self, owned: &[&str]) -> Vec<String> {
        let mut left = self.node.left_since(&self.before, &[]);
        let files = files(&self.node);
        let new = files.difference(&self.files_before).filter(|path| !owned.iter().any(|dir| path.starts_with(dir)));
        left.extend(new.filter(|path| !is_kept(path)).map(|path| format!("file {}", path.display())));
        left
    }

    /// # Panics
    /// If something is [`left`](Self::left).
    pub(crate) fn assert_nothing_left(&self, owned: &[&str]) {
        let mut left = Vec::new();
        // What has just ended takes its files with it a little later.
        let settled = Instant::now() + Duration::from_secs(5);
        while Instant::now() < settled {
            left = self.left(owned);
            if left.is_empty() {
                return;
            }
        }
        panic!("left behind:\n{}", left.join("\n"));
    }
}

/// Waits until `done`.
///
/// # Panics
/// If it takes too long.
pub(crate) fn wait_until(what: &str, done: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, done);
}

/// # Panics
/// If `place` does not get the page of the host `name`.
#[track_caller]
pub(crate) fn assert_serves(place: &Place, address: IpAddr, port: u16, name: &str) {
    let got = page(place, address, port);
    let got = got.unwrap_or_else(|e| panic!("{} asks {} for {name}: {e}", place.name, SocketAddr::new(address, port)));
    assert_eq!(got, name, "what {} gets from {}", place.name, SocketAddr::new(address, port));
}

/// Answers of JSON.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// All files that are state of somebody.
fn files(node: &Node) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut directories: Vec<PathBuf> = vec!["/run".into(), "/var/lib".into()];
    while let Some(dir) = directories.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path == node.dir() || path == Path::new(OVERLAYS) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                // It may have gone away meanwhile.
                _ => drop(found.insert(path)),
            }
        }
    }
    found
}

/// Whether the plugins, or the library that runtimes call them with, keep a file between attachments, by design.
fn is_kept(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "lock" || name.ends_with(".lock") || name.starts_with("last_reserved_ip.") || path.starts_with("/run/test")
}
