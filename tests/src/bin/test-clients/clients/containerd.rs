//! containerd: pods through CRI as kubelet makes them, `ctr run --cni`, restarts and crashes.

mod crash;

use std::net::{IpAddr, Ipv4Addr};

use ferrule_tests::containerd::{Containerd, OWNED, Release};
use ferrule_tests::cri::{self, Pod};
use ferrule_tests::image::{self, IMAGE};
use serde_json::{Value, json};

use crate::calls::Call;
use crate::machine::{Machine, assert_serves, wait_until};
use crate::options::Options;
use crate::report::{Outcome, Report};

/// The name of its configuration of the network, and of the network in it.
const CONFLIST: &str = "10-pods.conflist";
const NETWORK: &str = "pods";
/// The plugins of the network, in their order.
const CHAIN: [&str; 4] = ["bridge", "portmap", "firewall", "bandwidth"];
/// What a pod may receive, in bits per second, and as an annotation of Kubernetes.
const RATE: (u64, &str) = (10_000_000, "10M");

/// What the checks work on.
struct Client<'a> {
    machine: &'a Machine,
    containerd: Containerd,
}

pub(super) fn run_1_6(machine: &Machine, options: &Options, report: &mut Report) {
    run(&Release::V1_6, machine, options, report);
}

pub(super) fn run_2(machine: &Machine, options: &Options, report: &mut Report) {
    run(&Release::V2, machine, options, report);
}

