//! Every request to the kernel fails once: ADD leaves nothing, and what a DEL did not do, it tells and the next one does.

use ferrule_tests::Bed;
use ferrule_tests::bed::{host_local, merge};
use serde_json::{Value, json};

use crate::{Kind, each};

/// The system calls that fail, and how.
const FAULTS: [(&str, &str); 3] =
    [("sendto,sendmsg", "error=ENOBUFS"), ("recvfrom,recvmsg", "error=ENOMEM"), ("socket", "error=EMFILE")];

/// More requests than any call makes.
const TOO_MANY: usize = 200;

/// Calls `verb` with its first request failing, then with its second, and so on until there is none so far.
fn each_request_fails(bed: &Bed, verb: &str) {
    for (syscalls, fault) in FAULTS {
        let mut was_injected = true;
        for which in 1.. {
            if !was_injected {
                assert!(which > 2, "nothing was injected: strace does not work here");
                break;
            }
            assert!(which < TOO_MANY, "there is no end of requests");
            was_injected = request_fails(bed, verb, syscalls, fault, which);
        }
    }
}

/// Whether there was such a request.
fn request_fails(bed: &Bed, verb: &str, syscalls: &str, fault: &str, which: usize) -> bool {
    let container = bed.node.container("a");
    let result = if verb == "DEL" { bed.network.add(&container).expect("ADD") } else { Value::Null };
    let invocation = bed.network.invocation(verb, 0, Some(&container), &result);
    let (outcome, was_injected) = invocation.with_fault(&bed.node, syscalls, fault, which);
    let at = format!("{verb} with {fault} at {syscalls} number {which}");
    match (outcome.reply(), verb) {
        // A request that may fail: then everything is there all the same.
        (Ok(result), "ADD") => {
            bed.network.remember(&container, Some(result));
            bed.network.check(&container).unwrap_or_else(|e| panic!("{at}: success, but CHECK says {e:?}"));
            bed.network.del(&container).expect("DEL");
        }
        (Ok(_), _) => {}
        (Err(failure), _) => {
            assert!(was_injected, "{failure:?}");
            if verb == "DEL" {
                bed.network.del(&container).unwrap_or_else(|e| panic!("after {at}: {e:?}"));
            }
        }
    }
    let left = bed.node.left_since(&bed.before, &[&container]);
    assert!(left.is_empty() && container.place.find_link("eth0").is_none(), "{at} leaves {left:#?}");
    bed.node.kill(&container);
    was_injected
}

fn keys() -> Value {
    json!({"ipam": host_local(&["10.5.0.0/24", "fd00:5::/64"])})
}

#[test]
fn add_leaves_nothing() {
    each(&Kind::ALL, &keys(), |_, bed| each_request_fails(bed, "ADD"));
}

#[test]
fn add_in_mode_passthru_leaves_nothing_and_the_masters_address() {
    let mut passthru = json!({"mode": "passthru", "mac": "0a:58:0a:05:00:77"});
    merge(&mut passthru, &keys());
    each(&[Kind::Macvlan], &passthru, |_, bed| {
        let own = bed.link("lan")["address"].clone();
        each_request_fails(bed, "ADD");
        assert_eq!(bed.link("lan")["address"], own);
    });
}

#[test]
fn del_does_the_rest_the_next_time() {
    each(&Kind::ALL, &keys(), |_, bed| each_request_fails(bed, "DEL"));
}
