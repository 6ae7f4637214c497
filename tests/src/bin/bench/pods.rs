//! Pods, as a node's kubelet has them made and removed: through containerd, each time with other plugins in its directory.
//!
//! Times are containerd's own, from its metrics: of the whole request, and of the CNI calls in it. No client is in them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferrule_tests::containerd::{Containerd, METRICS, Release};
use ferrule_tests::{Binaries, Firewall, Node, cri, fixture, http, image};
use libcni::store::write_by_rename;
use serde_json::json;

use crate::report::{Report, Subject};
use crate::sample::Sample;
use crate::{WARM_UP, announce};

/// Where containerd looks for plugins, and for networks.
const PLUGINS: &str = "/opt/cni/bin";
const NETWORK: &str = "/etc/cni/net.d/10-pods.conflist";
/// The list of the chain that is measured without containerd, too.
const LIST: &str = "bridge-portmap.conflist";
/// A port of the node that leads to the pod.
const PORT: u16 = 20_000;

/// How a pod gets its network.
struct Way {
    /// The plugins' directory; `None`: the pod has the node's network.
    plugins: Option<PathBuf>,
    firewall: Firewall,
}

/// What containerd did for a request.
#[derive(Clone, Copy)]
struct Work {
    /// All.
    request: f64,
    /// CNI calls.
    network: f64,
}

/// Of the metrics, what counts.
struct Requests {
    methods: &'static [&'static str],
    operation: &'static str,
}

const START: Requests = Requests { methods: &["RunPodSandbox"], operation: "set_up_pod" };
const STOP: Requests = Requests { methods: &["StopPodSandbox", "RemovePodSandbox"], operation: "tear_down_pod" };

/// Adds four rows: start and stop of a pod, and the CNI calls in them; four more for the Go plugins with iptables. The floor
/// is a pod without a network of its own.
pub(crate) fn measure([ours, reference]: &[Binaries; 2], tools: &Path, rounds: usize, report: &mut Report) {
    announce("pods through containerd");
    let bed = Bed::start(tools);
    let way = |binaries: &Binaries, firewall| Way {
        plugins: Some(std::fs::canonicalize(binaries.dir()).expect("the plugins")),
        firewall,
    };
    let ways = [
        way(ours, Firewall::Nftables),
        way(reference, Firewall::Nftables),
        way(reference, Firewall::IptablesNft),
        Way { plugins: None, firewall: Firewall::Nftables },
    ];
    let mut works: [Vec<[Work; 2]>; 4] = Default::default();
    for number in 0..rounds + WARM_UP {
        for (way, works) in ways.iter().zip(&mut works) {
            let work = bed.pod(way);
            if number >= WARM_UP {
                works.push(work);
            }
        }
    }
    let [ours, nftables, iptables, floor] = works;
    for (backend, reference) in [("nftables", nftables), ("nftables, ref iptables-nft", iptables)] {
        let sides = [&ours, &reference, &floor];
        for (index, verb, name) in [(0, "ADD", "RunPodSandbox"), (1, "DEL", "StopPodSandbox, RemovePodSandbox")] {
            add_row(report, (name, backend, verb), sides.map(|works| samples(works, index, |work| work.request)));
            let [ours, reference, _] = sides.map(|works| samples(works, index, |work| work.network));
            add_row(report, (&format!("{name}: CNI calls"), backend, verb), [ours, reference, Vec::new()]);
        }
    }
}

fn add_row(report: &mut Report, (name, backend, verb): (&str, &str, &'static str), samples: [Vec<Sample>; 3]) {
    let subject = Subject { work: &format!("pod: {name}"), backend, present: 0 };
    report.add(subject, verb, samples.each_ref().map(Vec::as_slice));
}

fn samples(works: &[[Work; 2]], index: usize, of: fn(&Work) -> f64) -> Vec<Sample> {
    let work = works.iter().filter_map(|works| works.get(index));
    work.map(|work| Sample { wall: Duration::from_secs_f64(of(work)), cpu: None }).collect()
}

/// A node with containerd.
struct Bed {
    // Ends before the directory that it is in.
    containerd: Containerd,
    node: Node,
}

impl Bed {
    fn start(tools: &Path) -> Self {
        let node = Node::start().expect("the sandbox");
        let networks = Path::new(NETWORK).parent().expect("a directory");
        std::fs::create_dir_all(networks).expect("a directory of networks");
        let containerd = Containerd::new(&Release::V2, &node.host, node.dir(), tools).with_path(node.program_path());
        let mut bed = Self { containerd, node };
        bed.containerd.start();
        bed.containerd.import(&image::make(bed.node.dir()));
        bed
    }

    /// A pod that comes and goes.
    fn pod(&self, way: &Way) -> [Work; 2] {
        self.switch(way);
        let config = match way.plugins {
            Some(_) => cri::config("pod", Some(PORT), &json!({})),
            None => cri::config_on_node("pod"),
        };
        let cri = &self.containerd.cri;
        let before = self.metrics();
        let pod = cri.sandbox(&config).unwrap_or_else(|e| panic!("RunPodSandbox: {e}"));
        let started = self.metrics();
        assert_eq!(cri.addresses(&pod).is_empty(), way.plugins.is_none(), "a network of its own");
        cri.stop(&pod);
        cri.remove(&pod);
        [START.between(&before, &started), STOP.between(&started, &self.metrics())]
    }

    /// Puts other plugins in the place of those that are there, at once.
    fn switch(&self, way: &Way) {
        let Some(plugins) = &way.plugins else { return };
        let link = Path::new(PLUGINS);
        let new = link.with_extension("new");
        symlink(plugins, &new).and_then(|()| std::fs::rename(&new, link)).expect("the plugins' directory");
        write_list(way.firewall);
        self.containerd.await_list(&format!("\\\"ipMasqBackend\\\":\\\"{}\\\"", way.firewall.setting()));
    }

    fn metrics(&self) -> String {
        let (address, path) = METRICS;
        http::page_at(&self.node.host, address, path).expect("containerd's metrics")
    }
}

fn write_list(firewall: Firewall) {
    let list = firewall.configure(fixture(LIST));
    write_by_rename(Path::new(NETWORK), list.to_string().as_bytes(), 0o644).expect("a network");
}

impl Requests {
    fn between(&self, before: &str, after: &str) -> Work {
        let passed = |name: &str, label: &str| sum(after, name, label) - sum(before, name, label);
        let method = |method| passed("grpc_server_handling_seconds_sum", &format!("grpc_method=\"{method}\""));
        let request = self.methods.iter().map(method).sum();
        let operation = format!("operation_type=\"{}\"", self.operation);
        let network = passed("containerd_cri_network_plugin_operations_duration_seconds_seconds_sum", &operation);
        Work { request, network }
    }
}

/// The value of a metric with this label, in seconds.
fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