fn run(release: &'static Release, machine: &Machine, options: &Options, report: &mut Report) {
    let containerd = Containerd::new(release, &machine.node.host, &machine.dir, &options.tools);
    let mut client = Client { machine, containerd };
    if !report.check("starts, without a network", || client.starts()) {
        return;
    }
    report.check("a broken configuration is told, a mended one works", || client.configuration());
    let Some([a, b]) = report.value("two pods, with addresses of both families", || client.two_pods()) else {
        return;
    };
    report.check("each call is as containerd makes it", || client.calls_of(&a));
    report.check("ping and HTTP between the pods, IPv4", || reaches(&a, &b, false));
    report.check("ping and HTTP between the pods, IPv6", || reaches(&a, &b, true));
    report.check("host port: from outside, node, pods, hairpin", || client.host_port(&a, &b, false));
    report.check("host port, IPv6: from outside, pods, hairpin", || client.host_port(&a, &b, true));
    report.check("host port from 127.0.0.1", || {
        assert_serves(&machine.node.host, Ipv4Addr::LOCALHOST.into(), a.host_port(), &a.name);
        Ok(())
    });
    report.check("bandwidth annotations limit the pod", || client.bandwidth(&a));
    report.check("containerd is stopped and started: the pods live", || client.restart(&a, &b));
    report.check("stop and remove: DEL twice, then without namespace", || client.removal(&[&a, &b]));
    report.check("ctr run --cni", || client.ctr());
    report.check("nothing is left", || {
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
    crash::run(&mut client, options.kills, report);
    report.check("in the end nothing is left", || {
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
}

impl Client<'_> {
    fn ctr(&self) -> Outcome {
        let first = self.machine.calls.count();
        let gateway = "10.88.0.1";
        // Shares of the CPU need a controller that may be missing.
        let run = ["run", "--rm", "--cni", "--snapshotter", "native", "--cpu-shares", "0", IMAGE, "by-ctr"];
        let output = self.containerd.ctr(&[&run[..], &["/bin/busybox", "ping", "-c1", gateway]].concat());
        assert!(output.contains("1 packets received"), "{output}");
        let calls = self.machine.calls.since(first);
        let count = |verb: &str, plugin: &str| {
            calls.iter().filter(|call| call.verb() == verb && call.plugin == plugin && call.succeeded()).count()
        };
        assert_eq!((count("ADD", "bridge"), count("DEL", "bridge")), (1, 1), "{}", told(&calls));
        Ok(())
    }

    /// Without any network, as on a node that has just been made.
    fn starts(&mut self) -> Outcome {
        let image = image::make(&self.machine.dir);
        self.containerd.start();
        self.containerd.import(&image);
        assert!(!self.containerd.is_network_ready(), "ready without a network");
        Ok(())
    }

    fn configuration(&self) -> Outcome {
        self.machine.network(CONFLIST, Some(r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": ["#));
        let broken =
            self.containerd.cri.sandbox(&cri::config("early", None, &json!({}))).expect_err("a pod without a network");
        assert!(broken.contains("cni"), "{broken}");
        assert!(!self.containerd.is_network_ready(), "ready with a broken network");
        self.machine.network(CONFLIST, Some(include_str!("../../../../fixtures/clients/containerd.conflist")));
        wait_until("the network is ready", || self.containerd.is_network_ready());
        self.machine.network(CONFLIST, Some("{"));
        wait_until("a network that breaks is not ready", || !self.containerd.is_network_ready());
        self.machine.network(CONFLIST, Some(include_str!("../../../../fixtures/clients/containerd.conflist")));
        wait_until("the network is ready again", || self.containerd.is_network_ready());
        // Now the pod that failed, of which DEL failed, too, can be removed.
        self.containerd.remove_all_pods();
        Ok(())
    }

    fn two_pods(&self) -> Result<[Pod; 2], crate::report::Skip> {
        let rates = json!({"kubernetes.io/ingress-bandwidth": RATE.1, "kubernetes.io/egress-bandwidth": RATE.1});
        let a = self.containerd.cri.pod(cri::config("a", Some(8080), &rates));
        let b = self.containerd.cri.pod(cri::config("b", Some(8081), &json!({})));
        for pod in [&a, &b] {
            assert_eq!(pod.ips.len(), 2, "{}: {:?}", pod.name, pod.ips);
        }
        Ok([a, b])
    }

    /// Keys in Go's case, versions, and loopback first.
    fn calls_of(&self, pod: &Pod) -> Outcome {
        let adds = self.machine.calls.of("ADD", &pod.id);
        let order: Vec<&str> = adds.iter().map(|call| call.plugin.as_str()).collect();
        // containerd does loopback beside the network.
        let chain: Vec<&str> = order.iter().filter(|plugin| **plugin != "loopback").copied().collect();
        assert_eq!(chain, CHAIN, "{}", told(&adds));
        assert!(order.contains(&"loopback") && adds.iter().all(Call::succeeded), "{}", told(&adds));
        let portmap = &adds.iter().find(|call| call.plugin == "portmap").expect("portmap").stdin;
        assert_eq!(portmap["cniVersion"], self.containerd.release.cni_version);
        let ports = &portmap["runtimeConfig"]["portMappings"];
        assert_eq!(ports[0]["HostPort"], 8080, "{ports}");
        Ok(())
    }

    fn host_port(&self, a: &Pod, b: &Pod, v6: bool) -> Outcome {
        let node = &self.machine.node;
        let address = if v6 { node.address_v6() } else { node.address() };
        for (place, pod) in [(&node.outside, a), (&b.place, a), (&a.place, a), (&node.outside, b), (&a.place, b)] {
            assert_serves(place, address, pod.host_port(), &pod.name);
        }
        if !v6 {
            assert_serves(&node.host, address, a.host_port(), &a.name);
        }
        Ok(())
    }

    /// The queueing discipline on the pod's interface of the host, and of the pair by which it is limited in the other
    /// direction.
    fn bandwidth(&self, pod: &Pod) -> Outcome {
        let host = &self.machine.node.host;
        let qdiscs = host.json("tc -j qdisc show");
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

    fn restart(&mut self, a: &Pod, b: &Pod) -> Outcome {
        let first = self.machine.calls.count();
        self.containerd.stop();
        assert_serves(&b.place, a.address(false), 80, &a.name);
        self.containerd.start();
        self.containerd.await_network();
        for pod in [a, b] {
            assert!(self.containerd.cri.is_ready(&pod.id), "{} after the restart", pod.name);
            assert_eq!(self.containerd.cri.addresses(&pod.id), pod.ips);
        }
        assert_serves(&a.place, b.address(false), 80, &b.name);
        assert_serves(&self.machine.node.outside, self.machine.node.address(), a.host_port(), &a.name);
        let calls = self.machine.calls.since(first);
        assert!(calls.iter().all(|call| call.verb() != "DEL"), "{}", told(&calls));
        let c = self.containerd.cri.pod(cri::config("c", None, &json!({})));
        assert!(![a, b].iter().any(|pod| pod.ips.iter().any(|ip| c.ips.contains(ip))), "{:?}", c.ips);
        self.containerd.cri.stop(&c.id);
        self.containerd.cri.remove(&c.id);
        Ok(())
    }

    fn removal(&self, pods: &[&Pod]) -> Outcome {
        for pod in pods {
            let netns = self.machine.calls.netns_of(&pod.id);
            self.containerd.cri.stop(&pod.id);
            self.containerd.cri.remove(&pod.id);
            let calls = self.machine.calls.of("DEL", &pod.id);
            assert!(calls.iter().all(Call::succeeded), "{}", told(&calls));
            let bridge = calls.iter().filter(|call| call.plugin == "bridge");
            let given: Vec<&str> = bridge.map(|call| call.variable("CNI_NETNS")).collect();
            assert_eq!(given, [netns.to_str().expect("a path"), ""], "{}", told(&calls));
        }
        Ok(())
    }
}

/// Each reaches the other's server.
fn reaches(a: &Pod, b: &Pod, v6: bool) -> Outcome {
    for (from, to) in [(a, b), (b, a)] {
        let address: IpAddr = to.address(v6);
        assert!(from.place.ping(address), "{} does not reach {address}", from.name);
        assert_serves(&from.place, address, 80, &to.name);
    }
    Ok(())
}

/// Calls, for a message.
fn told(calls: &[Call]) -> String {
    let line = |call: &Call| {
        format!("{} {} netns={:?} {:?}", call.verb(), call.plugin, call.variable("CNI_NETNS"), call.ended)
    };
    calls.iter().map(line).collect::<Vec<_>>().join("\n")
}
