//! One machine with a daemon, and some hundred nodes that do not exist: what the fault tests break.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrule_tests::Process;
use ferrule_tests::peers::Peer;
use serde_json::{Value, json};

use crate::cluster::{Cluster, wait_until};
use crate::look::{Tunnels, others};
use crate::machine::Machine;

/// How many.
pub(crate) const PEERS: u32 = 200;

/// The ways in which peers are put into the kernel.
pub(crate) const PROGRAMMINGS: [&str; 2] = ["neighbours", "nexthops"];

/// The scene. Fields are dropped in this order.
pub(crate) struct Scene {
    pub(crate) daemon: Option<Process>,
    pub(crate) machine: Machine,
    pub(crate) cluster: Cluster,
    pub(crate) configuration: Value,
    /// Those that the kernel must have.
    pub(crate) peers: Vec<Peer>,
    /// What was on the machine before the daemon, some of it much like the daemon's own.
    others: BTreeSet<String>,
}

impl Scene {
    /// With a daemon that has reached all; `None`, with a printed SKIP, outside the sandbox.
    pub(crate) fn start(programming: &str) -> Option<Self> {
        Self::start_with(programming, &json!({}))
    }

    /// With more keys in the table `kernel`.
    pub(crate) fn start_with(programming: &str, kernel: &Value) -> Option<Self> {
        let mut scene = Self::prepare(programming, kernel)?;
        scene.run();
        scene.settle("start");
        Some(scene)
    }

    /// Before the daemon is started.
    pub(crate) fn prepare(programming: &str, kernel: &Value) -> Option<Self> {
        let cluster = Cluster::start()?;
        let machine = cluster.machine(1);
        let peers: Vec<Peer> = (0..PEERS).map(Peer::new).collect();
        peers.iter().for_each(|peer| peer.write(&cluster.nodes()).expect("a node's file"));
        let mut configuration = cluster.configuration(&network());
        configuration["kernel"] = kernel.clone();
        configuration["kernel"]["programming"] = json!(programming);
        configuration["masquerade"] = json!({});
        strangers(&machine);
        let others = others(&machine.place);
        Some(Self { daemon: None, machine, cluster, configuration, peers, others })
    }

    /// Starts the daemon, again if it has been stopped.
    pub(crate) fn run(&mut self) {
        self.daemon = Some(self.machine.overlayd(&self.configuration));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.daemon.take().expect("a running daemon").kill();
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        self.daemon.as_ref().expect("a running daemon").log()
    }

    /// Waits until the kernel has what it must have and nothing else, and the daemon says so, too; nothing of others may
    /// be touched. How long it took is printed.
    #[track_caller]
    pub(crate) fn settle(&self, after: &str) -> Duration {
        let expected = Tunnels::to(&self.peers);
        let took = wait_until(&format!("after {after} the kernel has what it should"), || {
            Tunnels::of(&self.machine.place) == expected
        });
        wait_until("the daemon finds no difference", || self.machine.agrees());
        assert_eq!(Tunnels::of(&self.machine.place), expected, "it stays so");
        self.assert_others_untouched();
        crate::tell(&format!("{after}: kernel = desired after {} ms", took.as_millis()));
        took
    }

    #[track_caller]
    pub(crate) fn assert_others_untouched(&self) {
        let now = others(&self.machine.place);
        assert_eq!(self.others.difference(&now).collect::<Vec<_>>(), [] as [&String; 0], "others' things are gone");
    }

    /// What was changed on purpose is not the daemon's work.
    pub(crate) fn look_at_others_again(&mut self) {
        self.others = others(&self.machine.place);
    }
}

/// The cluster's network; the machine's own subnet is none of those of the simulated nodes.
pub(crate) fn network() -> Value {
    json!({
        "Network": "10.0.0.0/8", "SubnetLen": 24, "SubnetMax": "10.127.255.0", "Backend": {"Type": "vxlan"},
    })
}

/// Things of others that look like the daemon's.
fn strangers(machine: &Machine) {
    for command in [
        "ip link add stranger up type veth peer name stranger-peer",
        "ip link set stranger-peer up",
        "ip address add 203.0.113.1/24 dev stranger",
        // A tunnel of somebody else, with another VNI.
        "ip link add vxlan7 up type vxlan id 7 dstport 4789 local 198.18.0.11 nolearning",
        "bridge fdb add 0a:58:00:00:00:01 dst 198.19.0.2 dev vxlan7 self permanent",
        "ip neigh add 10.200.0.0 lladdr 0a:58:00:00:00:01 dev vxlan7 nud permanent",
        "ip route add 172.16.0.0/24 via 203.0.113.7",
        "ip route add 172.16.1.0/24 via 203.0.113.8 proto static",
        "ip route add 10.200.1.0/24 dev vxlan7 table 100",
        "ip nexthop add id 4242 via 203.0.113.9 dev stranger",
        "ip route add 172.16.2.0/24 nhid 4242",
        "nft add table inet stranger",
        "nft add chain inet stranger forward { type filter hook forward priority 0 ; }",
    ] {
        machine.sh(command);
    }
    // What the kernel does later.
    ferrule_tests::eventually("link-local addresses in use", || {
        !machine.sh("ip -6 address show").contains("tentative")
    });
}

/// Numbers without a pattern that matters (xorshift64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).expect("a number")).expect("a number")
    }

    /// So many of these.
    pub(crate) fn some<T: Clone>(&mut self, count: usize, of: &[T]) -> Vec<T> {
        let mut left = of.to_vec();
        (0..count.min(of.len())).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}
