//! All or nothing: an ADD that is interrupted, or that fails at any request to the kernel, leaves nothing; many at
//! once on a fresh node do not disturb each other.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use ferrule_tests::{Container, Failure, Feature, Firewall, Network, Node, Output, eventually, require};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

/// The CNI code "try again later".
const TRY_AGAIN_LATER: u64 = 11;

fn network(node: &Node, keys: &Value) -> Network {
    let mut plugin = json!({"type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true});
    plugin.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    node.network_of("pods", &plugin)
}

fn host_local() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]})
}

/// An IPAM plugin that waits in its ADD until it is told to go on.
struct SlowIpam {
    log: PathBuf,
    gate: PathBuf,
}

impl SlowIpam {
    fn of(node: &Node) -> Self {
        let (log, gate) = (node.dir().join("calls"), node.dir().join("gate"));
        mkfifo(&gate, Mode::S_IRWXU).unwrap();
        Self { log, gate }
    }

    /// `stubborn`: it answers though it gets SIGTERM, too.
    fn config(&self, stubborn: bool) -> Value {
        let add = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.5/24"}]});
        json!({"type": "scripted", "log": self.log, "gate": self.gate, "stubborn": stubborn, "add": add})
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn go_on(&self) {
        // Opened for both, it does not wait for a reader.
        let mut gate = OpenOptions::new().read(true).write(true).open(&self.gate).unwrap();
        gate.write_all(b"\n").unwrap();
        eventually("the line is read", || self.calls().lines().count() > 1);
    }
}

/// SIGTERM while IPAM is at work.
fn terminated(stubborn: bool) -> Option<(Failure, String)> {
    let node = Node::start()?;
    let ipam = SlowIpam::of(&node);
    let network = network(&node, &json!({"ipam": ipam.config(stubborn)}));
    let (before, container) = (node.snapshot(), node.container("a"));
    let child = network.invocation("ADD", 0, Some(&container), &Value::Null).start(&node.host);
    eventually("IPAM is at work", || ipam.calls() == "ADD\n");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    if stubborn {
        ipam.go_on();
    }
    let failure = Output::from(child.wait_with_output().unwrap()).reply().expect_err("an interrupted ADD");
    node.assert_nothing_left(&before, &[&container]);
    assert!(container.place.find_link("eth0").is_none());
    Some((failure, ipam.calls()))
}

#[test]
fn sigterm_while_ipam_is_at_work() {
    let Some((failure, calls)) = terminated(false) else { return };
    assert_eq!(calls, "ADD\nDEL\n", "what IPAM may have given is given back");
    assert!(format!("{failure:?}").contains("scripted"), "{failure:?}");
}

#[test]
fn sigterm_is_obeyed_when_ipam_has_answered_all_the_same() {
    let Some((failure, calls)) = terminated(true) else { return };
    assert_eq!(calls, "ADD\nDEL\n");
    assert_eq!(failure.code, TRY_AGAIN_LATER, "{failure:?}");
}

/// ADDs, of which the first fails at its first request, the second at its second, and so on until there is none so far.
fn fails_at_each_request(firewall: Firewall, keys: &Value, is_fresh: bool, syscalls: &str, fault: &str) {
    let Some(node) = Node::start_with(firewall) else { return };
    let network = network(&node, keys);
    let before = node.snapshot();
    if !is_fresh {
        let first = node.container("first");
        network.add(&first).expect("ADD");
        network.del(&first).expect("DEL");
    }
    for which in 1.. {
        assert!(which < 400, "there is no end of requests");
        if is_fresh {
            // What earlier rounds made stays by design; this one is to make it again.
            let _ = node.host.try_sh("ip link del br0");
            node.host.sh("nft flush ruleset");
        }
        let container = node.container("a");
        let invocation = network.invocation("ADD", 0, Some(&container), &Value::Null);
        let (outcome, was_injected) = invocation.with_fault(&node, syscalls, &format!("error={fault}"), which);
        let at = format!("{fault} at request {which}");
        match outcome.reply() {
            // A request that may fail: then everything is there all the same.
            Ok(result) => {
                network.remember(&container, Some(result));
                network.check(&container).unwrap_or_else(|e| panic!("{at}: success, but CHECK says {e:?}"));
                network.del(&container).expect("DEL");
            }
            Err(failure) => assert!(was_injected, "{failure:?}"),
        }
        let left = node.left_since(&before, &[&container]);
        assert!(left.is_empty() && container.place.find_link("eth0").is_none(), "{at} leaves {left:#?}");
        if !was_injected {
            assert!(which > 2, "nothing was injected: strace does not work here");
            return;
        }
    }
}

#[test]
fn no_buffers_for_any_request_with_nftables() {
    let keys = json!({"hairpinMode": true, "ipam": host_local()});
    fails_at_each_request(Firewall::Nftables, &keys, false, "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_buffers_for_any_request_on_a_fresh_node() {
    let keys = json!({"hairpinMode": true, "ipam": host_local()});
    fails_at_each_request(Firewall::Nftables, &keys, true, "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_buffers_for_any_request_with_iptables() {
    fails_at_each_request(Firewall::IptablesNft, &json!({"ipam": host_local()}), false, "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_buffers_for_any_request_of_the_spoof_check() {
    if !require(Feature::BridgeNftables) {
        return;
    }
    let keys = json!({"macspoofchk": true, "ipam": host_local()});
    fails_at_each_request(Firewall::Nftables, &keys, false, "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_buffers_for_any_request_of_vlans() {
    if !require(Feature::BridgeVlans) {
        return;
    }
    let keys = json!({"vlan": 7, "ipam": host_local()});
    fails_at_each_request(Firewall::Nftables, &keys, false, "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn no_memory_for_any_answer() {
    let keys = json!({"ipam": host_local()});
    fails_at_each_request(Firewall::Nftables, &keys, false, "recvfrom,recvmsg", "ENOMEM");
}

#[test]
fn no_socket() {
    fails_at_each_request(Firewall::Nftables, &json!({"ipam": host_local()}), false, "socket", "EMFILE");
}

#[test]
fn a_full_disk() {
    fails_at_each_request(Firewall::Nftables, &json!({"ipam": host_local()}), false, "write,fsync", "ENOSPC");
}

/// DELs, of which the first fails at its first request, and so on. One that says that it did its work has done it; after
/// one that failed, the next does the rest.
fn del_fails_at_each_request(firewall: Firewall, keys: &Value, syscalls: &str, fault: &str) {
    let Some(node) = Node::start_with(firewall) else { return };
    let network = network(&node, keys);
    let before = node.snapshot();
    for which in 1.. {
        assert!(which < 400, "there is no end of requests");
        let container = node.container("a");
        let result = network.add(&container).expect("ADD");
        let invocation = network.invocation("DEL", 0, Some(&container), &result);
        let (outcome, was_injected) = invocation.with_fault(&node, syscalls, &format!("error={fault}"), which);
        let at = format!("DEL with {fault} at request {which}");
        if let Err(failure) = outcome.reply() {
            assert!(was_injected, "{failure:?}");
            network.del(&container).unwrap_or_else(|e| panic!("after {at}: {e:?}"));
        }
        let left = node.left_since(&before, &[&container]);
        assert!(left.is_empty() && container.place.find_link("eth0").is_none(), "{at} leaves {left:#?}");
        if !was_injected {
            assert!(which > 2, "nothing was injected: strace does not work here");
            return;
        }
    }
}

#[test]
fn del_without_buffers_for_any_request() {
    let keys = json!({"ipam": host_local()});
    del_fails_at_each_request(Firewall::Nftables, &keys, "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn del_without_buffers_for_any_request_with_iptables() {
    let keys = json!({"ipam": host_local()});
    del_fails_at_each_request(Firewall::IptablesNft, &keys, "sendto,sendmsg", "ENOBUFS");
}

#[test]
fn del_without_buffers_for_any_request_of_the_spoof_check() {
    if require(Feature::BridgeNftables) {
        let keys = json!({"macspoofchk": true, "ipam": host_local()});
        del_fails_at_each_request(Firewall::Nftables, &keys, "sendto,sendmsg", "ENOBUFS");
    }
}

#[test]
fn del_without_buffers_for_any_request_of_vlans() {
    if require(Feature::BridgeVlans) {
        let keys = json!({"vlan": 7, "ipam": host_local()});
        del_fails_at_each_request(Firewall::Nftables, &keys, "sendto,sendmsg", "ENOBUFS");
    }
}

#[test]
fn del_without_a_socket() {
    del_fails_at_each_request(Firewall::Nftables, &json!({"ipam": host_local()}), "socket", "EMFILE");
}

/// 32 ADDs at once on a node without bridge and tables: each makes what it finds missing. Then 32 DELs at once.
fn at_once(firewall: Firewall, keys: &Value) {
    let Some(node) = Node::start_with(firewall) else { return };
    let network = network(&node, keys);
    let before = node.snapshot();
    let containers: Vec<Container> = (0..32).map(|_| node.container("pod")).collect();
    let all_at_once = |verb: &(dyn Fn(&Container) + Sync)| {
        std::thread::scope(|scope| {
            for container in &containers {
                scope.spawn(|| verb(container));
            }
        });
    };
    all_at_once(&|container| drop(network.add(container).expect("ADD")));
    all_at_once(&|container| network.check(container).expect("CHECK"));
    let address = |c: &Container| network.result(c).pointer("/ips/0/address").unwrap().to_string();
    assert_eq!(containers.iter().map(address).collect::<BTreeSet<_>>().len(), containers.len());
    all_at_once(&|container| network.del(container).expect("DEL"));
    node.assert_nothing_left(&before, &containers.iter().collect::<Vec<_>>());
}

#[test]
fn many_at_once_on_a_fresh_node_with_nftables() {
    at_once(Firewall::Nftables, &json!({"ipam": host_local()}));
}

#[test]
fn many_at_once_on_a_fresh_node_with_iptables() {
    at_once(Firewall::IptablesNft, &json!({"ipam": host_local()}));
}

#[test]
fn many_at_once_on_a_fresh_node_with_spoof_checks() {
    if require(Feature::BridgeNftables) {
        at_once(Firewall::Nftables, &json!({"macspoofchk": true, "ipam": host_local()}));
    }
}

#[test]
fn many_at_once_on_a_fresh_node_with_a_vlan() {
    if require(Feature::BridgeVlans) {
        at_once(Firewall::Nftables, &json!({"vlan": 7, "ipam": host_local()}));
    }
}
