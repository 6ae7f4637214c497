//! containerd: pods through CRI as kubelet makes them, `ctr run --cni`, restarts and crashes.

mod status;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ferrule_tests::containerd::{Containerd, OWNED, Release};
use ferrule_tests::cri::{self, Cri, Pod};
use ferrule_tests::image::{self, IMAGE};
use serde_json::json;

use super::crash;
use super::pods::{self, CHAIN, CONFLIST, NETWORK_LIST, Runtime};
use crate::calls::told;
use crate::machine::{Machine, assert_serves, wait_until};
use crate::options::Options;
use crate::report::{Outcome, Report};

/// What the checks work on.
struct Client<'a> {
    machine: &'a Machine,
    containerd: Containerd,
    /// What pods are made of.
    image: PathBuf,
}

pub(super) fn run_1_6(machine: &Machine, options: &Options, report: &mut Report) {
    run(&Release::V1_6, machine, options, report);
}

pub(super) fn run_2(machine: &Machine, options: &Options, report: &mut Report) {
    run(&Release::V2, machine, options, report);
}

fn run(release: &'static Release, machine: &Machine, options: &Options, report: &mut Report) {
    let containerd = Containerd::new(release, &machine.node.host, &machine.dir, &options.tools);
    let mut client = Client { machine, containerd, image: image::make(&machine.dir) };
    if !report.check("starts, without a network", || client.starts()) {
        return;
    }
    report.check("the first list that cnitool install puts there is read", || client.first_list());
    report.check("a broken configuration is told, a mended one works", || client.configuration());
    let Some([a, b]) =
        report.value("two pods, with addresses of both families", || Ok(pods::two(&client.containerd.cri)))
    else {
        return;
    };
    report.check("each call is as containerd makes it", || client.calls_of(&a));
    report.check("ping and HTTP between the pods, IPv4", || pods::reach(&a, &b, false));
    report.check("ping and HTTP between the pods, IPv6", || pods::reach(&a, &b, true));
    report.check("host port: from outside, node, other pod", || pods::host_port(machine, &a, &b, false));
    report.check("host port, IPv6: from outside, other pod", || pods::host_port(machine, &a, &b, true));
    report.check("host port of the pod itself, both families", || pods::hairpin(machine, &a));
    report.check("host port from 127.0.0.1", || {
        assert_serves(&machine.node.host, Ipv4Addr::LOCALHOST.into(), a.host_port(), &a.name);
        Ok(())
    });
    report.check("bandwidth annotations limit the pod", || pods::limited(machine, &a));
    report.check("our doctor and GC know who is alive", || machine.living_are_known());
    report.check("containerd is stopped and started: the pods live", || client.restart(&a, &b));
    report.check("stop and remove: DEL twice, then without namespace", || client.removal(&[&a, &b]));
    if release.asks_status {
        status::run(&client, report);
    }
    report.check("ctr run --cni", || client.ctr());
    report.check("nothing is left", || {
        machine.assert_nothing_left(&OWNED);
        Ok(())
    });
    crash::run(machine, &mut client.containerd, options.kills, report);
    let install_anew = |containerd: &mut Containerd| {
        containerd.forget();
        containerd.start();
        containerd.import(&client.image);
    };
    if options.kills > 0 {
        crash::forgotten(machine, &mut client.containerd, install_anew, report);
    }
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
        self.containerd.start();
        self.containerd.import(&self.image);
        assert!(!self.containerd.cri.is_network_ready(), "ready without a network");
        Ok(())
    }

    /// containerd looks at its directory when certain things happen there, and else never.
    fn first_list(&self) -> Outcome {
        self.machine.install_network(CONFLIST, NETWORK_LIST);
        self.containerd.cri.await_network();
        self.machine.network(CONFLIST, None);
        wait_until("without its list it is not ready", || !self.containerd.cri.is_network_ready());
        Ok(())
    }

    fn configuration(&self) -> Outcome {
        self.machine.network(CONFLIST, Some(r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": ["#));
        let broken =
            self.containerd.cri.sandbox(&cri::config("early", None, &json!({}))).expect_err("a pod without a network");
        assert!(broken.contains("cni"), "{broken}");
        assert!(!self.containerd.cri.is_network_ready(), "ready with a broken network");
        self.machine.network(CONFLIST, Some(NETWORK_LIST));
        wait_until("the network is ready", || self.containerd.cri.is_network_ready());
        self.machine.network(CONFLIST, Some("{"));
        wait_until("a network that breaks is not ready", || !self.containerd.cri.is_network_ready());
        self.machine.network(CONFLIST, Some(NETWORK_LIST));
        wait_until("the network is ready again", || self.containerd.cri.is_network_ready());
        // Now the pod that failed, of which DEL failed, too, can be removed.
        self.containerd.cri.remove_all_pods();
        Ok(())
    }

    /// Keys in Go's case, versions, and loopback.
    fn calls_of(&self, pod: &Pod) -> Outcome {
        let adds = self.machine.calls.of("ADD", &pod.id);
        let order: Vec<&str> = adds.iter().map(|call| call.plugin.as_str()).collect();
        // containerd does loopback beside the network.
        let chain: Vec<&str> = order.iter().filter(|plugin| **plugin != "loopback").copied().collect();
        assert_eq!(chain, CHAIN, "{}", told(&adds));
        assert!(order.contains(&"loopback") && adds.iter().all(|call| call.succeeded()), "{}", told(&adds));
        let of = |plugin: &str| &adds.iter().find(|call| call.plugin == plugin).expect("a call").stdin;
        // Whatever the list says: containerd has a network of its own for it.
        assert_eq!(of("loopback")["cniVersion"], "0.3.1");
        let portmap = of("portmap");
        assert_eq!(portmap["cniVersion"], self.containerd.release.cni_version);
        let ports = &portmap["runtimeConfig"]["portMappings"];
        assert_eq!(ports[0]["HostPort"], 8080, "{ports}");
        Ok(())
    }

    fn restart(&mut self, a: &Pod, b: &Pod) -> Outcome {
        let first = self.machine.calls.count();
        self.containerd.stop();
        assert_serves(&b.place, a.address(false), 80, &a.name);
        self.containerd.start();
        self.containerd.cri.await_network();
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
            assert!(calls.iter().all(|call| call.succeeded()), "{}", told(&calls));
            let bridge = calls.iter().filter(|call| call.plugin == "bridge");
            let given: Vec<&str> = bridge.map(|call| call.variable("CNI_NETNS")).collect();
            assert_eq!(given, [netns.to_str().expect("a path"), ""], "{}", told(&calls));
        }
        Ok(())
    }
}

impl Runtime for Containerd {
    const OWNED: &'static [&'static str] = &OWNED;

    fn cri(&self) -> &Cri {
        &self.cri
    }

    fn start(&mut self) {
        Containerd::start(self);
    }

    fn kill(&mut self) {
        Containerd::kill(self);
    }
}
