//! A kill at any point loses no address and leaks none.

use std::collections::HashMap;
use std::path::Path;

use serde_json::json;

use crate::support::{self, Network, OURS};

/// What a process makes at least between its start and its end, half of it to be loaded.
const FEWEST_CALLS: usize = 50;

/// The system calls of `verb` for `victim`, each by its name and how many of this name came before it and with it (strace counts
/// by name). It is executed for that. `None` if there is no strace.
fn system_calls(network: &Network, verb: &str) -> Option<Vec<(String, usize)>> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = support::strace()?;
    command.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(log.path());
    command.arg(OURS).envs(support::environment(verb, "victim", "eth0"));
    assert!(support::start(command, &network.config).wait_with_output().unwrap().status.success());
    let text = std::fs::read_to_string(log.path()).unwrap();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    // The number of the process, then the call.
    let names =
        text.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('(')).map(|(name, _)| name);
    let calls = names.map(|name| {
        let count = counts.entry(name).or_default();
        *count += 1;
        (name.to_owned(), *count)
    });
    // The first is that which starts the program.
    Some(calls.skip(1).collect())
}

/// Runs `verb` for `victim` and kills it when it is about to make this system call; whether it came so far.
fn is_killed_at(network: &Network, verb: &str, (name, nth): &(String, usize)) -> bool {
    let mut command = support::strace().unwrap();
    command.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("inject={name}:signal=KILL:when={nth}"));
    command.arg(OURS).envs(support::environment(verb, "victim", "eth0"));
    !support::start(command, &network.config).wait_with_output().unwrap().status.success()
}

/// Executes `verb` for `victim` once whole and once for each of its system calls, before which it is killed, each time
/// between `before` and `after`, which is told how often there was a kill so far. Whether there is strace.
fn kill_at_each_call(network: &Network, verb: &str, before: impl Fn(), after: impl Fn(usize)) -> bool {
    before();
    let Some(calls) = system_calls(network, verb) else { return false };
    after(0);
    let mut kills = 0;
    for call in &calls {
        before();
        kills += usize::from(is_killed_at(network, verb, call));
        after(kills);
    }
    assert!(kills >= FEWEST_CALLS, "{kills} kills at {} system calls: {calls:?}", calls.len());
    true
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
    let after = |kills| {
        for address in network.reserved() {
            let content = network.read(&address.to_string());
            assert!(["resident\r\neth0", "victim\r\neth0"].contains(&content.as_str()), "kill {kills}: {content:?}");
        }
        network.call("CHECK", "resident").ok();
        network.call("DEL", "victim").ok();
        assert_eq!(network.reserved().len(), 1, "after kill {kills}");
    };
    if kill_at_each_call(&network, "ADD", || (), after) {
        network.call("DEL", "resident").ok();
        assert_all_free(&network, 4);
    }
}

#[test]
fn del_killed_before_each_of_its_system_calls() {
    let network = Network::of_size(4);
    network.call("ADD", "resident").ok();
    let before = || network.call("ADD", "victim").ok();
    let after = |kills| {
        // Either of the two cleans up: the runtime's next DEL, or GC.
        if kills % 2 == 0 {
            network.call("DEL", "victim").ok();
        } else {
            network.gc(&[("resident", "eth0")]).ok();
        }
        assert_eq!(network.reserved().len(), 1, "after kill {kills}");
    };
    if kill_at_each_call(&network, "DEL", before, after) {
        network.call("DEL", "resident").ok();
        assert_all_free(&network, 4);
    }
}

#[test]
fn gc_killed_before_each_of_its_system_calls() {
    let mut network = Network::of_size(4);
    network.config["cni.dev/valid-attachments"] = json!([{"containerID": "resident", "ifname": "eth0"}]);
    network.call("ADD", "resident").ok();
    let before = || network.call("ADD", "victim").ok();
    let after = |_| {
        network.call("CHECK", "resident").ok();
        network.call("DEL", "victim").ok();
    };
    if kill_at_each_call(&network, "GC", before, after) {
        assert_eq!(network.reserved().len(), 1);
        network.call("DEL", "resident").ok();
        assert_all_free(&network, 4);
    }
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
