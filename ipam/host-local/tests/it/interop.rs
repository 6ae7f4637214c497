//! Beside the Go reference, on the same directory.

use std::path::Path;

use serde_json::json;

use crate::support::{Network, OURS, reference};

#[test]
fn the_reference_sees_our_reservations_and_removes_them() {
    let Some(theirs) = reference() else { return };
    let mut network = Network::of_size(2);
    assert_eq!(network.call("ADD", "c1").ip().to_string(), "10.1.0.2");
    // Round robin goes on behind ours.
    assert_eq!(network.run(&theirs, "ADD", "c2").ip().to_string(), "10.1.0.3");
    network.run(&theirs, "ADD", "c3").fails_with(999, "no IP addresses available in range set");
    network.run(&theirs, "ADD", "c1").fails_with(999, "duplicate allocation is not allowed");

    network.config["prevResult"] = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.2/16"}]});
    network.run(&theirs, "CHECK", "c1").ok();
    network.run(&theirs, "DEL", "c1").ok();
    assert_eq!(network.reserved().len(), 1);
    network.call("CHECK", "c1").fails_with(999, "Failed to find address added by container c1");
    network.call("DEL", "c1").ok();
}

#[test]
fn we_see_the_references_reservations_and_remove_them() {
    let Some(theirs) = reference() else { return };
    let network = Network::of_size(2);
    assert_eq!(network.run(&theirs, "ADD", "c1").ip().to_string(), "10.1.0.2");
    network
        .call("ADD", "c1")
        .fails_with(999, "10.1.0.2 has been allocated to c1 eth0, duplicate allocation is not allowed");
    assert_eq!(network.call("ADD", "c2").ip().to_string(), "10.1.0.3");
    network.call("CHECK", "c1").ok();
    network.call("STATUS", "").fails_with(50, "no IP addresses available in range set: 10.1.0.2-10.1.0.3");
    network.call("DEL", "c1").ok();
    network.call("DEL", "c2").ok();
    assert!(network.reserved().is_empty());
}

#[test]
fn files_are_the_references_to_the_byte() {
    let Some(theirs) = reference() else { return };
    let listing = |network: &Network| {
        let mut files: Vec<_> = std::fs::read_dir(network.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
                (entry.file_name(), std::fs::read(entry.path()).unwrap(), mode)
            })
            .collect();
        files.sort();
        files
    };
    let made_by = |program: &Path| {
        let network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00:0:0:1::/64"}]]}));
        network.run(program, "ADD", "c1").ok();
        (listing(&network), std::os::unix::fs::PermissionsExt::mode(&network.path().metadata().unwrap().permissions()))
    };
    assert_eq!(made_by(Path::new(OURS)), made_by(&theirs));
}

#[test]
fn both_at_once_give_distinct_addresses() {
    let Some(theirs) = reference() else { return };
    let network = Network::of_size(64);
    let ours = Path::new(OURS);
    let ids: Vec<String> = (0..64).map(|i| format!("c{i}")).collect();
    let running: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(i, id)| network.start(if i % 2 == 0 { ours } else { &theirs }, "ADD", id))
        .collect();
    let given: std::collections::BTreeSet<_> =
        running.into_iter().map(|child| crate::support::finish(child).ip()).collect();
    assert_eq!(given.len(), 64);
    // And each removes the other's.
    for (i, id) in ids.iter().enumerate() {
        network.run(if i % 2 == 0 { &theirs } else { ours }, "DEL", id).ok();
    }
    assert!(network.reserved().is_empty());
}
