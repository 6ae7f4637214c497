//! One of those who are compared: a node of its own, and a way to attach containers to it.

use std::sync::{Barrier, Mutex};

use ferrule_tests::{Binaries, Container, Firewall, Network, Node};
use serde_json::Value;

use crate::floor::Floor;
use crate::sample::{Sample, timed};

/// Who attaches.
#[derive(Debug)]
enum Worker {
    Plugins(Network),
    Kernel(Floor),
}

/// A node and who attaches containers there.
///
/// Its containers stay until it is dropped, and it must not be dropped while something is measured: for each namespace
/// that ends, the kernel holds locks and waits for RCU long afterwards.
#[derive(Debug)]
pub(crate) struct Side {
    node: Node,
    worker: Worker,
    /// Those that stay, to be in the way.
    present: Vec<Container>,
}

/// ADD and DEL of one container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) add: Sample,
    pub(crate) del: Sample,
}

impl Side {
    /// A node whose containers are attached by `binaries`.
    pub(crate) fn of_plugins(conflist: &Value, firewall: Firewall, binaries: &Binaries) -> Self {
        let node = Node::start_with(firewall).expect("the sandbox and its firewall");
        let network = node.network_by(conflist.clone(), binaries).here();
        Self { node, worker: Worker::Plugins(network), present: Vec::new() }
    }

    /// A node whose containers are attached by this process.
    pub(crate) fn of_kernel(floor: Floor) -> Self {
        let node = Node::start().expect("the sandbox");
        floor.prepare(&node.host).expect("floor");
        Self { node, worker: Worker::Kernel(floor), present: Vec::new() }
    }

    fn add(&self, container: &Container) {
        match &self.worker {
            Worker::Plugins(network) => drop(network.add(container).expect("ADD")),
            Worker::Kernel(floor) => floor.add(container).expect("floor ADD"),
        }
    }

    fn del(&self, container: &Container) {
        match &self.worker {
            Worker::Plugins(network) => network.del(container).expect("DEL"),
            Worker::Kernel(floor) => floor.del(container).expect("floor DEL"),
        }
    }

    /// A container that publishes a port of its own.
    fn container(&self, number: usize) -> Container {
        let port = u16::try_from(20_000 + number).expect("a port");
        self.node.container("pod").publish("tcp", port, 80)
    }

    /// Attaches and detaches one container.
    pub(crate) fn round(&self) -> Round {
        let container = self.container(40_000);
        self.node.host.run(|| {
            let ((), add) = timed(|| self.add(&container));
            let ((), del) = timed(|| self.del(&container));
            Round { add, del }
        })
    }

    /// Attaches `count` containers at once, then detaches them at once; the time from the first start to the last
    /// end. Each must succeed.
    pub(crate) fn at_once(&self, count: usize) -> Round {
        let containers: Vec<Container> = (0..count).map(|number| self.container(30_000 + number)).collect();
        let all = |verb: fn(&Self, &Container)| {
            let (start, samples) = (Barrier::new(count + 1), Mutex::new(Sample::default()));
            self.node.host.run(|| {
                std::thread::scope(|scope| {
                    let workers: Vec<_> = containers
                        .iter()
                        .map(|container| {
                            let start = &start;
                            scope.spawn(move || {
                                start.wait();
                                verb(self, container);
                            })
                        })
                        .collect();
                    let ((), sample) = timed(|| {
                        start.wait();
                        for worker in workers {
                            worker.join().expect("all of them succeed");
                        }
                    });
                    *samples.lock().expect("sample") = sample;
                });
            });
            samples.into_inner().expect("sample")
        };
        Round { add: all(Self::add), del: all(Self::del) }
    }

    /// Attaches containers until `count` are present.
    pub(crate) fn populate(&mut self, count: usize) {
        let new: Vec<Container> = (self.present.len()..count).map(|number| self.container(number)).collect();
        // A few at once: nothing is measured here.
        for some in new.chunks(8) {
            self.node.host.run(|| {
                std::thread::scope(|scope| {
                    for container in some {
                        scope.spawn(|| self.add(container));
                    }
                });
            });
        }
        self.present.extend(new);
    }

    /// The largest peak of memory of any process of an ADD, in KiB: of the plugins and of what they start.
    pub(crate) fn peak_memory(&self) -> u64 {
        let file = self.node.dir().join("peak");
        let wrapper = ["busybox", "time", "-a", "-f", "%M", "-o", file.to_str().expect("UTF-8")];
        self.add_under(&wrapper);
        let text = std::fs::read_to_string(&file).expect("peak memory");
        // busybox takes ru_maxrss, which is in KiB, for pages.
        text.lines().filter_map(|line| line.parse::<u64>().ok()).max().expect("a number") / 4
    }

    /// The processes that an ADD starts: its calls of execve that succeed.
    pub(crate) fn processes(&self) -> usize {
        let file = self.node.dir().join("trace");
        let trace = file.to_str().expect("UTF-8");
        self.add_under(&["strace", "-f", "-qq", "-A", "-e", "trace=execve", "-e", "signal=none", "-o", trace]);
        let text = std::fs::read_to_string(&file).expect("trace");
        text.lines().filter(|line| line.contains("execve(") && line.ends_with("= 0")).count()
    }

    fn add_under(&self, wrapper: &[&str]) {
        let Worker::Plugins(network) = &self.worker else { return };
        let container = self.container(40_001);
        self.node.host.run(|| {
            network.wrapped_in(wrapper).add(&container).expect("ADD");
            network.del(&container).expect("DEL");
        });
    }
}
