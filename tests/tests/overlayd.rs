//! The program `overlayd` on one node: how it starts, what it answers, how it ends, and what is left of it.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "a test plays the operator, who writes files as he likes")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ferrule_tests::{Binaries, Node, Process, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Where it serves HTTP in these tests.
const HTTP: &str = "127.0.0.1:9410";

/// A node and what overlayd needs on it.
struct Bed {
    node: Node,
    binaries: Binaries,
}

impl Bed {
    /// `None`, with a printed SKIP, outside the sandbox.
    fn start() -> Option<Self> {
        let bed = Self { node: Node::start()?, binaries: Binaries::ours()? };
        fs::create_dir(bed.path("nodes")).unwrap();
        bed.configure("");
        Some(bed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.node.dir().join(name)
    }

    /// The configuration, with `more` at its end.
    fn configure(&self, more: &str) -> PathBuf {
        let dir = self.node.dir().display();
        let path = self.path("overlayd.toml");
        let text = format!(
            "node = \"n1\"\nhttp = \"{HTTP}\"\nsubnet_file = \"{dir}/flannel/subnet.env\"\nstate_dir = \"{dir}/state\"\n\
             socket = \"{dir}/run/overlayd.sock\"\n[network]\nNetwork = \"10.42.0.0/16\"\n[network.Backend]\n\
             Type = \"host-gw\"\n[store.file]\npath = \"{dir}/nodes\"\npublish = true\n{more}"
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts overlayd on the host.
    fn overlayd(&self) -> Process {
        let (config, log) = (self.path("overlayd.toml"), self.path("overlayd.log"));
        let mut command = Command::new(self.binaries.plugin("overlayd"));
        command.arg("--config").arg(config);
        self.node.host.run(|| Process::start("overlayd", command, log))
    }

    /// Runs a program on the host to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        let mut command = Command::new(self.binaries.plugin(program));
        command.args(arguments);
        Ended::of(self.node.host.run(|| command.output()).unwrap())
    }

    fn overlay(&self, arguments: &[&str]) -> Ended {
        let socket = self.path("run/overlayd.sock");
        self.run("cnitool", &[&["overlay"], arguments, &["--socket", socket.to_str().unwrap()]].concat())
    }

    fn cleanup(&self, arguments: &[&str]) -> Ended {
        let config = self.path("overlayd.toml");
        self.run("overlayd", &[&["cleanup", "--config", config.to_str().unwrap()], arguments].concat())
    }

    fn wait_ready(&self) {
        eventually("ready", || self.overlay(&["status"]).code == 0);
    }

    /// The status and the body of a page.
    fn fetch(&self, path: &str) -> (u16, String) {
        let answer = self.node.host.run(|| {
            let mut stream = TcpStream::connect(HTTP).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn write_node(&self, name: &str, subnet: &str, address: &str) {
        let text = format!("subnets = [\"{subnet}\"]\nipv4 = \"{address}\"\nbackend = \"host-gw\"\n");
        fs::write(self.path("nodes").join(format!("{name}.toml")), text).unwrap();
    }
}

/// A program that has ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

#[test]
fn it_starts_answers_and_all_of_it_can_be_removed() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.node.snapshot();
    let overlayd = bed.overlayd();
    bed.wait_ready();
    let subnet = fs::read_to_string(bed.path("flannel/subnet.env")).unwrap();
    assert!(subnet.starts_with("FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42."), "{subnet}");
    assert!(subnet.ends_with(".1/24\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=false\n"), "{subnet}");

    bed.write_node("n2", "10.42.200.0/24", "192.0.2.7");
    eventually("a route to the other node", || !bed.node.host.sh("ip route show 10.42.200.0/24").is_empty());
    eventually("the node is listed", || bed.overlay(&["peers"]).stdout.contains("n2"));
    let peers: Value = serde_json::from_str(&bed.overlay(&["peers", "--json"]).stdout).unwrap();
    let n2 = peers.as_array().unwrap().iter().find(|peer| peer["name"] == "n2").unwrap();
    assert_eq!((&n2["subnets"][0], &n2["state"]), (&"10.42.200.0/24".into(), &"ok".into()), "{n2}");
    assert_eq!(bed.overlay(&["diff"]).code, 0);
    let explained = bed.overlay(&["explain", "10.42.200.9"]);
    assert!(explained.code == 0 && explained.stdout.contains("192.0.2.7"), "{explained:?}");
    let unknown = bed.overlay(&["explain", "10.42.201.9"]);
    assert!(unknown.code == 6 && unknown.stdout.contains("FAULT: "), "{unknown:?}");

    assert_eq!(bed.fetch("/healthz").0, 200);
    assert_eq!(bed.fetch("/readyz"), (200, "ready\n".to_owned()));
    let (code, metrics) = bed.fetch("/metrics");
    assert!(code == 200 && metrics.contains("\noverlayd_peers 1\n"), "{metrics}");
    assert_eq!(bed.fetch("/").0, 404);

    let second = bed.run("overlayd", &["--config", bed.path("overlayd.toml").to_str().unwrap()]);
    assert!(second.code == 1 && second.stderr.contains("another daemon listens at "), "{second:?}");
    let refused = bed.cleanup(&[]);
    assert!(refused.code == 1 && refused.stderr.contains("(hint: stop it first)"), "{refused:?}");

    assert_eq!(overlayd.stop(), Some(0));
    assert!(!bed.path("run/overlayd.sock").exists());
    assert!(!bed.node.host.sh("ip route show 10.42.200.0/24").is_empty(), "containers keep their way");
    let removed = bed.cleanup(&[]);
    assert!(removed.code == 0 && removed.stdout.contains("subnet.env\n"), "{removed:?}");
    assert!(bed.path("nodes/n1.toml").exists());
    let removed = bed.cleanup(&["--store"]);
    assert_eq!((removed.code, removed.stdout.as_str()), (0, "removed this node in the store\n"), "{removed:?}");
    assert!(!bed.path("nodes/n1.toml").exists() && bed.path("nodes/n2.toml").exists());
    let again = bed.cleanup(&["--store"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{again:?}");
    assert_eq!(fs::read_dir(bed.path("state")).map_or(0, Iterator::count), 0);
    bed.node.assert_nothing_left(&before, &[]);
}

#[test]
fn without_an_external_interface_it_waits_and_says_so() {
    let Some(bed) = Bed::start() else { return };
    // The interface of the other family's default route would do, too.
    bed.node.host.sh("ip route del default");
    bed.node.host.sh("ip -6 route del default");
    let overlayd = bed.overlayd();
    eventually("an answer", || bed.overlay(&["status"]).stdout.contains("ready     no: "));
    let status = bed.overlay(&["status"]);
    assert!(status.code == 5 && status.stdout.contains("no default route (hint: "), "{status:?}");
    assert_eq!(bed.fetch("/healthz").0, 200);
    let (code, reasons) = bed.fetch("/readyz");
    assert!(code == 503 && reasons.contains("no external interface for IPv4"), "{reasons}");
    bed.node.host.sh("ip route add default via 192.0.2.1");
    bed.wait_ready();
    assert_eq!(overlayd.stop(), Some(0));
}

#[test]
fn sighup_changes_what_can_change_and_a_mistake_changes_nothing() {
    let Some(bed) = Bed::start() else { return };
    let overlayd = bed.overlayd();
    bed.wait_ready();
    let has_blackhole = || bed.node.host.sh("ip route show type blackhole").contains("10.42.0.0/16");
    assert!(!has_blackhole());
    bed.configure("[kernel]\nblackhole = true\n[masquerade]\n[external]\npublic_ip = \"198.51.100.7\"\n");
    overlayd.signal(Signal::SIGHUP);
    eventually("a blackhole", has_blackhole);
    eventually("masquerading", || bed.node.host.sh("nft list tables").contains("inet overlayd"));
    eventually("the others are told the new address", || {
        fs::read_to_string(bed.path("nodes/n1.toml")).is_ok_and(|own| own.contains("198.51.100.7"))
    });
    bed.configure("[masquerade]\nexcept = [\"x\"]\n");
    overlayd.signal(Signal::SIGHUP);
    eventually("the mistake is told", || {
        overlayd.log().contains("masquerade.except: invalid value \\\"x\\\", expected a list of networks")
            || overlayd.log().contains("masquerade.except: invalid value \"x\", expected a list of networks")
    });
    assert!(has_blackhole());
    bed.configure("[kernel]\ndevice = \"other\"\n");
    overlayd.signal(Signal::SIGHUP);
    eventually("what needs a restart is told", || {
        overlayd.log().contains("this change needs a restart of overlayd key=\"kernel.device\"")
    });
    eventually("the blackhole is gone", || !has_blackhole());
    assert_eq!(overlayd.stop(), Some(0));
}

#[test]
fn a_killed_daemons_socket_is_replaced() {
    let Some(bed) = Bed::start() else { return };
    let absent = bed.overlay(&["status"]);
    assert!(absent.code == 5 && absent.stderr.contains("no daemon has run here"), "{absent:?}");
    let overlayd = bed.overlayd();
    bed.wait_ready();
    overlayd.kill();
    assert!(bed.path("run/overlayd.sock").exists());
    let dead = bed.overlay(&["status"]);
    assert!(dead.code == 5 && dead.stderr.contains("the daemon does not run"), "{dead:?}");
    let overlayd = bed.overlayd();
    bed.wait_ready();
    assert_eq!(overlayd.stop(), Some(0));
}

#[test]
fn the_command_line_is_checked() {
    let Some(bed) = Bed::start() else { return };
    let config = bed.configure("colour = 1\n");
    let check = |arguments: &[&str]| {
        let config = config.to_str().unwrap();
        bed.run("overlayd", &[arguments, &["--config", config]].concat())
    };
    let wrong = check(&["check-config"]);
    assert_eq!(wrong.code, 2);
    let place = format!(
        "overlayd: {}: line 13: store.file.colour: unknown key, expected one of path, publish\n",
        config.display()
    );
    assert_eq!(wrong.stderr, place);
    bed.configure("");
    let right = check(&["check-config", "-iface", "uplink", "--ip-masq=true"]);
    assert_eq!((right.code, right.stdout.as_str()), (0, "the configuration is right\n"), "{right:?}");
    let flag = check(&["check-config", "--public-ip=2001:db8::1"]);
    assert!(
        flag.code == 2 && flag.stderr.contains("--public-ip: invalid value \"2001:db8::1\", expected an IPv4 address"),
        "{flag:?}"
    );
    let unknown = check(&["--colour"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("flag provided but not defined: --colour"), "{unknown:?}");
    let missing = bed.run("overlayd", &["--config", "/nonexistent"]);
    assert!(missing.code == 2 && missing.stderr.contains("there is no file /nonexistent"), "{missing:?}");
    assert!(bed.run("overlayd", &["--help"]).stdout.contains("--etcd-endpoints"));
    assert!(bed.run("overlayd", &["--version"]).stdout.starts_with("overlayd "));
    assert!(!Path::new(&bed.path("run")).exists(), "nothing was started");
}
