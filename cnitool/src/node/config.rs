//! What configuration lists say of the places of plugins: their bridges and directories.

use std::collections::BTreeSet;
use std::path::PathBuf;

use libcni::json;
use libcni::runtime::NetworkList;
use serde_json::{Map, Value};

use super::Inventory;

/// The bridge of the plugin `bridge` without `bridge`.
const DEFAULT_BRIDGE: &str = "cni0";

/// The objects of `plugins`; none if the list makes no sense.
pub(crate) fn plugins(list: &NetworkList) -> Vec<Map<String, Value>> {
    let Ok(Value::Object(mut head)) = json::parse(list.bytes()) else { return Vec::new() };
    let Some(Value::Array(plugins)) = head.remove("plugins") else { return Vec::new() };
    let object = |plugin| if let Value::Object(object) = plugin { Some(object) } else { None };
    plugins.into_iter().filter_map(object).collect()
}

/// The text of a key.
pub(crate) fn text<'o>(object: &'o Map<String, Value>, key: &str) -> Option<&'o str> {
    json::member(object, key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn member<'o>(object: &'o Map<String, Value>, key: &str) -> Option<&'o Map<String, Value>> {
    json::member(object, key).and_then(Value::as_object)
}

/// The bridges of networks, by name: as configured, and as results of ADD name them.
pub(crate) fn bridges(inventory: &Inventory) -> BTreeSet<String> {
    let configured = inventory.lists().flat_map(plugins).filter_map(|plugin| bridge(&plugin));
    let host = inventory.host();
    let is_bridge = |name: &str| host.and_then(|host| host.link_called(name)).is_some_and(|link| link.kind == "bridge");
    let reported = inventory.attachments.iter().flat_map(|attached| attached.result.host_interfaces());
    let reported = reported.map(|interface| interface.name.clone()).filter(|name| is_bridge(name));
    configured.chain(reported).collect()
}

/// The bridge that a plugin makes.
pub(crate) fn bridge(plugin: &Map<String, Value>) -> Option<String> {
    match text(plugin, "type")? {
        "bridge" => Some(text(plugin, "bridge").unwrap_or(DEFAULT_BRIDGE).to_owned()),
        "vxlan-delegate" | "flannel" => {
            let delegate = member(plugin, "delegate");
            let of_delegate = |key| delegate.and_then(|delegate| text(delegate, key));
            let is_bridge = of_delegate("type").is_none_or(|kind| kind == "bridge");
            is_bridge.then(|| of_delegate("bridge").unwrap_or(DEFAULT_BRIDGE).to_owned())
        }
        _ => None,
    }
}

/// The directories of plugins of these types, where they say one (`dataDir`), and `default`, where they do not.
pub(crate) fn data_dirs(inventory: &Inventory, types: &[&str], default: &str) -> BTreeSet<PathBuf> {
    let of_plugin = |plugin: &Map<String, Value>| -> Vec<PathBuf> {
        let ipam = member(plugin, "ipam").into_iter();
        let both = std::iter::once(plugin).chain(ipam);
        let ours = both.filter(|object| text(object, "type").is_some_and(|kind| types.contains(&kind)));
        ours.filter_map(|object| text(object, "dataDir").map(PathBuf::from)).collect()
    };
    let named = inventory.lists().flat_map(plugins).flat_map(|plugin| of_plugin(&plugin));
    // What earlier configurations left is in the usual place.
    named.chain([PathBuf::from(default)]).collect()
}
