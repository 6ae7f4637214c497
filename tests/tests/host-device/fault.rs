//! Every request to the kernel fails once, or is the last: the device is never lost.

use serde_json::Value;

use crate::{keys, pristine, start, state};

/// More requests than any call makes.
const TOO_MANY: usize = 100;

/// Calls `verb` with its first request meeting `fault`, then with its second, and so on. Then DEL, after which the
/// device is what it was.
fn each_request(verb: &str, fault: &str) {
    let Some(bed) = start(&keys()) else { return };
    for which in 1.. {
        assert!(which < TOO_MANY, "there is no end of requests");
        let container = bed.node.container("a");
        let result = if verb == "DEL" { bed.network.add(&container).expect("ADD") } else { Value::Null };
        let invocation = bed.network.invocation(verb, 0, Some(&container), &result);
        let (output, was_injected) = invocation.with_fault(&bed.node, "sendto,sendmsg", fault, which);
        let at = format!("{verb} with {fault} at request {which}");
        let is_refused = fault.starts_with("error") && verb == "ADD" && !output.status.success();
        if is_refused {
            assert_eq!(state(&bed, "dev0"), pristine(), "{at}");
            assert!(container.place.find_link("eth0").is_none(), "{at}");
        }
        bed.network.del(&container).unwrap_or_else(|e| panic!("DEL after {at}: {e:?}"));
        assert!(bed.host().find_link("dev0").is_some(), "{at}: the device is lost");
        // A setting that the kernel refuses is told, and does not keep DEL from its end.
        let was_told = output.stderr.contains("device dev0: cannot set");
        if (fault.starts_with("error") || verb == "ADD") && !was_told {
            assert_eq!(state(&bed, "dev0"), pristine(), "DEL after {at}");
        }
        bed.host().sh("ip link set dev0 up");
        bed.node.assert_nothing_left(&bed.before, &[&container]);
        bed.node.kill(&container);
        if !was_injected {
            assert!(which > 2, "nothing was injected: strace does not work here");
            return;
        }
    }
}

#[test]
fn add_gives_it_back() {
    each_request("ADD", "error=ENOBUFS");
}

#[test]
fn del_after_a_killed_add_gives_it_back() {
    each_request("ADD", "signal=KILL");
}

#[test]
fn del_gives_it_back_the_next_time() {
    each_request("DEL", "error=ENOBUFS");
}

#[test]
fn del_after_a_killed_del_gives_it_back() {
    each_request("DEL", "signal=KILL");
}
