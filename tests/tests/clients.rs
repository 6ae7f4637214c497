//! What container runtimes called, in the recordings of `scripts/test-clients --calls`, called again: for machines on which these
//! runtimes are not to be had.

use std::collections::BTreeSet;

use ferrule_tests::recording::RecordedCall;
use ferrule_tests::{Binaries, Node, Recording, Replay};
use serde_json::Value;

/// Makes all calls of a client's recording: each plugin succeeds as it did, with results of the same form, and nothing is left.
fn replay(client: &str) {
    replay_recording(&Recording::of(client));
}

fn replay_recording(recording: &Recording) {
    let (Some(node), Some(ours)) = (Node::start(), Binaries::ours()) else { return };
    let before = node.snapshot();
    Replay::new(&node, &ours).all(recording);
    node.assert_nothing_left(&before, &[]);
}

#[test]
fn containerd() {
    replay("containerd");
}

#[test]
fn containerd_2() {
    let mut recording = Recording::of("containerd-2");
    // An overlay's daemon came and went on that node, of which no call tells.
    recording.calls.retain(|call| call.plugin != "vxlan-delegate");
    let unable = recording.calls.iter().filter(|call| call.verb() == "STATUS" && !call.succeeded());
    assert_eq!(unable.count(), 1, "a STATUS that fails: of the pool that is exhausted");
    replay_recording(&recording);
}

#[test]
fn cri_o() {
    replay("cri-o");
}

/// Whom CRI-O names as valid, and did not detach before, passes CHECK after each GC.
#[test]
fn cri_o_live_pods_survive_gc() {
    let (Some(node), Some(ours)) = (Node::start(), Binaries::ours()) else { return };
    let recording = Recording::of("cri-o");
    let (mut replay, mut attached, mut survived) = (Replay::new(&node, &ours), BTreeSet::new(), 0);
    node.host.run(|| {
        for call in &recording.calls {
            let outcome = replay.call(call);
            assert_eq!(outcome.is_ok(), call.succeeded(), "{call:?}: {outcome:?}");
            match call.verb() {
                "ADD" => drop(attached.insert(call.container())),
                "DEL" => drop(attached.remove(call.container())),
                "GC" => {
                    for pod in valid(call).filter(|pod| attached.contains(pod)) {
                        for check in recording.calls.iter().filter(|c| c.verb() == "CHECK" && c.container() == pod) {
                            replay.call(check).unwrap_or_else(|e| panic!("{pod} after GC {}: {e:?}", call.plugin));
                        }
                        survived += 1;
                    }
                }
                _ => {}
            }
        }
    });
    // Two pods, two starts, four plugins.
    assert_eq!(survived, 16, "pods that were valid in a GC");
}

/// The containers that a GC is told to keep.
fn valid(gc: &RecordedCall) -> impl Iterator<Item = &str> {
    let list = gc.stdin.get("cni.dev/valid-attachments").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|attachment| attachment.get("containerID")?.as_str())
}

#[test]
fn nerdctl() {
    replay("nerdctl");
}

#[test]
fn podman() {
    replay("podman");
}
