//! A kill at any point loses no address and leaks none.

use std::path::Path;

use serde_json::json;

use crate::support::{self, Network, OURS};

/// Runs `verb` for `id` and kills it when it is about to make its system call number `nth`. `Some(true)` if it was
/// killed, `Some(false)` if it ended before; `None` if there is no strace.
fn killed_at(network: &Network, verb: &str, id: &str, nth: usize) -> Option<bool> {
    let mut command = support::strace()?;
    command.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("inject=all:signal=KILL:when={nth}"));
    command.arg(OURS).envs(support::environment(verb, id, "eth0"));
    let child = support::start(command, &network.config);
    Some(!child.wait_with_output().unwrap().status.success())
}

/// Calls `killed_at` with 1, 2, 3… until the verb ends before: twice, since on a busy machine strace misses a moment now and
/// then. How many system calls there were; `None` if there is no strace.
fn each_call(mut killed_at: impl FnMut(usize) -> Option<bool>) -> Option<usize> {
    let mut ended = 0;
    let mut nth = 0;
    while ended < 2 {
        nth += 1;
        ended = if killed_at(nth)? { 0 } else { ended + 1 };
    }
    Some(nth - ended)
}

/// All `size` addresses can be had, and given back.
#[track_caller]
fn assert_all_free(network: &Network, size: usize) {
    assert!(network.reserved().is_empty());
    for i in 0..size {
        network.call("ADD", &format!("all{i}")).ok();
    }
    network.call("ADD", "more").fails_with(11, "no IP addresses available");
    network.gc(&[]).ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn add_killed_before_each_of_its_system_calls() {
    let network = Network::of_size(4);
    network.call("ADD", "resident").ok();
    let calls = each_call(|nth| {
        let killed = killed_at(&network, "ADD", "victim", nth)?;
        for address in network.reserved() {
            let content = network.read(&address.to_string());
            assert!(["resident\r\neth0", "victim\r\neth0"].contains(&content.as_str()), "call {nth}: {content:?}");
        }
        network.call("CHECK", "resident").ok();
        network.call("DEL", "victim").ok();
        assert_eq!(network.reserved().len(), 1, "after a kill at call {nth}");
        Some(killed)
    });
    let Some(calls) = calls else { return };
    assert!(calls > 30, "so few system calls? {calls}");
    network.call("DEL", "resident").ok();
    assert_all_free(&network, 4);
}

#[test]
fn del_killed_before_each_of_its_system_calls() {
    let network = Network::of_size(4);
    network.call("ADD", "resident").ok();
    let calls = each_call(|nth| {
        network.call("ADD", "victim").ok();
        let killed = killed_at(&network, "DEL", "victim", nth)?;
        // Either of the two cleans up: the runtime's next DEL, or GC.
        if nth % 2 == 0 {
            network.call("DEL", "victim").ok();
        } else {
            network.gc(&[("resident", "eth0")]).ok();
        }
        assert_eq!(network.reserved().len(), 1, "after a kill at call {nth}");
        Some(killed)
    });
    if calls.is_none() {
        return;
    }
    network.call("DEL", "resident").ok();
    assert_all_free(&network, 4);
}

#[test]
fn gc_killed_before_each_of_its_system_calls() {
    let mut network = Network::of_size(4);
    network.config["cni.dev/valid-attachments"] = json!([{"containerID": "resident", "ifname": "eth0"}]);
    network.call("ADD", "resident").ok();
    let calls = each_call(|nth| {
        network.call("ADD", "victim").ok();
        let killed = killed_at(&network, "GC", "victim", nth)?;
        network.call("CHECK", "resident").ok();
        network.call("DEL", "victim").ok();
        Some(killed)
    });
    if calls.is_none() {
        return;
    }
    assert_eq!(network.reserved().len(), 1);
    network.call("DEL", "resident").ok();
    assert_all_free(&network, 4);
}

#[test]
fn three_hundred_kills_at_any_time() {
    let network = Network::of_size(3);
    for round in 0..300u32 {
        let verb = if round % 3 == 2 { "DEL" } else { "ADD" };
        let mut child = network.start(Path::new(OURS), verb, "victim");
        // A process lives about as long as some hundred of these; the rounds spread over that and beyond.
        for _ in 0..round.wrapping_mul(7919) % 600 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(network.reserved().len() <= 1);
        if round % 5 == 0 {
            network.call("DEL", "victim").ok();
            assert!(network.reserved().is_empty());
        }
    }
    network.gc(&[]).ok();
    assert_all_free(&network, 3);
}
