//! The JSON Schemas of configurations, as `schemas/` at the top has them.

use std::path::PathBuf;

use clap::Args;
use libcni::store;
use serde_json::{Map, Value, json};

use crate::error::ToolError;
use crate::session::Session;

/// The name of the schema of a whole `.conflist` file.
const CONFLIST: &str = "conflist";

/// Of what every network and every plugin has.
const NETWORK: &str = include_str!("../../schemas/parts/network.json");
const PLUGIN: &str = include_str!("../../schemas/parts/plugin.json");

/// Of the plugins that make or change interfaces, by their types.
const PLUGINS: [(&str, &str); 16] = [
    ("bandwidth", include_str!("../../schemas/bandwidth.json")),
    ("bridge", include_str!("../../schemas/bridge.json")),
    ("dummy", include_str!("../../schemas/dummy.json")),
    ("firewall", include_str!("../../schemas/firewall.json")),
    ("host-device", include_str!("../../schemas/host-device.json")),
    ("ipvlan", include_str!("../../schemas/ipvlan.json")),
    ("loopback", include_str!("../../schemas/loopback.json")),
    ("macvlan", include_str!("../../schemas/macvlan.json")),
    ("portmap", include_str!("../../schemas/portmap.json")),
    ("ptp", include_str!("../../schemas/ptp.json")),
    ("sbr", include_str!("../../schemas/sbr.json")),
    ("tap", include_str!("../../schemas/tap.json")),
    ("tuning", include_str!("../../schemas/tuning.json")),
    ("vlan", include_str!("../../schemas/vlan.json")),
    ("vrf", include_str!("../../schemas/vrf.json")),
    ("vxlan-delegate", include_str!("../../schemas/vxlan-delegate.json")),
];

/// Of the plugins that assign addresses. They read the configuration of the plugin that calls them.
const IPAMS: [(&str, &str); 3] = [
    ("dhcp", include_str!("../../schemas/dhcp.json")),
    ("host-local", include_str!("../../schemas/host-local.json")),
    ("static", include_str!("../../schemas/static.json")),
];

/// flannel's plugin has the keys of the one that takes its place.
const FLANNEL: (&str, &str) = ("flannel", "vxlan-delegate");

#[derive(Debug, Args)]
pub(crate) struct SchemaOptions {
    /// The plugin, or `conflist` for a whole .conflist file; without it, the names are listed
    #[arg(value_name = "TYPE", conflicts_with = "all")]
    name: Option<String>,
    /// Write all of them to files in this directory
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
}

pub(crate) fn schema(session: &mut Session<'_>, options: &SchemaOptions) -> Result<(), ToolError> {
    match (&options.name, &options.all) {
        (Some(name), _) => {
            let text = text_of(name).ok_or_else(|| ToolError::NoSchema { name: name.clone(), present: names() })?;
            session.print(text)
        }
        (None, Some(dir)) => names().into_iter().try_for_each(|name| {
            let text = text_of(name).unwrap_or_default();
            Ok(store::write_atomic(&dir.join(format!("{name}.json")), text.as_bytes(), 0o644)?)
        }),
        (None, None) => session.print(format_args!("{}\n", names().join("\n"))),
    }
}

/// The names of all schemas, [`CONFLIST`] first.
pub(crate) fn names() -> Vec<&'static str> {
    let types = PLUGINS.iter().chain(&IPAMS).map(|(name, _)| *name);
    std::iter::once(CONFLIST).chain(types).collect()
}

fn text_of(name: &str) -> Option<String> {
    if name == CONFLIST {
        return Some(format!("{:#}\n", Value::Object(conflist())));
    }
    let found = PLUGINS.iter().chain(&IPAMS).find(|(own, _)| *own == name);
    found.map(|(_, text)| (*text).to_owned())
}

