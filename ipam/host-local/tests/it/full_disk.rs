//! A full disk: nothing half done, and a clear error.

use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::support::{Network, skip};

/// Runs the test `inside` in a user and mount namespace of its own, where it may mount.
#[test]
fn nothing_is_half_done() {
    for options in ["size=4k", "size=16k", "size=64k", "size=1m,nr_inodes=9", "size=1m,nr_inodes=24"] {
        let output = Command::new("unshare")
            .args(["-Urm", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "full_disk::inside", "--ignored", "--nocapture"])
            .env("FULL_DISK_OPTIONS", options)
            .output();
        let Ok(output) = output else { return skip("no unshare") };
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        if text.contains("unshare: ") {
            return skip(&text);
        }
        assert!(output.status.success() && text.contains("1 passed"), "{options}: {text}");
    }
}

#[test]
#[ignore = "run by nothing_is_half_done, in namespaces of its own"]
fn inside() {
    let options = std::env::var("FULL_DISK_OPTIONS").unwrap();
    let network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00:1::/64"}]]}));
    let data_dir = network.data_dir();
    std::fs::create_dir(&data_dir).unwrap();
    mount(Some("tmpfs"), &data_dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();

    let mut given = 0;
    loop {
        let reply = network.call("ADD", &format!("c{given}"));
        if !reply.success {
            reply.fails_with(5, "No space left on device");
            break;
        }
        given += 1;
        assert!(given < 1000, "the disk is never full");
    }
    assert_eq!(whole_reservations(&network), given * 2);
    network.call("STATUS", "").fails_with(50, "No space left on device");
    if given > 0 {
        // What is there can be checked and removed, and then there is room again.
        network.call("CHECK", "c0").ok();
        network.call("DEL", "c0").ok();
        network.call("DEL", &format!("c{given}")).ok();
        network.call("ADD", "again").ok();
        assert_eq!(whole_reservations(&network), given * 2);
    }
    network.gc(&[]).ok();
    assert_eq!(whole_reservations(&network), 0);
}

/// The number of reservations, each of which must be whole.
fn whole_reservations(network: &Network) -> usize {
    let reserved = network.reserved();
    for address in &reserved {
        let content = network.read(&address.to_string());
        assert!(Path::new(&content).to_str().unwrap().ends_with("\r\neth0"), "{address}: {content:?}");
    }
    reserved.len()
}
