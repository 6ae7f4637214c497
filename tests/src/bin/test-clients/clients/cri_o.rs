//! CRI-O, the runtime that uses all verbs: pods through CRI as kubelet makes them, CHECK after each ADD, GC at each start.

mod daemon;

use std::path::Path;
use std::process::Command;

use ferrule_tests::cri::{self, Pod};
use ferrule_tests::image;
use libcni::netns::Netns;
use serde_json::{Value, json};

use super::docker_cli::DockerCli as _;
use super::pods::{self, CHAIN, CONFLIST, NETWORK, NETWORK_LIST, Runtime};
use super::{crash, podman::Podman};
use crate::calls::{Call, told};
use crate::machine::{Machine, assert_serves, wait_until};
use crate::options::Options;
use crate::report::{Outcome, Report, Skip};
use daemon::CriO;

/// What a network wants and is not there.
const MISSING: &str = "/etc/cni/missing-resolv.conf";
/// The two names of the list of valid attachments: that of the specification, and that of an early text of it.
const VALID: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];
/// What CRI-O lets a limited pod send at once, in bits: 4 GiB.
const BURST: u64 = 8 * (u32::MAX as u64) - 1;

/// What the checks work on.
struct Client<'a> {
    machine: &'a Machine,
    runtime: CriO<'a>,
}

pub(super) fn run(machine: &Machine, options: &Options, report: &mut Report) {
    let mut client = Client { machine, runtime: CriO::new(machine, options) };
    if !report.check("starts, without a network", || client.starts()) {
        return;
    }
    report.check("a broken configuration, a failing STATUS are told", || client.broken());
    report.check("a mended one works: VERSION, STATUS, GC of everything", || client.mended());
    let Some([a, b]) =
        report.value("two pods, with addresses of both families", || Ok(pods::two(client.runtime.cri())))
    else {
        return;
    };
    report.check("each call is as CRI-O makes it: ADD, at once CHECK", || client.calls_of(&a, &b));
    report.check("ping and HTTP between the pods, IPv4", || pods::reach(&a, &b, false));
    report.check("ping and HTTP between the pods, IPv6", || pods::reach(&a, &b, true));
    report.check("host port (CRI-O's own): outside, node, other pod", || pods::host_port(machine, &a, &b, false));
    report.check("host port (CRI-O's own), IPv6: outside, other pod", || pods::host_port(machine, &a, &b, true));
    report.check("host port (CRI-O's own) of the pod itself", || client.hairpin(&a));
    report.check("bandwidth annotations limit the pod", || pods::limited(machine, &a));
    report.check("our doctor and GC know who is alive", || machine.living_are_known());
    report.check("stopped and started: GC of all but the pods, CHECK", || client.restart(&a, &b));
    report.check("killed and started: what is stale is removed", || client.stale(&a, &b));
    report.check("stop and remove: DEL once", || client.removal(&[&a, &b]));
    report.check("nothing is left", || {
        machine.assert_nothing_left(CriO::OWNED);
        Ok(())
    });
    crash::run(machine, &mut client.runtime, options.kills, report);
    report.check("STATUS was asked until it succeeded, once per start", || client.statuses());
    report.check("in the end nothing is left", || {
        machine.assert_nothing_left(CriO::OWNED);
        Ok(())
    });
}

