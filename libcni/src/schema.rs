//! The schemas of what every configuration has. The types here say what is read key by key elsewhere.

use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use crate::SpecVersion;
use crate::types::{Dns, Route};

/// A plugin of a network (specification, section 1, "Plugin configuration objects").
#[expect(dead_code, reason = "only its schema is used")]
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["type"]))]
struct Plugin {
    /// The plugin: the name of its file in a directory of CNI_PATH.
    #[schemars(regex(pattern = "^[^/]+$"))]
    r#type: String,
    /// The version of the specification; of a plugin in a list that of the list counts.
    #[schemars(schema_with = "version")]
    cni_version: String,
    /// The name of the network; of a plugin in a list that of the list counts.
    name: String,
    /// What the runtime is to tell the plugin in `runtimeConfig`, by the names of CONVENTIONS.md.
    capabilities: BTreeMap<String, bool>,
    /// Who assigns addresses, and what that plugin needs to know.
    ipam: Ipam,
    /// Name resolution for the container; replaces what `ipam` gives.
    dns: Dns,
    /// What people ask for on the command line of a runtime.
    args: BTreeMap<String, Value>,
    /// What the runtime says; it is filled in by the runtime.
    runtime_config: BTreeMap<String, Value>,
    /// What the plugins before had as result; it is filled in by the runtime.
    prev_result: BTreeMap<String, Value>,
}

#[expect(dead_code, reason = "only its schema is used")]
#[derive(JsonSchema)]
struct Ipam {
    /// The IPAM plugin: its file name.
    #[schemars(regex(pattern = "^[^/]*$"))]
    r#type: Option<String>,
}

/// A network (specification, section 1, "Network configuration format").
#[expect(dead_code, reason = "only its schema is used")]
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
struct Network {
    /// The version of the specification that the plugins are spoken to in; not given: 0.1.0.
    #[schemars(schema_with = "version")]
    cni_version: String,
    /// All versions that the network can be used with: the runtime takes the newest that it knows.
    cni_versions: Vec<String>,
    /// The name of the network, one on a node.
    #[schemars(regex(pattern = "^[a-zA-Z0-9][a-zA-Z0-9_.-]*$"), extend("format" = "network-name"))]
    name: String,
    /// CHECK is not sent.
    #[schemars(schema_with = "flag")]
    disable_check: bool,
    /// GC is not sent, as for a network that several configurations share.
    #[schemars(rename = "disableGC", schema_with = "flag")]
    disable_gc: bool,
    /// There are no drop-in files: `plugins` is all.
    #[schemars(schema_with = "flag")]
    load_only_inlined_plugins: bool,
    /// The plugins, in the order of ADD.
    #[schemars(length(min = 1))]
    plugins: Vec<BTreeMap<String, Value>>,
}

fn version(_generator: &mut SchemaGenerator) -> schemars::Schema {
    let versions: Vec<&str> = SpecVersion::ALL.iter().map(|version| version.as_str()).collect();
    schemars::json_schema!({"type": "string", "enum": versions, "default": SpecVersion::DEFAULT.as_str()})
}

/// A boolean, or (as the specification allows) the strings "true" and "false" in any case.
fn flag(_generator: &mut SchemaGenerator) -> schemars::Schema {
    let pattern = "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$";
    schemars::json_schema!({"type": ["boolean", "string"], "format": "flag", "pattern": pattern, "default": false})
}

#[test]
fn the_schemas_of_parts_are_those_of_the_types() {
    schemas::Schema::of_part::<Plugin>("plugin").assert_is_current();
    schemas::Schema::of_part::<Network>("network").assert_is_current();
    schemas::Schema::of_part::<Route>("route").assert_is_current();
    schemas::Schema::of_part::<Dns>("dns").assert_is_current();
}

#[test]
fn the_schema_of_a_network_has_the_keys_that_are_read() {
    let whole = json!({
        "cniVersion": "1.1.0", "cniVersions": ["1.1.0"], "name": "net", "disableCheck": "true", "disableGC": true,
        "loadOnlyInlinedPlugins": "True", "plugins": [{"type": "x"}],
    });
    let list = crate::runtime::NetworkList::from_bytes(whole.to_string().as_bytes()).unwrap();
    assert!(list.disable_check && list.disable_gc && list.load_only_inlined_plugins);
    let schema = Value::from(schemars::schema_for!(Network));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&schema["properties"]), keys(&whole));
}
