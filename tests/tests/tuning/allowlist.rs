//! The node's list of what may be set. The plugin reads it in /etc, so it gets an /etc of its own.

use std::path::PathBuf;

use ferrule_tests::{Failure, Network};
use serde_json::{Value, json};

use crate::{Bed, assert_says};

/// The network with these keys on a node whose list is `text`.
fn network(bed: &Bed, text: &str, keys: &Value) -> Network {
    let etc: PathBuf = bed.node.dir().join("etc");
    std::fs::create_dir_all(etc.join("cni/tuning")).unwrap();
    let list = etc.join("cni/tuning/allowlist.conf");
    std::io::Write::write_all(&mut std::fs::File::create(list).unwrap(), text.as_bytes()).unwrap();
    let in_mounts = format!("mount --bind {} /etc && exec \"$0\"", etc.display());
    bed.network(keys).wrapped_in(&["unshare", "-m", "sh", "-c", &in_mounts])
}

fn add(bed: &Bed, list: &str, keys: &Value) -> Result<Value, Failure> {
    bed.add(&network(bed, list, keys))
}

fn keys() -> Value {
    json!({"mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.core.somaxconn": "511"}})
}

#[test]
fn what_it_allows_is_set() {
    let Some(bed) = Bed::start() else { return };
    let list = "^net[.]ipv4[.]conf[.]IFNAME[.][a-z_]*$\n\n  somaxconn\n";
    add(&bed, list, &keys()).expect("ADD");
    assert_eq!(bed.sysctl("net/core/somaxconn"), "511");
    network(&bed, list, &keys()).status().expect("STATUS");
    network(&bed, "nothing of that", &keys()).check(&bed.container).unwrap_err();
}

#[test]
fn what_it_does_not_allow_is_refused_and_nothing_is_changed() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let said =
        "Sysctl net.ipv4.conf.IFNAME.arp_filter is not allowed. Only the following sysctls are allowed: [^net.core]";
    assert_says(&add(&bed, "^net.core\n", &keys()).unwrap_err(), 7, &[said, "allowlist.conf"]);
    assert_says(&network(&bed, "^net.core\n", &keys()).status().unwrap_err(), 7, &[said]);
    assert_says(&add(&bed, "", &keys()).unwrap_err(), 7, &["is not allowed"]);
    assert_says(&add(&bed, "net\n(net\n", &keys()).unwrap_err(), 7, &["cannot understand line 2 of /etc/cni/tuning"]);
    bed.assert_untouched_since(&before, "afterwards");
}

#[test]
fn it_is_about_sysctls_alone() {
    let Some(bed) = Bed::start() else { return };
    add(&bed, "", &json!({"mtu": 1400})).expect("ADD");
    assert_eq!(bed.interface().mtu, 1400);
}