impl Client<'_> {
    /// Without any network, as on a node that has just been made.
    fn starts(&mut self) -> Outcome {
        let image = image::make(&self.machine.dir);
        Podman::new(self.machine).call(&format!("load --quiet --input {}", image.display()));
        self.runtime.start();
        self.await_refusal("no CNI configuration file");
        Ok(())
    }

    fn broken(&self) -> Outcome {
        self.machine.network(CONFLIST, Some("{"));
        self.await_refusal("no CNI configuration file");
        let first = self.machine.calls.count();
        self.machine.network(CONFLIST, Some(&incomplete()));
        self.await_refusal(MISSING);
        let calls = self.machine.calls.since(first);
        let status = calls.iter().find(|call| call.verb() == "STATUS").expect("STATUS");
        assert!(!status.succeeded() && status.plugin == "bridge", "{}", told(&calls));
        Ok(())
    }

    /// CRI-O says that the network is not ready, and why.
    #[track_caller]
    fn await_refusal(&self, reason: &str) {
        let mut said = None;
        wait_until(&format!("not ready: {reason}"), || {
            said = self.runtime.cri().network_ready();
            said.as_ref().is_some_and(|(ready, message)| !ready && message.contains(reason))
        });
    }

    /// Who asked for a pod meanwhile has waited.
    fn mended(&self) -> Outcome {
        let waiting = cri::config("early", None, &json!({}));
        let mut request = pods::begin(self.machine, self.runtime.cri(), "RunPodSandbox", &json!({"config": waiting}));
        let first = self.machine.calls.count();
        self.machine.network(CONFLIST, Some(NETWORK_LIST));
        self.runtime.cri().await_network();
        assert!(request.wait().expect("grpcurl").success(), "a pod that was asked for before the network was ready");
        self.runtime.cri().remove_all_pods();
        let calls = self.machine.calls.since(first);
        let of = |verb: &str| plugins(calls.iter().filter(|call| call.verb() == verb && call.succeeded()));
        assert!(CHAIN.iter().all(|plugin| of("VERSION").contains(plugin)), "{}", told(&calls));
        assert_eq!((of("STATUS"), of("GC")), (CHAIN.to_vec(), CHAIN.to_vec()), "{}", told(&calls));
        for gc in calls.iter().filter(|call| call.verb() == "GC") {
            assert_eq!(VALID.map(|key| gc.stdin.get(key)), [Some(&Value::Null); 2], "{}", gc.stdin);
        }
        Ok(())
    }

    /// No loopback, no published port: CRI-O does both itself.
    fn calls_of(&self, a: &Pod, b: &Pod) -> Outcome {
        for pod in [a, b] {
            let calls = self.machine.calls.of_container(&pod.id);
            let order: Vec<(&str, &str)> = calls.iter().map(|call| (call.verb(), call.plugin.as_str())).collect();
            let each = |verb| CHAIN.map(|plugin| (verb, plugin));
            assert_eq!(order, [each("ADD"), each("CHECK")].concat(), "{}", told(&calls));
            assert!(calls.iter().all(|call| call.succeeded()), "{}", told(&calls));
            for call in calls {
                assert_eq!(call.stdin["cniVersion"], "1.1.0", "{}", call.stdin);
                assert_eq!(call.stdin["runtimeConfig"]["portMappings"], Value::Null, "{}", call.stdin);
                assert!(
                    call.variable("CNI_ARGS").starts_with("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;"),
                    "{call:?}"
                );
            }
        }
        let adds = self.machine.calls.of("ADD", &a.id);
        let bandwidth = &adds.last().expect("bandwidth").stdin["runtimeConfig"]["bandwidth"];
        assert_eq!((&bandwidth["ingressBurst"], &bandwidth["egressBurst"]), (&json!(BURST), &json!(BURST)));
        Ok(())
    }

    /// nft 1.0.6 takes CRI-O's rule for it, `ct status & dnat|snat == dnat`, for another one, which never matches.
    fn hairpin(&self, pod: &Pod) -> Outcome {
        let rules = self.machine.node.host.sh("nft list chain ip crio-hostports masquerading");
        if rules.contains("| snat == dnat") {
            return Err(Skip("this nft misreads the rule by which CRI-O masquerades such connections".to_owned()));
        }
        pods::hairpin(self.machine, pod)
    }

    fn restart(&mut self, a: &Pod, b: &Pod) -> Outcome {
        let first = self.machine.calls.count();
        self.runtime.stop();
        assert_serves(&b.place, a.address(false), 80, &a.name);
        self.start_again();
        self.assert_live(a, b);
        let calls = self.machine.calls.since(first);
        let verbs: Vec<&str> = calls.iter().map(|call| call.verb()).filter(|verb| *verb != "VERSION").collect();
        assert!(!verbs.iter().any(|verb| ["ADD", "DEL"].contains(verb)), "{}", told(&calls));
        assert_eq!(valid(&calls), vec![sorted([a.id.as_str(), &b.id]); 2 * CHAIN.len()], "{}", told(&calls));
        for pod in [a, b] {
            let checks = calls.iter().filter(|call| call.verb() == "CHECK" && call.container() == pod.id);
            assert_eq!(plugins(checks), CHAIN, "{}", told(&calls));
        }
        assert!(calls.iter().all(|call| call.succeeded()), "{}", told(&calls));
        Ok(())
    }

    fn start_again(&mut self) {
        self.runtime.start();
        self.runtime.cri().await_network();
    }

    /// The pods are as they were.
    fn assert_live(&self, a: &Pod, b: &Pod) {
        for pod in [a, b] {
            assert!(self.runtime.cri().is_ready(&pod.id), "{} after the restart", pod.name);
            assert_eq!(self.runtime.cri().addresses(&pod.id), pod.ips);
        }
        assert_serves(&a.place, b.address(false), 80, &b.name);
        assert_serves(&self.machine.node.outside, self.machine.node.address(), a.host_port(), &a.name);
    }

    /// While CRI-O is down: two attachments that are not its own appear, one of them without an entry in the cache of
    /// results and without a namespace; and a pod of its own is killed.
    fn stale(&mut self, a: &Pod, b: &Pod) -> Outcome {
        let c = self.runtime.cri().pod(cri::config("c", None, &json!({})));
        let reserved = self.machine.reserved(NETWORK);
        let [container] = &self.runtime.cri().containers(&c.id)[..] else { panic!("containers of c") };
        self.runtime.kill();
        let foreign = ["cached", "forgotten"].map(|name| Path::new("/run/netns").join(name));
        for (netns, cache) in foreign.iter().zip(["/var/lib/cni", "/run/test/cache"]) {
            let netns = Netns::create(netns).expect("a namespace");
            let path = netns.path().to_str().expect("UTF-8");
            self.machine.cnitool(&["add", "--cache-dir", cache, NETWORK, path]);
        }
        assert_eq!(self.machine.reserved(NETWORK), reserved + 4);
        Netns::remove(&foreign[1]).expect("a namespace");
        let mut runc = Command::new("runc");
        runc.args(["delete", "--force", container]);
        self.machine.run(runc, "").unwrap_or_else(|e| panic!("runc delete: {e}"));
        Netns::remove(&c.place.netns).expect("the pod's namespace");
        let first = self.machine.calls.count();
        self.start_again();
        self.assert_live(a, b);
        // The pod's DEL comes from a thread of its own, and may be later.
        wait_until("the stale are gone", || {
            self.machine.reserved(NETWORK) == reserved - 2 && self.machine.calls.running() == 0
        });
        let calls = self.machine.calls.since(first);
        for list in valid(&calls) {
            let live = [a, b].iter().all(|pod| list.contains(&pod.id));
            assert!(live && !list.iter().any(|id| id.starts_with("cnitool-")), "{list:?}");
        }
        // What has an entry is detached before GC; so is the pod, whose namespace is told to be gone.
        let dels = calls.iter().filter(|call| call.verb() == "DEL" && call.plugin == "bridge");
        let mut detached: Vec<&str> = dels.map(|call| call.variable("CNI_NETNS")).collect();
        detached.sort_unstable();
        assert_eq!(detached, ["", "/run/netns/cached"], "{}", told(&calls));
        assert!(calls.iter().all(|call| call.succeeded()), "{}", told(&calls));
        Netns::remove(&foreign[0]).expect("a namespace");
        Ok(())
    }

    fn removal(&self, pods: &[&Pod]) -> Outcome {
        for pod in pods {
            let netns = self.machine.calls.netns_of(&pod.id);
            self.runtime.cri().stop(&pod.id);
            self.runtime.cri().remove(&pod.id);
            let calls = self.machine.calls.of("DEL", &pod.id);
            let mut chain = CHAIN;
            chain.reverse();
            assert_eq!(plugins(&calls), chain, "{}", told(&calls));
            let expected = |call: &Call| call.succeeded() && Path::new(call.variable("CNI_NETNS")) == netns;
            assert!(calls.iter().all(expected), "{}", told(&calls));
        }
        Ok(())
    }

    /// CRI-O 1.34 asks every half second until all plugins say yes, and never again: a network that breaks later is told by
    /// no STATUS.
    fn statuses(&self) -> Outcome {
        let calls = self.machine.calls.all();
        for plugin in CHAIN {
            let of_plugin = |call: &&Call| call.verb() == "STATUS" && call.plugin == plugin && call.succeeded();
            assert_eq!(calls.iter().filter(of_plugin).count(), self.runtime.starts, "{plugin}");
        }
        Ok(())
    }
}

/// The network of which STATUS fails.
fn incomplete() -> String {
    let mut list: Value = serde_json::from_str(NETWORK_LIST).expect("JSON");
    list["plugins"][0]["ipam"]["resolvConf"] = json!(MISSING);
    list.to_string()
}

/// The plugins of some calls, in their order.
fn plugins<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Vec<&'a str> {
    calls.into_iter().map(|call| call.plugin.as_str()).collect()
}

/// What each GC was told to keep, by both names.
fn valid(calls: &[Call]) -> Vec<Vec<String>> {
    let gcs = calls.iter().filter(|call| call.verb() == "GC");
    let lists = gcs.flat_map(|call| VALID.map(|key| call.stdin[key].as_array().cloned().unwrap_or_default()));
    lists.map(|list| sorted(list.iter().map(|attachment| attachment["containerID"].as_str().expect("an ID")))).collect()
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.sort();
    names
}
