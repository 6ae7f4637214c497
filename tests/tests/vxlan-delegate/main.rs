//! The plugin `vxlan-delegate`: what the delegate gets, seen by packets and in the cache, and what becomes of both.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "a test plays the daemon, and damages files")]

mod compose;
mod garbage;
mod overlayd;
mod remove;
mod subnet_file;
mod swap;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ferrule_tests::bed::{NETWORK, merge};
use ferrule_tests::{Bed, Binaries, Container, Node};
use serde_json::{Value, json};

/// What flanneld writes on a node that masquerades itself.
const SUBNET: &str =
    "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

/// The same of a node with both families, whose delegate is to masquerade.
const DUAL_STACK: &str = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\n\
    FLANNEL_IPV6_NETWORK=fd42::/56\nFLANNEL_IPV6_SUBNET=fd42:0:0:3::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n";

/// A node whose subnet file says `subnet`, with one network of the plugin with these keys; `None`, with a printed SKIP,
/// outside the sandbox.
fn start(subnet: &str, keys: &Value) -> Option<Bed> {
    let node = Node::start()?;
    write_subnet(&node, subnet);
    let network = node.network_of(NETWORK, &plugin(&node, "vxlan-delegate", keys));
    let before = node.snapshot();
    Some(Bed { node, network, before })
}

/// The object of a configuration list: flannel's own, but for the paths.
fn plugin(node: &Node, name: &str, keys: &Value) -> Value {
    let mut plugin = json!({
        "type": name, "subnetFile": subnet_file(node), "dataDir": cache_dir(node), "ipam": {"type": "host-local"},
        "delegate": {"hairpinMode": true, "isDefaultGateway": true},
    });
    merge(&mut plugin, keys);
    plugin
}

fn subnet_file(node: &Node) -> PathBuf {
    node.dir().join("subnet.env")
}

fn write_subnet(node: &Node, text: &str) {
    fs::write(subnet_file(node), text).unwrap();
}

/// Where it lies, snapshots list the cache's files.
fn cache_dir(node: &Node) -> PathBuf {
    node.data_dir().join("flannel")
}

/// The cache's file of an attachment.
fn cache_file(node: &Node, container: &Container) -> PathBuf {
    cache_dir(node).join(format!("{}:{}", container.id, container.ifname))
}

fn cached(node: &Node, container: &Container) -> Value {
    serde_json::from_slice(&fs::read(cache_file(node, container)).expect("cache")).unwrap()
}

/// The names in the cache, sorted.
fn cache(node: &Node) -> Vec<String> {
    let entries = fs::read_dir(cache_dir(node)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The plugins under test, but for `bridge`, which is a script.
fn with_bridge(node: &Node, script: &str) -> Binaries {
    let dir = node.dir().join("scripted");
    fs::create_dir_all(&dir).unwrap();
    let ours = Binaries::ours().unwrap();
    let _ = fs::remove_file(dir.join("vxlan-delegate"));
    fs::copy(ours.plugin("vxlan-delegate"), dir.join("vxlan-delegate")).unwrap();
    fs::write(dir.join("bridge"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(dir.join("bridge"), fs::Permissions::from_mode(0o755)).unwrap();
    Binaries::at(&dir)
}

/// A script that fails as a plugin does.
const FAILS: &str = "echo '{\"code\": 11, \"msg\": \"the bridge is out of order\"}'; exit 1";
