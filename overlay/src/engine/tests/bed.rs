//! A namespace with an underlay, and an engine in it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libcni::netns::Netns;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::claim::Claim;
use crate::config::{Config, External, KernelConf, Log, MasqueradeConf, Programming, StoreConf};
use crate::engine::{Setup, run};
use crate::event::{Ask, Event};
use crate::metrics::Metrics;
use crate::network::{Backend, Network};
use crate::node::discover;
use crate::report::{Difference, Explanation, PeerRow, Status};
use crate::roster::tests::network;
use crate::store::file::FileConf;
use crate::store::{News, Record, Registration};

/// For what must come; a loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A namespace with the interface `e0`, which has 192.0.2.1/24 and fd00::1/64.
pub(super) struct Bed {
    dir: tempfile::TempDir,
    host: Netns,
}

/// An engine at work; it ends with it.
pub(super) struct Running {
    pub(super) queue: Sender<Event>,
    pub(super) registration: watch::Receiver<Registration>,
    pub(super) metrics: Arc<Metrics>,
    thread: Option<JoinHandle<()>>,
}

impl Bed {
    /// `None`, with SKIP and the reason printed, where namespaces cannot be made.
    pub(super) fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let host = match Netns::create(dir.path().join("host")) {
            Ok(host) => host,
            Err(e) => {
                skip(&format!("{e}; hint: scripts/in-namespaces"));
                return None;
            }
        };
        let bed = Self { dir, host };
        bed.run("ip link set lo up");
        bed.lay();
        Some(bed)
    }

    /// Two namespaces with one underlay: 192.0.2.1 and 192.0.2.2, fd00::1 and fd00::2.
    pub(super) fn pair() -> Option<[Self; 2]> {
        let (one, other) = (Self::new()?, Self::new()?);
        other.run("ip link delete e0");
        one.run("ip link delete e0");
        let there = other.path("host").display().to_string();
        one.run(&format!("ip link add e0 type veth peer name e0 netns {there}"));
        for (bed, n) in [(&one, 1), (&other, 2)] {
            bed.run("ip link set e0 up");
            bed.run(&format!("ip address add 192.0.2.{n}/24 dev e0"));
            bed.run(&format!("ip address add fd00::{n}/64 dev e0 nodad"));
        }
        Some([one, other])
    }

    /// Lays the underlay.
    pub(super) fn lay(&self) {
        self.run("ip link add e0 type veth peer name e1");
        self.run("ip link set e1 up");
        self.run("ip link set e0 up");
        self.run("ip address add 192.0.2.1/24 dev e0");
        self.run("ip address add fd00::1/64 dev e0 nodad");
        self.run("ip route add default via 192.0.2.254");
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn config(&self) -> Config {
        Config {
            node: "us".into(),
            subnet_file: self.path("run/subnet.env"),
            state_dir: self.path("state"),
            socket: self.path("sock"),
            http: None,
            external: External { interface: vec!["e0".into()], ..External::default() },
            network: None,
            store: StoreConf::File(FileConf { path: self.path("nodes"), publish: false }),
            masquerade: None::<MasqueradeConf>,
            kernel: KernelConf {
                device: None,
                programming: Programming::Auto,
                check: Duration::from_secs(3600),
                blackhole: false,
                receive_buffer: 4 << 20,
            },
            bgp: crate::bgp::BgpConf::default(),
            log: Log { level: tracing::Level::INFO, json: false },
        }
    }

    /// An engine that has heard nothing yet.
    pub(super) fn start(&self, config: Config, network: Network) -> Running {
        self.start_as(config, network, 7)
    }

    /// The machine whose identity is this byte.
    pub(super) fn start_as(&self, config: Config, network: Network, identity: u8) -> Running {
        let metrics = Arc::new(Metrics::new());
        let (queue, events) = mpsc::channel();
        let external = config.external.clone();
        let node = self.host.within(|| discover(&external, &network, "us", [identity; 32])).unwrap().unwrap();
        let (registration, seen) = watch::channel(Registration::of(&node, &network, Vec::new()));
        let setup =
            Setup { config, network, node, registration, metrics: metrics.clone(), events, queue: queue.clone() };
        let host = Netns::open(self.host.path()).unwrap();
        let thread = thread::spawn(move || host.within(|| run(setup)).unwrap());
        Running { queue, registration: seen, metrics, thread: Some(thread) }
    }

    /// An IPv4 network, VXLAN, programmed so.
    pub(super) fn vxlan(&self, programming: Programming) -> Running {
        let mut config = self.config();
        config.kernel.programming = programming;
        self.start(config, v4_network())
    }

    /// Runs a program there, and gives what it printed.
    pub(super) fn run(&self, command: &str) -> String {
        let output = self.output(command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Bed::run`]; nothing if it fails, as for a link that is not there.
    pub(super) fn show(&self, command: &str) -> String {
        String::from_utf8(self.output(command).stdout).unwrap()
    }

    /// Whether a command succeeds.
    pub(super) fn can(&self, command: &str) -> bool {
        self.output(command).status.success()
    }

    fn output(&self, command: &str) -> std::process::Output {
        let mut words = command.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        // A child is where its parent thread is.
        self.host.within(|| command.output()).unwrap().unwrap()
    }

    /// Waits until what a command shows is so.
    pub(super) fn until(&self, command: &str, is_so: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let shown = self.show(command);
            if is_so(&shown) {
                return shown;
            }
            assert!(start.elapsed() < PATIENCE, "{command}:\n{shown}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that nodes are reached by: routes with our mark, and all that is on flannel.1, without what differs from run
    /// to run.
    pub(super) fn objects(&self) -> String {
        let mut all = String::new();
        for command in [
            "ip route show proto 79",
            "ip neigh show dev flannel.1 nud permanent",
            "bridge fdb show dev flannel.1",
            "ip nexthop show proto 79",
        ] {
            let mut lines: Vec<_> = self.show(command).lines().map(|line| line.trim().to_owned()).collect();
            lines.sort();
            lines.iter().for_each(|line| writeln!(all, "{line}").unwrap());
        }
        all
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = Netns::remove(self.path("host"));
    }
}

impl Running {
    pub(super) fn hear(&self, news: News) {
        self.queue.send(Event::Store(news, Instant::now())).unwrap();
    }

    /// The own subnet, and these nodes.
    pub(super) fn begin(&self, records: Vec<Record>) {
        self.hear(News::Subnets(vec!["10.42.0.0/24".parse().unwrap()]));
        self.hear(News::All(records));
        self.until_ready();
    }

    pub(super) fn until_ready(&self) {
        self.until(|status| status.not_ready.is_empty());
    }

    pub(super) fn until(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{status:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T {
        let (to, answer) = oneshot::channel();
        self.queue.send(Event::Ask(ask(to))).unwrap();
        answer.blocking_recv().unwrap()
    }

    pub(super) fn status(&self) -> Status {
        self.ask(Ask::Status)
    }

    pub(super) fn peers(&self) -> Vec<PeerRow> {
        self.ask(Ask::Peers)
    }

    pub(super) fn state_of(&self, name: &str) -> String {
        self.peers().into_iter().find(|row| row.name == name).map(|row| row.state).unwrap_or_default()
    }

    pub(super) fn differences(&self) -> Vec<Difference> {
        self.ask(Ask::Diff).unwrap()
    }

    pub(super) fn explain(&self, address: &str) -> Explanation {
        self.ask(|to| Ask::Explain(address.parse().unwrap(), to))
    }

    /// Ends it as SIGTERM does.
    pub(super) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.queue.send(Event::Stop);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}

/// Prints why a test was not run; a failure where everything is required.
pub(super) fn skip(why: &str) {
    let line = format!("SKIP overlayd {}: {why}\n", thread::current().name().unwrap_or("?"));
    assert!(std::env::var_os("CNI_TEST_REQUIRE").is_none_or(|v| v != "all"), "{line}");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

pub(super) fn v4_network() -> Network {
    Network { v6: None, ..network() }
}

pub(super) fn host_gw() -> Network {
    Network { backend: Backend::HostGw, ..v4_network() }
}

/// Node `nN`, with 10.42.N.0/24, at 198.51.100.N, with a MAC address that ends in N.
pub(super) fn node(n: u8) -> Record {
    node_at(n, &format!("198.51.100.{n}"), n)
}

pub(super) fn node_at(n: u8, address: &str, mac: u8) -> Record {
    let claim = Claim {
        subnets: vec![format!("10.42.{n}.0/24").parse().unwrap()],
        public_ip: Some(address.parse().unwrap()),
        backend: "vxlan".into(),
        v4_data: Some(json!({"VNI": 1, "VtepMAC": format!("0a:00:00:00:00:{mac:02x}")})),
        ..Claim::default()
    };
    Record { name: format!("n{n}"), claim: Ok(claim) }
}

pub(super) fn host_gw_node(n: u8, address: &str) -> Record {
    let mut record = node_at(n, address, n);
    if let Ok(claim) = &mut record.claim {
        claim.backend = "host-gw".into();
        claim.v4_data = None;
    }
    record
}

/// What `ip -j` shows.
pub(super) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
