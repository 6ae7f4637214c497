//! The data directory: what is in it may be anything.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::{self, Network, OURS, finish};

#[test]
fn empty_and_garbled_files_are_free_and_replaced() {
    let network = Network::of_size(3);
    network.plant("10.1.0.2", b"");
    network.plant("10.1.0.3", b"\0\0\0\0");
    network.plant("10.1.0.4", b"../../etc\r\neth0");
    network.call("STATUS", "").ok();
    for id in ["c1", "c2", "c3"] {
        network.call("ADD", id).ok();
    }
    assert_eq!(network.read("10.1.0.2"), "c1\r\neth0");
    network.call("ADD", "c4").fails_with(11, "no IP addresses available in range set: 10.1.0.2-10.1.0.4");
}

#[test]
fn foreign_files_are_left_alone() {
    let network = Network::of_size(4);
    network.plant("README", b"c1\r\neth0");
    network.plant("010.1.0.2", b"c1\r\neth0");
    network.plant("last_reserved_ip.0", b"\xff garbage");
    std::fs::create_dir(network.path().join("10.1.0.2")).unwrap();
    std::os::unix::fs::symlink("README", network.path().join("10.1.0.3")).unwrap();
    assert_eq!(network.call("ADD", "c1").ip().to_string(), "10.1.0.4");
    network.call("DEL", "c1").ok();
    network.gc(&[]).ok();
    for left in ["README", "010.1.0.2", "last_reserved_ip.0", "lock", "10.1.0.2", "10.1.0.3"] {
        assert!(network.path().join(left).symlink_metadata().is_ok(), "{left}");
    }
    assert!(network.path().join("10.1.0.4").symlink_metadata().is_err());
}

