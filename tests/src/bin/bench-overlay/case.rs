//! One daemon with so many nodes, from its start to its end.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use ferrule_tests::peers::Peer;
use libcni::netns::Netns;
use linuxnet::netlink::Netlink;
use linuxnet::route::PROTOCOL_OVERLAY;
use serde_json::{Value, json};

use crate::Programming;
use crate::daemon::Daemon;
use crate::floor::{self, sh};
use crate::store::{Etcd, Store};
use crate::table::{Column, Times};
use crate::watch::{Change, Heard, Watch};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two events that are measured one by one: the daemon waits for the next.
const PAUSE: Duration = Duration::from_millis(5);
/// The churn comes in so many parts a second.
const PARTS: u32 = 10;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) peers: &'static [u32],
    cold_starts: usize,
    events: u32,
    churn_seconds: u32,
    checks: usize,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { peers: &[1_000, 5_000, 10_000], cold_starts: 5, events: 300, churn_seconds: 10, checks: 20 };
    pub(crate) const QUICK: Self = Self { peers: &[1_000], cold_starts: 2, events: 50, churn_seconds: 2, checks: 5 };
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) peers: u32,
    pub(crate) programming: Programming,
    pub(crate) etcd: bool,
    pub(crate) effort: Effort,
}

impl Case {
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.peers, self.programming.name())
    }

    /// Measures it, in a network namespace of its own.
    pub(crate) fn run(&self, binaries: &Path) -> io::Result<Column> {
        let directory = tempfile::tempdir_in("/run")?;
        let name = directory.path().join("netns");
        let netns = Netns::create(&name).map_err(io::Error::other)?;
        let measured = netns.run(|| self.measure(binaries, directory.path())).map_err(io::Error::other);
        Netns::remove(&name).map_err(io::Error::other)?;
        measured?
    }

    fn measure(&self, binaries: &Path, directory: &Path) -> io::Result<Column> {
        wire()?;
        let (mut store, settings) = self.store(directory)?;
        let peers: Vec<Peer> = (0..self.peers).map(Peer::new).collect();
        store.put(&peers)?;
        let mut column = Column { title: self.title(), floor: self.floor(&peers)?, ..Column::default() };
        let watch = Watch::start()?;
        for _ in 1..self.effort.cold_starts {
            let mut daemon = Daemon::start(binaries, directory, &settings)?;
            column.cold_start.push(self.cold(&daemon, &watch)?);
            daemon.kill()?;
            self.forget(directory, &watch)?;
        }
        let daemon = Daemon::start(binaries, directory, &settings)?;
        column.cold_start.push(self.cold(&daemon, &watch)?);
        daemon.settle()?;
        column.cold_cpu = daemon.cpu()?;
        column.cold_messages = daemon.metric(MESSAGES)?;
        let mut bench = Bench { case: *self, store, watch, daemon };
        bench.events(&mut column)?;
        bench.churn(&mut column)?;
        bench.renewals(&peers, &mut column)?;
        bench.checks(&mut column)?;
        column.peak = bench.daemon.megabytes("VmHWM")?;
        column.resident = bench.daemon.megabytes("VmRSS")?;
        Ok(column)
    }

    /// The store, and the daemon's configuration. The daemon's own subnet is none of those of the peers.
    fn store(&self, directory: &Path) -> io::Result<(Store, Value)> {
        let kernel = json!({"programming": self.programming.name()});
        let network = json!({
            "Network": "10.0.0.0/8", "SubnetLen": 24, "SubnetMax": "10.127.255.0", "Backend": {"Type": "vxlan"},
        });
        if self.etcd {
            let store = Store::Etcd(Etcd::start(directory, &network)?);
            let settings = json!({"store": store.settings(), "kernel": kernel});
            return Ok((store, settings));
        }
        let nodes = directory.join("nodes");
        std::fs::create_dir(&nodes)?;
        let store = Store::Directory(nodes);
        let settings = json!({"network": network, "store": store.settings(), "kernel": kernel});
        Ok((store, settings))
    }

    fn floor(&self, peers: &[Peer]) -> io::Result<Times> {
        let mut times = Times::default();
        for _ in 0..self.effort.cold_starts {
            times.push(floor::measure(self.programming, peers)?);
        }
        Ok(times)
    }

    /// From the start of the daemon to the last route.
    fn cold(&self, daemon: &Daemon, watch: &Watch) -> io::Result<Duration> {
        let mut missing: BTreeSet<Ipv4Addr> = (0..self.peers).map(|number| base(Peer::new(number))).collect();
        let mut last = daemon.started;
        while !missing.is_empty() {
            match watch.next(PATIENCE).ok_or(io::ErrorKind::TimedOut)? {
                Heard::Route(Change { to, is_there: true }, at) => {
                    missing.remove(&to);
                    last = at;
                }
                Heard::Route(..) => {}
                // What was not heard is looked for.
                Heard::Lost => {
                    let (count, at) = (routes()?, Instant::now());
                    if count >= self.peers as usize {
                        (missing, last) = (BTreeSet::new(), at);
                    }
                }
            }
        }
        Ok(last.duration_since(daemon.started))
    }

    /// Removes what the daemon made, and the memory of it.
    fn forget(&self, directory: &Path, watch: &Watch) -> io::Result<()> {
        sh("ip link delete flannel.1")?;
        watch.forget();
        std::fs::remove_file(directory.join("subnet.env"))?;
        match std::fs::remove_dir_all(directory.join("state")) {
            // The snapshot is written a little later.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// The external interface.
fn wire() -> io::Result<()> {
    sh("ip link set lo up")?;
    sh("ip link add eth0 type veth peer name wire")?;
    sh("ip address add 198.18.0.2/15 dev eth0")?;
    sh("ip link set wire up")?;
    sh("ip link set eth0 up")?;
    sh("ip route add default via 198.18.0.1")
}

/// The metric of requests to the kernel.
const MESSAGES: &str = "overlayd_netlink_messages_total";

fn base(peer: Peer) -> Ipv4Addr {
    peer.subnet().network()
}

/// How many routes of the daemon's there are.
fn routes() -> io::Result<usize> {
    let routes = Netlink::open().and_then(|mut netlink| netlink.routes_of_protocol(PROTOCOL_OVERLAY));
    Ok(routes.map_err(io::Error::other)?.len())
}

/// A daemon that has all peers.
struct Bench {
    case: Case,
    store: Store,
    watch: Watch,
    daemon: Daemon,
}

impl Bench {
    /// Nodes that come and go one by one. They are others than those of the cold start.
    fn events(&mut self, column: &mut Column) -> io::Result<()> {
        let comers: Vec<Peer> = (0..self.case.effort.events).map(|n| Peer::new(self.case.peers + n)).collect();
        for peer in &comers {
            column.join.push(self.change(*peer, true)?);
            std::thread::sleep(PAUSE);
        }
        for peer in &comers {
            column.leave.push(self.change(*peer, false)?);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// From one change of the store to the kernel's word.
    fn change(&mut self, peer: Peer, is_there: bool) -> io::Result<Duration> {
        self.watch.forget();
        let started = Instant::now();
        self.tell(peer, is_there)?;
        loop {
            match self.watch.next(PATIENCE).ok_or(io::ErrorKind::TimedOut)? {
                Heard::Route(change, at) if change == (Change { to: base(peer), is_there }) => {
                    return Ok(at.duration_since(started));
                }
                Heard::Route(..) => {}
                Heard::Lost => return Err(io::Error::other("a notification is lost")),
            }
        }
    }

    fn tell(&mut self, peer: Peer, is_there: bool) -> io::Result<()> {
        if is_there { self.store.put(&[peer]) } else { self.store.remove(peer) }
    }

    /// One per cent of the nodes a second: half of them come, and in the next part go.
    fn churn(&mut self, column: &mut Column) -> io::Result<()> {
        let Case { peers, effort, .. } = self.case;
        let per_part = (peers / 100 / PARTS).max(1);
        let comers: Vec<Peer> = (0..per_part).map(|n| Peer::new(peers + n)).collect();
        self.watch.forget();
        let (cpu, started) = (self.daemon.cpu()?, Instant::now());
        for part in 0..effort.churn_seconds * PARTS {
            let is_there = part.is_multiple_of(2);
            let mut told = HashMap::new();
            for peer in &comers {
                told.insert(Change { to: base(*peer), is_there }, Instant::now());
                self.tell(*peer, is_there)?;
            }
            self.hear(&mut told, column)?;
            let next = started + Duration::from_secs(1) * (part + 1) / PARTS;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let used = self.daemon.cpu()?.saturating_sub(cpu);
        column.churn_cpu = used.as_secs_f64() / started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Waits for all these.
    fn hear(&mut self, told: &mut HashMap<Change, Instant>, column: &mut Column) -> io::Result<()> {
        while !told.is_empty() {
            match self.watch.next(PATIENCE).ok_or(io::ErrorKind::TimedOut)? {
                Heard::Route(change, at) => {
                    column.churn.extend(told.remove(&change).map(|then| at.duration_since(then)));
                }
                Heard::Lost => return Err(io::Error::other("a notification is lost")),
            }
        }
        Ok(())
    }

    /// Every node says the same as before. A node that joins after them is the sign that all were looked at.
    fn renewals(&mut self, peers: &[Peer], column: &mut Column) -> io::Result<()> {
        let last = Peer::new(self.case.peers);
        let (cpu, messages) = (self.daemon.cpu()?, self.daemon.metric(MESSAGES)?);
        self.store.put(peers)?;
        self.change(last, true)?;
        self.daemon.settle()?;
        column.renewal_cpu = self.daemon.cpu()?.saturating_sub(cpu);
        column.renewal_messages = self.daemon.metric(MESSAGES)? - messages;
        self.change(last, false).map(drop)
    }

    fn checks(&mut self, column: &mut Column) -> io::Result<()> {
        for _ in 0..self.case.effort.checks {
            column.check.push(self.daemon.check()?);
        }
        Ok(())
    }
}
