//! The plugins of a node are replaced under living pods, while others come and go: the Go plugins by ours, and back.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ferrule_tests::containerd::{Containerd, OWNED, Release};
use ferrule_tests::cri::{self, Cri, Pod};
use ferrule_tests::http::page_within;
use ferrule_tests::{Binaries, image, script};
use serde_json::json;

use super::pods::{self, CONFLIST, NETWORK, NETWORK_LIST};
use crate::machine::{Machine, wait_until};
use crate::options::Options;
use crate::report::{Outcome, Report};

/// How many pods come and go all the time, and how often each does before and after the plugins are replaced.
const VISITORS: u16 = 3;
const VISITS: usize = 2;
/// How long a page of a living pod may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(machine: &Machine, options: &Options, report: &mut Report) {
    let mut containerd = Containerd::new(&Release::V1_6, &machine.node.host, &machine.dir, &options.tools);
    let (ours, go) = (Binaries::at(&options.bin), Binaries::reference().expect("the Go plugins"));
    let node = Node { machine, ours, go };
    if !report.check("containerd starts with the Go plugins", || {
        node.begin_with_go_plugins();
        containerd.start();
        containerd.import(&image::make(&machine.dir));
        machine.network(CONFLIST, Some(NETWORK_LIST));
        containerd.cri.await_network();
        Ok(())
    }) {
        return;
    }
    let cri = &containerd.cri;
    report.check("ours are installed over the Go plugins, pods living", || node.replaced_by(cri, &node.ours));
    report.check("nothing is left of either", || {
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
    report.check("the Go plugins are installed over ours, pods living", || node.replaced_by(cri, &node.go));
    let left = machine.left(&OWNED);
    report.check("what they cannot know of, our GC removes", || {
        // Elements of our tables, and host-local's index of who has which address.
        let is_ours = |line: &&String| line.contains("ferrule_") || line.contains("/.owners/");
        let others: Vec<&String> = left.iter().filter(|line| !is_ours(line)).collect();
        assert!(others.is_empty(), "{others:#?}");
        node.collect_garbage();
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
    report.note(&format!("left until then: {} elements of our tables and entries of our indexes", left.len()));
}

/// A machine whose plugins are exchanged.
struct Node<'a> {
    machine: &'a Machine,
    ours: Binaries,
    go: Binaries,
}

impl Node<'_> {
    /// The directory of plugins becomes one of its own, with the Go plugins.
    fn begin_with_go_plugins(&self) {
        std::fs::remove_file(self.machine.plugins()).expect("the plugins");
        self.install(&self.go);
    }

    /// As operators do it.
    fn install(&self, plugins: &Binaries) {
        let mut command = Command::new(script("install"));
        command.arg("--from").arg(plugins.dir()).arg(self.machine.plugins());
        self.machine.run(command, "").unwrap_or_else(|e| panic!("scripts/install: {e}"));
    }

    /// By our cnitool and plugins, which may not be those of the node.
    fn collect_garbage(&self) {
        let dir = self.ours.dir();
        self.machine.cnitool_of(dir, dir, &["gc", "--networks", NETWORK]);
    }

    /// Pods of the plugins that are there, then `others`: whoever lives is reached all the time, whoever comes and goes does so
    /// without an error, and a pod of each kind reaches the other, also after our GC. In the end all are removed.
    fn replaced_by(&self, cri: &Cri, others: &Binaries) -> Outcome {
        let first = self.machine.calls.count();
        let limits = json!({"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "10M"});
        let elder = cri.pod(cri::config("elder", Some(8080), &limits));
        let pages = self.while_visited(cri, &elder, || self.install(others));
        assert!(pages > 0, "nobody asked for a page");
        let younger = cri.pod(cri::config("younger", Some(8081), &limits));
        self.collect_garbage();
        pods::reach(&elder, &younger, false)?;
        pods::reach(&elder, &younger, true)?;
        pods::host_port(self.machine, &elder, &younger, false)?;
        for pod in [&elder, &younger] {
            cri.stop(&pod.id);
            cri.remove(&pod.id);
        }
        let calls = self.machine.calls.since(first);
        let failed: Vec<_> = calls.iter().filter(|call| !call.succeeded()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        Ok(())
    }

    /// Replaces the plugins while pods come and go, and `elder` is asked for its page, which it always gives; how often.
    fn while_visited(&self, cri: &Cri, elder: &Pod, replace: impl FnOnce()) -> usize {
        let (done, pages) = (AtomicBool::new(false), AtomicUsize::new(0));
        let visits: Vec<AtomicUsize> = (0..VISITORS).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            // Whatever goes wrong here, the threads end.
            let _end = Finally(&done);
            for (visitor, visits) in (0..VISITORS).zip(&visits) {
                scope.spawn({
                    let done = &done;
                    move || {
                        let _end = Finally(done);
                        while !done.load(Ordering::Relaxed) {
                            let visit = visits.load(Ordering::Relaxed);
                            let config =
                                cri::config(&format!("visitor-{visitor}-{visit}"), Some(8090 + visitor), &json!({}));
                            let pod = cri.sandbox(&config).unwrap_or_else(|e| panic!("RunPodSandbox: {e}"));
                            cri.stop(&pod);
                            cri.remove(&pod);
                            visits.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            scope.spawn(|| {
                let (outside, address) = (&self.machine.node.outside, self.machine.node.address());
                let _end = Finally(&done);
                while !done.load(Ordering::Relaxed) {
                    let page = page_within(PATIENCE, outside, address, elder.host_port());
                    assert_eq!(page.unwrap_or_else(|e| panic!("no page of {}: {e}", elder.name)), elder.name);
                    pages.fetch_add(1, Ordering::Relaxed);
                }
            });
            let visited = |least: usize| {
                done.load(Ordering::Relaxed) || visits.iter().all(|visits| visits.load(Ordering::Relaxed) >= least)
            };
            wait_until("pods come and go", || visited(VISITS));
            replace();
            let so_far = visits.iter().map(|visits| visits.load(Ordering::Relaxed)).max().unwrap_or_default();
            wait_until("pods come and go after it", || visited(so_far + VISITS));
        });
        pages.into_inner()
    }
}

/// Ends what waits for it, also when a thread panics.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
