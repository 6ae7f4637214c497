//! The plugin `tap`: every field and every verb, seen by a program at the device's other end, by the state of the kernel
//! and by what is left.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod check;
mod device;
mod remove;
mod swap;

use ferrule_tests::Bed;
use ferrule_tests::bed::merge;
use serde_json::{Value, json};

/// A node with one network of the plugin `tap` with these keys; `None`, with a printed SKIP, outside the sandbox.
fn start(keys: &Value) -> Option<Bed> {
    Bed::of(&plugin(keys))
}

/// The object of a configuration list.
fn plugin(keys: &Value) -> Value {
    let mut plugin = json!({"type": "tap", "capabilities": {"mac": true}});
    merge(&mut plugin, keys);
    plugin
}
