//! An ADD that fails or is killed anywhere leaves nothing that DEL does not take back; a DEL that fails is done by the
//! next.

use ferrule_tests::{Network, Output};
use serde_json::{Value, json};

use crate::{Bed, assert_says};

fn keys() -> Value {
    json!({
        "mac": "0a:58:0a:01:02:03", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 500,
        "sysctl": {"net.core.somaxconn": "511", "net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.ip_forward": "1"},
    })
}

#[test]
fn a_value_that_the_interface_refuses_changes_nothing() {
    let Some(bed) = Bed::start() else { return };
    let failure = bed.refused(&json!({"mac": "0a:58:0a:01:02:03", "mtu": 15, "txQLen": 7, "promisc": true}));
    assert_says(&failure, 999, &["cannot set the MTU of eth0 to 15", "EINVAL"]);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let Some(bed) = Bed::start() else { return };
    bed.container.place.sh("ip link del eth0");
    let network = bed.network(&json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "511"}}));
    assert_says(&bed.add(&network).unwrap_err(), 999, &["failed to get \"eth0\"", "hint:"]);
    assert_eq!(bed.files(), [] as [&str; 0]);
    bed.add(&bed.network(&json!({"sysctl": {"net.core.somaxconn": "511"}}))).expect("ADD without an interface");
}

#[test]
fn a_data_directory_that_cannot_be_changes_nothing_and_status_says_so() {
    let Some(bed) = Bed::start() else { return };
    let file = bed.node.dir().join("file");
    std::fs::File::create(&file).unwrap();
    let mut keys = keys();
    keys["dataDir"] = json!(file.join("below"));
    assert_says(&bed.refused(&keys), 5, &["file/below", "Not a directory"]);
    assert_says(&bed.network(&keys).status().unwrap_err(), 50, &["file/below", "Not a directory"]);
}

/// Runs `verb` again and again, so that the first time its first request fails, the second time its second, and so on;
/// `then` looks at each outcome.
fn at_each_request(
    bed: &Bed,
    network: &Network,
    verb: &str,
    (syscall, fault): (&str, &str),
    mut then: impl FnMut(&Output, &str),
) {
    for which in 1.. {
        assert!(which < 200, "there is no end of requests");
        let invocation = network.invocation(verb, 0, Some(&bed.container), &bed.prev_result());
        let (output, was_injected) = invocation.with_fault(&bed.node, syscall, fault, which);
        then(&output, &format!("{verb} with {fault} at {syscall} number {which}"));
        if !was_injected {
            assert!(which > 1, "nothing was injected: strace does not work here");
            assert!(output.status.success(), "{output:?}");
            return;
        }
    }
}

/// One by one: strace counts the calls of each kind by themselves.
const FAULTS: [(&str, &str); 4] =
    [("sendto", "error=ENOBUFS"), ("recvfrom", "error=ENOMEM"), ("socket", "error=EMFILE"), ("write", "error=ENOSPC")];

#[test]
fn add_with_each_of_its_requests_failing() {
    let Some(bed) = Bed::start() else { return };
    let (network, before) = (bed.network(&keys()), bed.state());
    for fault in FAULTS.into_iter().chain([("fdatasync", "error=EIO"), ("linkat", "error=EIO")]) {
        at_each_request(&bed, &network, "ADD", fault, |output, at| {
            if output.status.success() {
                network.remember(&bed.container, Some(bed.prev_result()));
                network.check(&bed.container).unwrap_or_else(|e| panic!("{at}: success, but CHECK says {e:?}"));
                network.del(&bed.container).expect("DEL");
            }
            bed.assert_untouched_since(&before, &format!("{at}: {output:?}"));
        });
    }
}

#[test]
fn del_with_each_of_its_requests_failing() {
    let Some(bed) = Bed::start() else { return };
    let (network, before) = (bed.network(&keys()), bed.state());
    bed.add(&network).expect("ADD");
    for fault in FAULTS.into_iter().chain([("unlink", "error=EIO")]) {
        at_each_request(&bed, &network, "DEL", fault, |output, at| {
            if !output.status.success() {
                network.del(&bed.container).unwrap_or_else(|e| panic!("after {at}: {e:?}"));
            }
            bed.assert_untouched_since(&before, &format!("{at}: {output:?}"));
            bed.add(&network).expect("ADD");
        });
    }
}

#[test]
fn add_that_is_killed_is_taken_back_by_del() {
    let Some(bed) = Bed::start() else { return };
    let (network, before) = (bed.network(&keys()), bed.state());
    for syscall in ["sendto", "recvfrom", "write", "setns", "fdatasync", "linkat"] {
        at_each_request(&bed, &network, "ADD", (syscall, "signal=KILL"), |_, at| {
            network.del(&bed.container).unwrap_or_else(|e| panic!("after {at}: {e:?}"));
            network.gc(&[]).expect("GC");
            bed.assert_untouched_since(&before, at);
        });
    }
}
