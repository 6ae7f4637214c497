//! A runtime killed in the middle of ADD and of DEL: what is left is removed by its own start, by whoever removes its pods,
//! and by our GC; and every address can be given again.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use ferrule_tests::cri;
use serde_json::json;

use super::pods::{self, CHAIN, NETWORK, Runtime};
use crate::machine::{Machine, wait_until};
use crate::report::Report;

/// How much later a kill is in each round of as many kills as there are plugins, and after how many that begins anew.
const ROUND: Duration = Duration::from_millis(2);
const ROUNDS: usize = 5;

pub(super) fn run(machine: &Machine, runtime: &mut impl Runtime, kills: usize, report: &mut Report) {
    if kills == 0 {
        return;
    }
    let mut victim = Victim { machine, runtime };
    check(report, &format!("killed {kills} times while it attaches, then GC"), |moments| {
        (0..kills).for_each(|number| victim.killed_in_add(number, moments));
    });
    check(report, &format!("killed {kills} times while it detaches, then GC"), |moments| {
        (0..kills).for_each(|number| victim.killed_in_del(number, moments));
    });
}

/// What only GC removes: `install_anew` takes from the runtime what it knows, and starts it.
pub(super) fn forgotten<R: Runtime>(
    machine: &Machine,
    runtime: &mut R,
    install_anew: impl Fn(&mut R),
    report: &mut Report,
) {
    let mut victim = Victim { machine, runtime };
    check(report, "killed while it attaches, and installed anew: GC", |moments| {
        // When the second plugin begins, the first has attached the pod.
        (1..CHAIN.len()).for_each(|number| victim.forgotten(number, &install_anew, moments));
    });
}

/// A check, with the moments of its kills.
fn check(report: &mut Report, name: &str, kill: impl FnOnce(&mut Moments)) {
    let mut moments = Moments::default();
    report.check(name, || {
        kill(&mut moments);
        Ok(())
    });
    report.note(&moments.to_string());
}

/// In the middle of which calls the kills were.
#[derive(Default)]
struct Moments {
    kills: BTreeMap<String, usize>,
    /// How many addresses were set free until the runtime had been started and its pods been removed.
    freed_by_runtime: usize,
    /// How many more our GC set free.
    freed_by_gc: usize,
}

impl std::fmt::Display for Moments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each: Vec<String> = self.kills.iter().map(|(moment, count)| format!("{moment} {count}")).collect();
        let (runtime, gc) = (self.freed_by_runtime, self.freed_by_gc);
        write!(f, "killed {}; the runtime set {runtime} addresses free, then our GC {gc}", each.join(", "))
    }
}

/// A runtime that is killed.
struct Victim<'a, R> {
    machine: &'a Machine,
    runtime: &'a mut R,
}