/// The schema of the plugin of this type, if it is known.
pub(crate) fn plugin(plugin_type: &str) -> Option<Map<String, Value>> {
    let name = if plugin_type == FLANNEL.0 { FLANNEL.1 } else { plugin_type };
    PLUGINS.iter().find(|(own, _)| *own == name).map(|(_, text)| object(text))
}

/// The schema of the IPAM plugin of this type, if it is known.
pub(crate) fn ipam(ipam_type: &str) -> Option<Map<String, Value>> {
    IPAMS.iter().find(|(own, _)| *own == ipam_type).map(|(_, text)| object(text))
}

/// Of what every plugin has.
pub(crate) fn any_plugin() -> Map<String, Value> {
    object(PLUGIN)
}

/// Of a network, whose plugins may be anything.
pub(crate) fn network() -> Map<String, Value> {
    object(NETWORK)
}

/// The types of plugins that there are schemas of.
pub(crate) fn plugin_types() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, _)| *name).chain([FLANNEL.0])
}

/// The types of IPAM plugins that there are schemas of.
pub(crate) fn ipam_types() -> impl Iterator<Item = &'static str> {
    IPAMS.iter().map(|(name, _)| *name)
}

/// Adds `other` to `schema`: objects key by key, all else by replacing.
pub(crate) fn merge(schema: &mut Map<String, Value>, other: Map<String, Value>) {
    for (key, value) in other {
        match (schema.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(value)) => merge(own, value),
            (_, value) => {
                schema.insert(key, value);
            }
        }
    }
}

fn object(text: &str) -> Map<String, Value> {
    // A test reads them all.
    serde_json::from_str(text).unwrap_or_default()
}

/// The schema of a `.conflist` file: each plugin by its type and by that of its IPAM plugin, all in one file.
fn conflist() -> Map<String, Value> {
    let definition = |(name, text): &(&str, &str)| {
        let mut schema = object(text);
        for key in ["$schema", "$id"] {
            schema.remove(key);
        }
        ((*name).to_owned(), Value::Object(schema))
    };
    let choose = |name: &str, condition: Value| json!({"if": condition, "then": {"$ref": format!("#/$defs/{name}")}});
    let is = |name: &str| json!({"properties": {"type": {"const": name}}, "required": ["type"]});
    let by_type = PLUGINS.iter().map(|(name, _)| choose(name, is(name)));
    let by_ipam =
        IPAMS.iter().map(|(name, _)| choose(name, json!({"properties": {"ipam": is(name)}, "required": ["ipam"]})));
    let mut schema = network();
    let mut plugin = object(PLUGIN);
    plugin.insert("allOf".to_owned(), by_type.chain(by_ipam).collect());
    if let Some(plugins) =
        schema.get_mut("properties").and_then(|p| p.get_mut("plugins")).and_then(Value::as_object_mut)
    {
        plugins.insert("items".to_owned(), Value::Object(plugin));
    }
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:ferrule:cni:conflist",
        "title": "CNI network configuration list",
        "description": "A .conflist file: a network and the plugins that attach containers to it",
        "$defs": PLUGINS.iter().chain(&IPAMS).map(definition).collect::<Map<_, _>>(),
    });
    if let Value::Object(head) = head {
        schema.extend(head);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_conflist_is_that_of_all_plugins() {
        schemas::assert_is_current(CONFLIST, &text_of(CONFLIST).unwrap());
    }

    #[test]
    fn all_schemas_are_json_and_say_what_they_are() {
        for name in names() {
            let schema: Value = serde_json::from_str(&text_of(name).unwrap()).unwrap();
            assert_eq!(schema["$id"], format!("urn:ferrule:cni:{name}"));
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        }
        assert!(!network().is_empty() && !any_plugin().is_empty());
    }

    #[test]
    fn no_schema_is_forgotten() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        let files = store::files(&dir).unwrap();
        let mut present: Vec<&str> = files
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap())
            .collect();
        let mut known = names();
        present.sort_unstable();
        known.sort_unstable();
        assert_eq!(present, known);
    }
}
