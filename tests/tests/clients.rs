//! What container runtimes called, in the recordings of `scripts/test-clients --calls`, called again: for machines on which these
//! runtimes are not to be had.

use ferrule_tests::{Binaries, Node, Recording, Replay};

/// Makes all calls of a recording: each plugin succeeds as it did, with results of the same form, and nothing is left.
fn replay(client: &str) {
    let (Some(node), Some(ours)) = (Node::start(), Binaries::ours()) else { return };
    let before = node.snapshot();
    Replay::new(&node, &ours).all(&Recording::of(client));
    node.assert_nothing_left(&before, &[]);
}

#[test]
fn containerd() {
    replay("containerd");
}

#[test]
fn podman() {
    replay("podman");
}