impl<R: Runtime> Victim<'_, R> {
    fn killed_in_add(&mut self, number: usize, moments: &mut Moments) {
        let first = self.machine.calls.count();
        let config = cri::config(&format!("victim-{number}"), Some(8090), &json!({}));
        let request = pods::begin(self.machine, self.runtime.cri(), "RunPodSandbox", &json!({"config": config}));
        self.kill_in(number, first, moments, request);
        let left = self.machine.reserved(NETWORK);
        self.runtime.start();
        self.runtime.cri().await_network();
        self.runtime.cri().remove_all_pods();
        self.remove_orphans();
        let then = self.machine.reserved(NETWORK);
        self.machine.collect_garbage(NETWORK);
        moments.freed_by_runtime += left - then;
        moments.freed_by_gc += then - self.machine.reserved(NETWORK);
        self.machine.assert_nothing_left(R::OWNED);
    }

    fn killed_in_del(&mut self, number: usize, moments: &mut Moments) {
        let config = cri::config(&format!("victim-{number}"), Some(8090), &json!({}));
        let pod = self.runtime.cri().sandbox(&config).unwrap_or_else(|e| panic!("RunPodSandbox: {e}"));
        let first = self.machine.calls.count();
        let request = pods::begin(self.machine, self.runtime.cri(), "StopPodSandbox", &json!({"pod_sandbox_id": pod}));
        self.kill_in(number, first, moments, request);
        self.runtime.start();
        self.runtime.cri().await_network();
        self.runtime.cri().stop(&pod);
        self.runtime.cri().remove(&pod);
        // Here is nothing for GC: whoever removes the pod has removed all.
        self.machine.assert_nothing_left(R::OWNED);
        self.machine.collect_garbage(NETWORK);
    }

    /// The runtime does not know the pod any more, so nobody sends DEL: the address and whatever else the plugins made are
    /// there until GC.
    fn forgotten(&mut self, number: usize, install_anew: impl Fn(&mut R), moments: &mut Moments) {
        let first = self.machine.calls.count();
        let config = cri::config(&format!("victim-{number}"), Some(8090), &json!({}));
        let request = pods::begin(self.machine, self.runtime.cri(), "RunPodSandbox", &json!({"config": config}));
        self.kill_in(number, first, moments, request);
        install_anew(self.runtime);
        self.runtime.cri().await_network();
        assert!(self.runtime.cri().pods().is_empty(), "the runtime remembers");
        self.remove_orphans();
        let reserved = self.machine.reserved(NETWORK);
        let ruleset = self.machine.node.host.sh("nft list ruleset");
        assert!(reserved > 0 && ruleset.contains(&format!("comment \"{NETWORK} ")), "nothing is lost: {ruleset}");
        // Also of containerd's own network for loopback.
        self.machine.collect_garbage("all");
        moments.freed_by_gc += reserved - self.machine.reserved(NETWORK);
        assert_eq!(self.machine.reserved(NETWORK), 0, "addresses reserved");
        self.machine.assert_nothing_left(R::OWNED);
    }

    /// Kills it in the middle: after another plugin of the network each time, and a little later each round. Then
    /// waits until no plugin runs.
    fn kill_in(&mut self, number: usize, first: usize, moments: &mut Moments, mut request: Child) {
        let calls = &self.machine.calls;
        let (round, reached) = (number / CHAIN.len(), number % CHAIN.len() + 1);
        // containerd calls loopback beside the others.
        let of_network = || calls.since(first).into_iter().filter(|call| call.plugin != "loopback");
        let deadline = Instant::now() + Duration::from_secs(60);
        while of_network().count() < reached {
            assert!(Instant::now() < deadline, "the runtime calls no plugin");
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(ROUND * u32::try_from(round % ROUNDS).expect("a small number"));
        self.runtime.kill();
        let made: Vec<_> = of_network().collect();
        let last = made.iter().rev().find(|call| call.exit.is_none()).or(made.last()).expect("a call");
        let moment = format!("{} {}", if last.exit.is_none() { "in" } else { "after" }, last.plugin);
        *moments.kills.entry(moment).or_default() += 1;
        request.wait().expect("grpcurl");
        wait_until("no plugin runs", || calls.running() == 0);
    }

    /// Namespaces of pods that the runtime does not know, since it was killed before it remembered them. Nobody but an
    /// operator removes them until the node is started again. The kernel takes their interfaces a little later; until then they
    /// are alive for GC.
    fn remove_orphans(&self) {
        let known: Vec<_> = self.runtime.cri().pods().iter().map(|pod| self.machine.calls.netns_of(pod)).collect();
        for entry in std::fs::read_dir("/run/netns").expect("namespaces").flatten() {
            if !known.contains(&entry.path()) && !known.contains(&Path::new("/var/run/netns").join(entry.file_name())) {
                libcni::netns::Netns::remove(entry.path()).expect("an orphan");
            }
        }
        let host = &self.machine.node.host;
        let ports = || {
            host.json("ip -j link show")
                .as_array()
                .map_or(0, |links| links.iter().filter(|link| link["master"].is_string()).count())
        };
        wait_until("nothing but known pods is on the bridge", || ports() <= known.len());
    }
}
