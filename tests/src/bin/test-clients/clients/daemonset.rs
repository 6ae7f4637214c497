//! The DaemonSets of deploy/ on one node: their containers as the manifests say, by podman, from images that scripts/image builds.
//! Of the ConfigMap one thing is another: the nodes are in a file, since there is no API server here. What overlayd says to one,
//! and whether access.yaml allows it, is tested in overlay/src/store/kubernetes/tests.

mod manifest;
mod pod;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferrule_tests::{Invocation, Process, http, script};
use serde_json::Value;

use super::docker_cli::DockerCli as _;
use super::podman::{OWNED, Podman};
use crate::machine::{Machine, wait_until};
use crate::options::Options;
use crate::report::{Outcome, Report, Skip};
use manifest::DaemonSet;
use pod::Pod;

/// The images: of this version, and of the next.
const OLD: &str = "localhost/overlayd:1";
const NEW: &str = "localhost/overlayd:2";
const PLUGINS: &str = "localhost/cni-plugins:1";
/// Of the node, as the manifests mount them.
const BIN: &str = "/opt/cni/bin";
const NETWORKS: &str = "/etc/cni/net.d";
const CONFLIST: &str = "/etc/cni/net.d/10-overlay.conflist";
/// The network of deploy/kubernetes, and this node's and another's part of it.
const NODES: &str = r#"
[nodes.n1]
subnets = ["10.244.1.0/24"]
ipv4 = "OWN"
[nodes.n2]
subnets = ["10.244.2.0/24"]
ipv4 = "OTHER"
"#;
/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(5);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);

