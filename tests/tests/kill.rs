//! SIGKILL at random points of ADD and DEL: a DEL afterwards succeeds and takes everything, GC takes what no DEL comes
//! for, and no address is lost. The pool is so small that a few lost addresses would end the test.
#![expect(clippy::expect_used, reason = "a test")]

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use ferrule_tests::{Container, Firewall, Network, Node, fixture};
use libcni::child::wait_until;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A small pool: .2 to .6 and the gateway.
const SUBNET: &str = "10.88.0.0/29";
const POOL: usize = 5;
/// No plugin takes that long.
const UNDISTURBED: Duration = Duration::from_secs(60);

/// Numbers without a pattern that matters (xorshift64); the seed is printed where it matters, in a failure.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// A network whose plugins may be killed.
struct Killer {
    network: Network,
    random: Random,
    /// How long each plugin took for each verb when it was left alone last.
    durations: HashMap<(&'static str, usize), Duration>,
    killed: usize,
}

impl Killer {
    /// Runs `verb` of the plugin at `index`, and kills it and what it started at a random moment of the time that it
    /// usually takes. Its reply, unless it was killed.
    fn run(
        &mut self,
        node: &Node,
        verb: &'static str,
        index: usize,
        container: &Container,
        prev: &Value,
    ) -> Option<Value> {
        let moment = self.moment(verb, index);
        let started = Instant::now();
        let mut child = self.network.invocation(verb, index, Some(container), prev).in_own_group().start(&node.host);
        let ended = wait_until(&mut child, started + moment).expect("a child");
        if ended.is_none() {
            // Not reaped, so the group is still its own.
            let group = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
            killpg(group, Signal::SIGKILL).expect("kill");
        } else if moment == UNDISTURBED {
            self.durations.insert((verb, index), started.elapsed());
        }
        let output = child.wait_with_output().expect("output");
        if ended.is_none() && output.status.signal().is_some() {
            self.killed += 1;
            return None;
        }
        Some(ferrule_tests::Output::from(output).reply().expect(verb))
    }

    /// When it is to be killed, after its start. Now and then it is left alone, since the machine may be slower or faster than
    /// a while ago.
    fn moment(&mut self, verb: &'static str, index: usize) -> Duration {
        match self.durations.get(&(verb, index)).copied() {
            Some(usual) if self.random.below(16) > 0 => {
                let micros = u64::try_from(usual.as_micros()).expect("a short time");
                Duration::from_micros(self.random.below(micros * 5 / 4))
            }
            _ => UNDISTURBED,
        }
    }

    /// ADD of the chain until a plugin is killed. Whether all of it was done.
    fn add(&mut self, node: &Node, container: &Container) -> bool {
        let mut result = Value::Null;
        for index in 0..self.network.plugins().len() {
            match self.run(node, "ADD", index, container, &result) {
                Some(reply) => result = reply,
                None => return false,
            }
        }
        self.network.remember(container, Some(result));
        true
    }

    /// DEL of the chain until a plugin is killed.
    fn del(&mut self, node: &Node, container: &Container) {
        let result = self.network.result(container);
        for index in (0..self.network.plugins().len()).rev() {
            if self.run(node, "DEL", index, container, &result).is_none() {
                return;
            }
        }
    }
}

fn killed_at_random_points(mut conflist: Value, firewall: Firewall, kills: usize, seed: u64) {
    // The guest of scripts/full-kernel has one CPU, and starts a process in 40 ms.
    let kills = if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) { kills } else { kills / 20 };
    let Some(node) = Node::start_with(firewall) else { return };
    *conflist.pointer_mut("/cniVersion").expect("a version") = json!("1.1.0");
    *conflist.pointer_mut("/plugins/0/ipam/ranges").expect("ranges") = json!([[{ "subnet": SUBNET }]]);
    let network = node.network(conflist);
    let before = node.snapshot();
    let mut killer = Killer { network, random: Random(seed), durations: HashMap::new(), killed: 0 };
    // The first pass measures and makes the infrastructure.
    let first = node.container("first").publish("tcp", 8080, 80);
    assert!(killer.add(&node, &first));
    killer.del(&node, &first);

    let mut rounds = 0;
    while killer.killed < kills {
        rounds += 1;
        assert!(rounds < kills * 20, "too few of the kills come in time: {} of {rounds}", killer.killed);
        let container = node.container("victim").publish("tcp", 8080, 80);
        if killer.add(&node, &container) {
            killer.del(&node, &container);
        }
        if killer.random.below(8) == 0 {
            // The runtime forgets it: the namespace ends, and no DEL comes.
            node.kill(&container);
            killer.network.gc(&[]).expect("GC");
        } else {
            killer.network.del(&container).expect("DEL after the kill");
            node.kill(&container);
        }
        if rounds % 10 == 0 {
            let left = node.left_since(&before, &[&container]);
            assert!(left.is_empty(), "after {rounds} rounds, {} kills (seed {seed}): {left:#?}", killer.killed);
        }
    }
    killer.network.gc(&[]).expect("GC");
    node.assert_nothing_left(&before, &[]);
    no_address_is_lost(&node, &killer.network);
    node.assert_nothing_left(&before, &[]);
}

/// Each address of the pool can be given out once more.
fn no_address_is_lost(node: &Node, network: &Network) {
    let all: Vec<Container> = (0..POOL).map(|_| node.container("pod")).collect();
    for container in &all {
        network.add(container).expect("ADD: an address is lost");
    }
    for container in &all {
        network.del(container).expect("DEL");
    }
}

fn chain() -> Value {
    fixture("bridge-portmap.conflist")
}

/// With a policy, `firewall` makes most of what it can.
fn with_firewall() -> Value {
    let mut conflist = chain();
    let plugins = conflist.pointer_mut("/plugins").and_then(Value::as_array_mut).expect("plugins");
    plugins.push(json!({"type": "firewall", "ingressPolicy": "isolated"}));
    conflist
}

#[test]
fn five_hundred_kills_with_nftables() {
    killed_at_random_points(chain(), Firewall::Nftables, 500, 0x5eed_0001);
}

#[test]
fn a_hundred_kills_with_iptables() {
    killed_at_random_points(chain(), Firewall::IptablesNft, 100, 0x5eed_0002);
}

#[test]
fn two_hundred_kills_of_firewall_with_nftables() {
    killed_at_random_points(with_firewall(), Firewall::Nftables, 200, 0x5eed_0003);
}

#[test]
fn fifty_kills_of_firewall_with_iptables() {
    killed_at_random_points(with_firewall(), Firewall::IptablesNft, 50, 0x5eed_0004);
}

#[test]
fn two_hundred_kills_of_the_long_chain_with_nftables() {
    killed_at_random_points(fixture("long.conflist"), Firewall::Nftables, 200, 0x5eed_0005);
}

#[test]
fn a_hundred_kills_of_the_long_chain_with_iptables() {
    killed_at_random_points(fixture("long.conflist"), Firewall::IptablesNft, 100, 0x5eed_0006);
}