#[test]
fn files_of_a_container_alone_are_its_attachments() {
    let network = Network::of_size(4);
    network.plant("10.1.0.2", b"old");
    network.plant("10.1.0.3", b"old\r\neth0");
    network.gc(&[("old", "eth7")]).ok();
    assert_eq!(network.reserved().len(), 1, "the old form stays while its container has an attachment");
    network.call("CHECK", "old").ok();
    network.call("DEL", "old").ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn without_a_directory_nothing_is_made_but_by_add() {
    let network = Network::of_size(4);
    network.call("DEL", "c1").ok();
    network.call("CHECK", "c1").fails_with(999, "Failed to find address");
    network.call("STATUS", "").ok();
    network.gc(&[]).ok();
    assert!(!network.data_dir().exists());
}

#[test]
fn gc_frees_all_but_the_valid_and_the_index_follows() {
    let network = Network::of_size(20);
    for i in 0..10 {
        network.call("ADD", &format!("c{i}")).ok();
    }
    network.plant("10.1.0.20", b"");
    network.gc(&[("c3", "eth0"), ("c4", "net1"), ("elsewhere", "eth0")]).ok();
    assert_eq!(network.reserved(), BTreeSet::from(["10.1.0.5".parse().unwrap()]));
    network.call("ADD", "c3").fails_with(999, "10.1.0.5 has been allocated to c3");
    network.call("ADD", "c4").ok();
    network.gc(&[]).ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn a_change_by_others_is_seen() {
    let network = Network::of_size(9);
    network.call("ADD", "c1").ok();
    // Made and removed by hand.
    network.plant("10.1.0.7", b"c2\r\neth0");
    network.call("ADD", "c2").fails_with(999, "10.1.0.7 has been allocated to c2");
    std::fs::remove_file(network.path().join("10.1.0.2")).unwrap();
    network.call("ADD", "c1").ok();
    // Written into, without a change of the directory.
    network.plant("10.1.0.7", b"c3\r\neth0");
    network.call("ADD", "c2").ok();
    network.call("ADD", "c3").fails_with(999, "10.1.0.7 has been allocated to c3");
    // The index is gone, or wrong.
    std::fs::remove_file(network.data_dir().join(".owners/net/c1,eth0")).unwrap();
    network.call("DEL", "c1").ok();
    std::fs::remove_dir_all(network.data_dir().join(".owners")).unwrap();
    network.call("DEL", "c2").ok();
    network.call("DEL", "c3").ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn an_owner_with_a_long_name_is_found_again() {
    let network = Network::of_size(4);
    let (long, longer) = ("x".repeat(250), "x".repeat(251));
    network.call("ADD", &long).ok();
    network.call("ADD", &longer).ok();
    network.call("ADD", &long).fails_with(999, "duplicate");
    network.call("DEL", &long).ok();
    assert_eq!(network.reserved().len(), 1);
    network.call("DEL", &longer).ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn del_and_gc_need_no_valid_ranges() {
    let mut network = Network::of_size(4);
    network.call("ADD", "c1").ok();
    network.call("ADD", "c2").ok();
    network.config["ipam"]["subnet"] = "nonsense".into();
    network.config["ipam"]["ranges"] = json!([[{}]]);
    network.call("DEL", "c1").ok();
    network.gc(&[]).ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn many_processes_at_once_get_distinct_addresses() {
    let network = Network::of_size(64);
    let ids: Vec<String> = (0..64).map(|i| format!("c{i}")).collect();
    let start = |verb| ids.iter().map(|id| network.start(Path::new(OURS), verb, id)).collect::<Vec<_>>();
    let given: BTreeSet<_> = start("ADD").into_iter().map(|child| finish(child).ip()).collect();
    assert_eq!(given.len(), 64);
    network.call("STATUS", "").fails_with(50, "64 of 64 in use");
    start("DEL").into_iter().for_each(|child| finish(child).ok());
    assert!(network.reserved().is_empty());
}

#[test]
fn a_filesystem_without_unnamed_files_will_do() {
    let network = Network::of_size(4);
    network.run(Path::new(OURS), "ADD", "c1").ok();
    let Some(mut command) = support::strace() else { return };
    // Only opening the directory itself fails: that is how a file without a name is made.
    let trace = network.data_dir().with_file_name("trace");
    command.args(["-f", "-e", "inject=openat:error=EOPNOTSUPP", "-o"]).arg(&trace).arg("-P").arg(network.path());
    command.arg(OURS).envs(support::environment("ADD", "c2", "eth0"));
    let reply = finish(support::start(command, &network.config));
    assert_eq!(reply.ip().to_string(), "10.1.0.3");
    assert!(std::fs::read_to_string(&trace).unwrap().contains("INJECTED"));
    assert_eq!(network.read("10.1.0.3"), "c2\r\neth0");
    assert_eq!(network.read("last_reserved_ip.0"), "10.1.0.3");
    let left: BTreeSet<_> = std::fs::read_dir(network.data_dir().join(".owners/net"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, BTreeSet::from(["c1,eth0".to_owned(), "c2,eth0".to_owned()]));
}

#[test]
fn an_index_signed_before_this_boot_is_not_believed() {
    let network = Network::of_size(4);
    network.call("ADD", "c1").ok();
    let entry = network.data_dir().join(".owners/net/c1,eth0");
    std::fs::remove_file(&entry).unwrap();
    // Both directories signed alike, as if nothing had happened.
    let sign = |seconds| {
        for dir in [network.path(), network.data_dir().join(".owners/net")] {
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 271_828_183);
            std::fs::File::open(dir).unwrap().set_modified(time).unwrap();
        }
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    sign(now);
    network.call("DEL", "c1").ok();
    assert_eq!(network.reserved().len(), 1, "a signature of this boot is believed");
    sign(1);
    network.call("DEL", "c1").ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn what_was_reserved_before_a_reboot_is_free_on_request_only() {
    let mut network = Network::of_size(2);
    let age = |name: &str| {
        let file = std::fs::File::options().write(true).open(network.path().join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    };
    network.plant("10.1.0.2", b"c1\r\neth0");
    network.plant("10.1.0.3", b"c2\r\neth0");
    age("10.1.0.2");
    network.call("ADD", "c3").fails_with(11, "no IP addresses available");
    network.config["ipam"]["reclaimAfterReboot"] = true.into();
    assert_eq!(network.call("ADD", "c3").ip().to_string(), "10.1.0.2");
    // This boot was seen: a clock that is set back or forth frees nothing.
    let file = std::fs::File::options().write(true).open(network.path().join("10.1.0.2")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    network.call("ADD", "c4").fails_with(11, "no IP addresses available");
}