pub(super) fn run(machine: &Machine, options: &Options, report: &mut Report) {
    let podman = Podman::new(machine);
    let node = Node { podman: &podman, machine, overlay: overlay(machine), bin: &options.bin };
    let before = tree();
    let Some(sizes) = report.value("images are built without a registry", || node.build()) else { return };
    report.note(&sizes);
    if !report.check("the init container installs plugins and conflist", || node.installs(&before)) {
        return;
    }
    if !report.check("overlayd: NET_ADMIN alone, read-only; both probes answer", || node.runs()) {
        return;
    }
    let pod = machine.node.container("pod");
    report.check("a pod is attached by what was installed", || node.attaches(&pod));
    let calls = report.value("upgrade while plugins, dhcp and overlayd run", || node.upgrades(&pod));
    report.note(&format!("{} calls of plugins meanwhile", calls.unwrap_or_default()));
    report.check("another conflist in the ConfigMap", || node.changes_configuration());
    report.check("kubectl rollout undo: the older image installs", || node.rolls_out_undo(&pod));
    report.check("cnitool rollback on the node, and forth again", || node.rolls_back());
    report.check("kubernetes-removal: all as it was before", || node.removes(&pod, &before));
    report.check("kubernetes-plugins, and its removal", || node.plugins_alone(&before));
    report.check("in the end nothing is left", || {
        podman.call("rm --all --force --time 0");
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
}

/// deploy/kubernetes, but for the store.
fn overlay(machine: &Machine) -> DaemonSet {
    let mut set = DaemonSet::of("kubernetes");
    give_nodes(&mut set, machine);
    set
}

fn give_nodes(set: &mut DaemonSet, machine: &Machine) {
    let config = set.files.get_mut("overlayd.toml").expect("overlayd.toml");
    assert!(config.contains("[store.kubernetes]"));
    *config = config.replace("[store.kubernetes]", "[store.file]\npath = \"/etc/ferrule/nodes.toml\"");
    let (own, other) = (machine.node.address().to_string(), machine.node.outside_address().to_string());
    set.files.insert("nodes.toml".to_owned(), NODES.replace("OWN", &own).replace("OTHER", &other));
}

struct Node<'a> {
    podman: &'a Podman<'a>,
    machine: &'a Machine,
    overlay: DaemonSet,
    bin: &'a Path,
}

impl Node<'_> {
    fn pod<'a>(&'a self, set: &'a DaemonSet, image: &'a str) -> Pod<'a> {
        Pod { podman: self.podman, set, image }
    }

    /// The other version is the same programs with a mark at their end.
    fn build(&self) -> Result<String, Skip> {
        for program in ["bridge", "cnitool", "overlayd"] {
            let content = fs::read(self.bin.join(program)).unwrap_or_default();
            // The name of the dynamic linker is at the beginning of what needs one.
            let header = content.get(..4096).unwrap_or_default();
            if header.is_empty() || header.windows(4).any(|part| part == b"/ld-") {
                return Err(Skip(format!(
                    "there is no static {program} in {} (hint: scripts/build-dist dist/bin, and --bin dist/bin)",
                    self.bin.display()
                )));
            }
        }
        let newer = self.newer();
        let copied = Command::new("cp").arg("-a").arg(self.bin).arg(&newer).status().expect("cp");
        assert!(copied.success(), "cp");
        for name in ["bridge", "cnitool", "overlayd"] {
            let mut file = fs::File::options().append(true).open(newer.join(name)).expect(name);
            file.write_all(b"another version").expect(name);
        }
        self.image(&newer, &[], NEW);
        let overlayd = self.image(self.bin, &[], OLD);
        let plugins = self.image(self.bin, &["--plugins"], PLUGINS);
        Ok(format!("{overlayd}; {plugins}"))
    }

    fn image(&self, from: &Path, options: &[&str], name: &str) -> String {
        let mut command = Command::new(script("image"));
        command.arg("--from").arg(from).args(options).arg(name);
        let mut command = self.podman.configure(command);
        // Podman gets a home of its own, and Cargo, which knows the libraries' licences, is asked for in the caller's.
        if let Some(home) = std::env::var_os("HOME") {
            for (variable, directory) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
                let usual = || Path::new(&home).join(directory).into_os_string();
                command.env(variable, std::env::var_os(variable).unwrap_or_else(usual));
            }
        }
        let said = self.machine.run(command, "");
        said.unwrap_or_else(|e| panic!("scripts/image {name}: {e}")).trim().to_owned()
    }

    fn newer(&self) -> PathBuf {
        self.machine.dir.join("newer")
    }

    fn installs(&self, before: &BTreeMap<PathBuf, String>) -> Outcome {
        let said = self.pod(&self.overlay, OLD).init().unwrap_or_else(|e| panic!("{e}"));
        assert!(said.contains("/host/opt/cni/bin: "), "{said}");
        self.assert_installed(self.bin);
        assert_eq!(fs::read_to_string(CONFLIST).expect(CONFLIST), self.overlay.files["10-overlay.conflist"]);
        assert!(before.keys().all(|path| path.symlink_metadata().is_ok()), "files of others are gone");
        Ok(())
    }

    /// Each plugin is that of `from`, and all are one file.
    fn assert_installed(&self, from: &Path) {
        for name in ["bridge", "vxlan-delegate", "cnitool"] {
            let same = fs::read(Path::new(BIN).join(name)).ok() == fs::read(from.join(name)).ok();
            assert!(same, "{name} is not that of {}", from.display());
        }
        let inode = |name: &str| fs::metadata(Path::new(BIN).join(name)).expect(name).ino();
        assert_eq!(inode("bridge"), inode("portmap"));
        assert!(!Path::new(BIN).join("overlayd").exists(), "a daemon among plugins");
    }

    fn runs(&self) -> Outcome {
        self.machine.node.host.sh("sysctl -qw net.ipv4.ip_forward=1");
        let pod = self.pod(&self.overlay, OLD);
        let name = pod.start();
        self.wait_for_probes();
        let pid = self.podman.call(&format!("inspect --format {{{{.State.Pid}}}} {name}"));
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let field =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).expect("a field").trim().to_owned();
        // CAP_NET_ADMIN is 12.
        assert_eq!(
            (field("CapEff:"), field("CapBnd:")),
            ("0000000000001000".to_owned(), "0000000000001000".to_owned())
        );
        assert_eq!(field("NoNewPrivs:"), "1");
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("its mounts");
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
        assert!(
            root.split(' ').nth(5).is_some_and(|options| options.split(',').any(|option| option == "ro")),
            "{root}"
        );
        Ok(())
    }

    /// Both probes, as the manifest has them.
    fn wait_for_probes(&self) {
        for probe in ["livenessProbe", "readinessProbe"] {
            let get = &self.overlay.pod()["containers"][0][probe]["httpGet"];
            wait_until(probe, || self.answers(get));
        }
    }

    fn answers(&self, get: &Value) -> bool {
        let text = |key: &str| get[key].as_str().expect("text").to_owned();
        let port = get["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let (address, path) = (SocketAddr::new(text("host").parse().expect("an address"), port), text("path"));
        http::status_within(PATIENCE, &self.machine.node.host, address, &path).is_ok_and(|status| status == 200)
    }

    /// The installed cnitool, as an operator calls it on the node.
    fn cnitool(&self, line: &str) -> String {
        let arguments: Vec<&str> = line.split(' ').collect();
        self.machine.cnitool_of(Path::new(BIN), Path::new(BIN), &arguments)
    }

    fn attaches(&self, pod: &ferrule_tests::Container) -> Outcome {
        self.cnitool(&format!("add cbr0 {}", pod.netns.display()));
        assert!(pod.place.ping(GATEWAY.into()), "the pod does not reach its node");
        Ok(())
    }

    fn upgrades(&self, pod: &ferrule_tests::Container) -> Result<usize, Skip> {
        let (bridge, log) = (Path::new(BIN).join("bridge"), self.machine.dir.join("dhcp.log"));
        let mut dhcp = Command::new(Path::new(BIN).join("dhcp"));
        dhcp.arg("daemon").arg("-socketpath").arg(self.machine.dir.join("dhcp.sock"));
        let dhcp = self.machine.node.host.run(|| Process::start("dhcp", dhcp, log));
        let (old, new) = (self.pod(&self.overlay, OLD), self.pod(&self.overlay, NEW));
        let done = AtomicBool::new(false);
        let calls = std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut calls = 0;
                while !done.load(Ordering::Relaxed) {
                    let reply = Invocation::new(&bridge).env("CNI_COMMAND", "VERSION").run_here().reply();
                    assert!(reply.as_ref().is_ok_and(|reply| reply["supportedVersions"].is_array()), "{reply:?}");
                    calls += 1;
                }
                calls
            });
            // While overlayd of the old image runs, as kubelet does not: it is harder.
            let said = new.init().and_then(|_| old.init()).and_then(|_| new.init());
            done.store(true, Ordering::Relaxed);
            let calls: usize = load.join().expect("a plugin was missing, or not whole");
            said.map(|_| calls).unwrap_or_else(|e| panic!("{e}"))
        });
        assert!(calls > 0);
        self.assert_installed(&self.newer());
        old.stop();
        new.start();
        self.wait_for_probes();
        assert!(pod.place.ping(GATEWAY.into()), "the pod has lost its network");
        assert_eq!(dhcp.stop(), Some(0), "the daemon that ran from a replaced file");
        Ok(calls)
    }

    fn changes_configuration(&self) -> Outcome {
        let stranger = Path::new(NETWORKS).join("99-stranger.conflist");
        fs::copy(CONFLIST, &stranger).expect("a file");
        let mut set = self.overlay.clone();
        let text = set.files["10-overlay.conflist"].replace("\"hairpinMode\": true", "\"hairpinMode\": false");
        assert_ne!(text, set.files["10-overlay.conflist"]);
        set.files.insert("10-overlay.conflist".to_owned(), text.clone());
        self.pod(&set, NEW).init().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(fs::read_to_string(CONFLIST).expect(CONFLIST), text);
        assert!(stranger.exists());
        fs::remove_file(stranger).expect("a file");
        Ok(())
    }

    fn rolls_out_undo(&self, pod: &ferrule_tests::Container) -> Outcome {
        self.pod(&self.overlay, NEW).stop();
        let old = self.pod(&self.overlay, OLD);
        old.init().unwrap_or_else(|e| panic!("{e}"));
        self.assert_installed(self.bin);
        assert_eq!(fs::read_to_string(CONFLIST).expect(CONFLIST), self.overlay.files["10-overlay.conflist"]);
        old.start();
        self.wait_for_probes();
        assert!(pod.place.ping(GATEWAY.into()), "the pod has lost its network");
        Ok(())
    }

    fn rolls_back(&self) -> Outcome {
        self.cnitool(&format!("rollback {BIN}"));
        self.assert_installed(&self.newer());
        self.cnitool(&format!("rollback {BIN}"));
        self.assert_installed(self.bin);
        Ok(())
    }

    fn removes(&self, pod: &ferrule_tests::Container, before: &BTreeMap<PathBuf, String>) -> Outcome {
        self.cnitool(&format!("del cbr0 {}", pod.netns.display()));
        self.machine.node.kill(pod);
        let mut removal = DaemonSet::of("kubernetes-removal");
        give_nodes(&mut removal, self.machine);
        self.pod(&self.overlay, OLD).stop();
        let gone = self.pod(&removal, OLD);
        let said = gone.init().unwrap_or_else(|e| panic!("{e}"));
        gone.start();
        gone.stop();
        assert_eq!(&tree(), before, "{said}");
        let links = self.machine.node.host.sh("ip -o link show");
        assert!(!links.contains("flannel"), "{links}");
        assert!(!self.machine.node.host.sh("nft list tables").contains("overlayd"));
        for dir in ["/run/flannel", "/run/overlayd", "/var/lib/overlayd"] {
            let left: Vec<_> = fs::read_dir(dir).expect(dir).flatten().map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "{left:?}");
            fs::remove_dir(dir).expect(dir);
        }
        Ok(())
    }

    fn plugins_alone(&self, before: &BTreeMap<PathBuf, String>) -> Outcome {
        let mut set = DaemonSet::of("kubernetes-plugins");
        let install = |set: &DaemonSet| self.pod(set, PLUGINS).init().unwrap_or_else(|e| panic!("{e}"));
        install(&set);
        self.assert_installed(self.bin);
        assert!(!Path::new(CONFLIST).exists(), "there is none in its ConfigMap");
        set.files.insert("10-mine.conflist".to_owned(), self.overlay.files["10-overlay.conflist"].clone());
        install(&set);
        assert!(Path::new(NETWORKS).join("10-mine.conflist").exists());
        let pod = self.pod(&set, PLUGINS);
        pod.start();
        pod.stop();
        install(&DaemonSet::of("kubernetes-plugins-removal"));
        assert_eq!(&tree(), before);
        Ok(())
    }
}

/// All below the directories of plugins and networks, and what it is.
fn tree() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::from(BIN), PathBuf::from(NETWORKS)];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let meta = path.symlink_metadata().expect("a file");
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            if path.ends_with("cni.lock") {
                // podman's.
                continue;
            }
            found.insert(path, format!("{:o} {} {}", meta.mode(), meta.ino(), meta.len()));
        }
    }
    found
}
