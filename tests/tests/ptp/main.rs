//! The plugin `ptp`: every field and every verb, seen by packets, by the state of the kernel and by what is left.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod check;
mod link;
mod remove;
mod route;
mod swap;

use ferrule_tests::bed::{merge, text};
use ferrule_tests::{Bed, Firewall, Pod};
use serde_json::{Value, json};

/// A node with one network of the plugin `ptp` with these keys; `None`, with a printed SKIP, outside the sandbox.
fn start(keys: &Value) -> Option<Bed> {
    start_with(Firewall::Nftables, keys)
}

fn start_with(firewall: Firewall, keys: &Value) -> Option<Bed> {
    Bed::with(firewall, &plugin(keys))
}

/// The object of a configuration list.
fn plugin(keys: &Value) -> Value {
    let mut plugin = json!({"type": "ptp"});
    merge(&mut plugin, keys);
    plugin
}

/// The name of the host's end of a container's veth.
fn host_end(pod: &Pod) -> String {
    text(&pod.result, "/interfaces/0/name")
}
