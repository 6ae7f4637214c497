//! What is the same with every runtime that kubelet can drive: pods through CRI on one network.

use std::net::IpAddr;
use std::process::{Child, Stdio};

use ferrule_tests::cri::{self, Cri, Pod};
use serde_json::{Value, json};

use crate::machine::{Machine, assert_serves};
use crate::report::Outcome;

/// The network: its file, its name, its configuration.
pub(super) const CONFLIST: &str = "10-pods.conflist";
pub(super) const NETWORK: &str = "pods";
pub(super) const NETWORK_LIST: &str = include_str!("../../../../fixtures/clients/pods.conflist");
/// The plugins of the network, in their order.
pub(super) const CHAIN: [&str; 4] = ["bridge", "portmap", "firewall", "bandwidth"];
/// What a pod may receive, in bits per second, and as an annotation of Kubernetes.
const RATE: (u64, &str) = (10_000_000, "10M");

/// A daemon that makes pods.
pub(super) trait Runtime {
    /// Where it keeps what is its own.
    const OWNED: &'static [&'static str];

    fn cri(&self) -> &Cri;
    /// Starts it, and waits until it answers.
    fn start(&mut self);
    /// SIGKILL.
    fn kill(&mut self);
}

/// Two pods with servers: `a` on port 8080 of the node, its bandwidth limited; `b` on port 8081.
#[track_caller]
pub(super) fn two(cri: &Cri) -> [Pod; 2] {
    let rates = json!({"kubernetes.io/ingress-bandwidth": RATE.1, "kubernetes.io/egress-bandwidth": RATE.1});
    let pods = [cri.pod(cri::config("a", Some(8080), &rates)), cri.pod(cri::config("b", Some(8081), &json!({})))];
    for pod in &pods {
        assert_eq!(pod.ips.len(), 2, "{}: {:?}", pod.name, pod.ips);
    }
    pods
}

/// Each reaches the other's server.
pub(super) fn reach(a: &Pod, b: &Pod, v6: bool) -> Outcome {
    for (from, to) in [(a, b), (b, a)] {
        let address = to.address(v6);
        assert!(from.place.ping(address), "{} does not reach {address}", from.name);
        assert_serves(&from.place, address, 80, &to.name);
    }
    Ok(())
}

/// Who comes to a port of the node gets to the pod: from outside, from another pod and, by IPv4, from the node.
pub(super) fn host_port(machine: &Machine, a: &Pod, b: &Pod, v6: bool) -> Outcome {
    let node = &machine.node;
    let address = node_address(machine, v6);
    for (place, pod) in [(&node.outside, a), (&b.place, a), (&node.outside, b), (&a.place, b)] {
        assert_serves(place, address, pod.host_port(), &pod.name);
    }
    if !v6 {
        assert_serves(&node.host, address, a.host_port(), &a.name);
    }
    Ok(())
}

/// So does the pod itself.
pub(super) fn hairpin(machine: &Machine, pod: &Pod) -> Outcome {
    for v6 in [false, true] {
        assert_serves(&pod.place, node_address(machine, v6), pod.host_port(), &pod.name);
    }
    Ok(())
}

fn node_address(machine: &Machine, v6: bool) -> IpAddr {
    if v6 { machine.node.address_v6() } else { machine.node.address() }
}

/// The queueing discipline on the pod's interface of the host, and of the pair by which it is limited in the other
/// direction.
pub(super) fn limited(machine: &Machine, pod: &Pod) -> Outcome {
    let qdiscs = machine.node.host.json("tc -j qdisc show");
    let rates: Vec<&Value> = qdiscs
        .as_array()
        .into_iter()
        .flatten()
        .filter(|qdisc| qdisc["kind"] == "tbf")
        .map(|qdisc| &qdisc["options"]["rate"])
        .collect();
    // tc says it in bytes per second.
    let expected = json!(RATE.0 / 8);
    assert_eq!(rates, [&expected, &expected], "of {}: {qdiscs}", pod.name);
    Ok(())
}

/// Sends a request without waiting for the answer.
pub(super) fn begin(machine: &Machine, cri: &Cri, method: &str, request: &Value) -> Child {
    let mut command = cri.command("RuntimeService", method);
    let input = machine.write("request.json", &request.to_string());
    command.stdin(std::fs::File::open(input).expect("the request")).stdout(Stdio::null()).stderr(Stdio::null());
    machine.node.host.run(|| command.spawn()).expect("grpcurl")
}
