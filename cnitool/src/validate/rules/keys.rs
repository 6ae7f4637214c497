//! CNI01: keys and values, by the schemas.

use serde_json::{Map, Value, json};

use crate::schema;
use crate::validate::document::Node;
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::network::{Network, Plugin};
use crate::validate::rules::Survey;
use crate::validate::rules::capabilities::CONVENTIONS;
use crate::validate::shape::{Checker, Home};

pub(crate) static RULES: [&Rule; 6] = [&UNKNOWN, &MISPLACED, &CASE, &MISSING, &TYPE, &VALUE];

pub(crate) static UNKNOWN: Rule = Rule {
    code: "CNI0101",
    name: "unknown-key",
    severity: Severity::Warning,
    summary: "a key that the plugin does not know",
    why: "plugins ignore keys that they do not know, so what it says has no effect",
    cure: "remove it, or look up its name with `cnitool schema TYPE`",
};
pub(crate) static MISPLACED: Rule = Rule {
    code: "CNI0102",
    name: "misplaced-key",
    severity: Severity::Warning,
    summary: "a key that belongs elsewhere",
    why: "where it stands it is ignored, so what it says has no effect",
    cure: "move it",
};
pub(crate) static CASE: Rule = Rule {
    code: "CNI0103",
    name: "key-case",
    severity: Severity::Note,
    summary: "a key in another case than documented",
    why: "plugins read keys in any case, but tools and people who look for it may not find it",
    cure: "write it as documented",
};
pub(crate) static MISSING: Rule = Rule {
    code: "CNI0104",
    name: "missing-key",
    severity: Severity::Error,
    summary: "a key without which nothing works",
    why: "the network is refused, or every ADD fails",
    cure: "add it",
};
pub(crate) static TYPE: Rule = Rule {
    code: "CNI0105",
    name: "wrong-type",
    severity: Severity::Error,
    summary: "a value of the wrong type",
    why: "the plugin cannot decode its configuration, so every ADD fails",
    cure: "write another value",
};
pub(crate) static VALUE: Rule = Rule {
    code: "CNI0106",
    name: "wrong-value",
    severity: Severity::Error,
    summary: "a value that is out of range or none of those that are possible",
    why: "the plugin refuses its configuration, so every ADD fails",
    cure: "write another value",
};

/// Whether a key says by its looks that it is for no plugin: a comment, or somebody's own name space.
pub(crate) fn is_comment(key: &str) -> bool {
    key.starts_with(['_', '$', '#', '/']) || key.starts_with("x-") || key.contains(['.', '/'])
}

type Schema = Map<String, Value>;

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for network in &survey.networks {
        if network.is_list {
            head(network, findings);
        } else {
            findings.extend(name_in_other_case(network));
        }
        for plugin in &network.plugins {
            let mut schema = schema_of(plugin);
            if !network.is_list {
                schema.insert("required".to_owned(), json!(["name", "type"]));
            }
            let homes = homes(&schema);
            let mut checker = Checker { file: plugin.file, homes, findings };
            checker.object("", plugin.node, &schema);
            if let Some(delegate) = plugin.delegate() {
                delegated(&mut checker, delegate);
            }
        }
    }
}

/// Plugins read `name` in any case, but runtimes do not.
fn name_in_other_case(network: &Network<'_>) -> Option<Finding> {
    let other = network.head.member("name").filter(|member| member.key != "name")?;
    let problem = format!("runtimes look for `name`, not for `{}`", other.key);
    Some(Finding::new(&MISSING, network.file, &other.key_span, problem).cure("write \"name\""))
}

/// The keys beside `plugins`, which runtimes read in the exact case alone. They keep
/// notes of their own there, so only what looks like a slip is told.
fn head(network: &Network<'_>, findings: &mut Vec<Finding>) {
    let mut schema = schema::network();
    // Told apart by rules of their own.
    for (key, what) in [("plugins", json!({"type": "array"})), ("cniVersion", json!({"type": "string"}))] {
        set_property(&mut schema, key, what);
    }
    if !network.head.has("plugins") && network.head.has("type") {
        // One plugin in the wrong file, which is told.
        return;
    }
    let of_plugin = Home::of_keys("a plugin of the list", &["capabilities", "dns", "ipam"]);
    let mut checker = Checker { file: network.file, homes: vec![of_plugin], findings };
    checker.head(network.head, &schema);
    for item in network.head.exact("plugins").map_or(&[][..], Node::items).iter().filter(|item| !item.is_object()) {
        checker.value("plugins", item, &type_only("object"));
    }
}

/// The configuration for the plugin that flannel's calls: the same keys, nothing of which is needed.
fn delegated(checker: &mut Checker<'_>, delegate: &Node) {
    let kind = delegate.text_of("type").unwrap_or("bridge");
    let Some(mut schema) = schema::plugin(kind) else { return };
    schema.remove("required");
    set_property(&mut schema, "type", json!({"type": "string"}));
    open(&mut schema, "ipam");
    checker.object("delegate", delegate, &schema);
}

/// The schema of the configuration of `plugin`: what it reads and what its IPAM plugin reads. Of a plugin that is not
/// known, only what all plugins have; it may also change what it hands to its IPAM plugin, as Calico does.
fn schema_of(plugin: &Plugin<'_>) -> Schema {
    let known = schema::plugin(plugin.kind());
    let ipam = known.as_ref().and_then(|_| schema::ipam(plugin.ipam_kind()));
    let mut schema = known.unwrap_or_else(|| {
        let mut schema = schema::any_plugin();
        schema.insert("additionalProperties".to_owned(), json!(true));
        schema
    });
    match ipam {
        Some(ipam) => {
            let properties = ipam.get("properties").cloned().unwrap_or_default();
            schema::merge(&mut schema, Map::from_iter([("properties".to_owned(), properties)]));
        }
        // Somebody else's keys.
        None => open(&mut schema, "ipam"),
    }
    // The type is what chose the schema; versions have rules of their own.
    for key in ["type", "cniVersion"] {
        set_property(&mut schema, key, json!({"type": "string"}));
    }
    schema
}

/// Where the keys of a plugin may belong that stand in the wrong place.
fn homes(schema: &Schema) -> Vec<Home> {
    let property = |key: &str| schema.get("properties")?.get(key)?.as_object().cloned();
    let mut homes = vec![Home::of("the list, beside `plugins`", &schema::network())];
    homes.push(Home::of_keys("`capabilities`, as true: the runtime fills in the value", &CONVENTIONS));
    // Of a network without addresses, too: those who forget `ipam` mostly mean host-local.
    let ipam = property("ipam").filter(|ipam| !ipam.contains_key("additionalProperties"));
    let host_local = || Some(schema::ipam("host-local")?.get("properties")?.get("ipam")?.as_object()?.clone());
    homes.extend(ipam.or_else(host_local).map(|of| Home::of("`ipam`", &of)));
    homes.push(Home::of("the plugin itself, beside `ipam`", schema));
    homes
}

fn type_only(name: &str) -> Schema {
    Map::from_iter([("type".to_owned(), json!(name))])
}

fn set_property(schema: &mut Schema, key: &str, value: Value) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert(key.to_owned(), value);
    }
}

/// Lets the object under `key` have any keys.
fn open(schema: &mut Schema, key: &str) {
    let property = schema.get_mut("properties").and_then(|properties| properties.get_mut(key));
    if let Some(Value::Object(property)) = property {
        property.insert("additionalProperties".to_owned(), json!(true));
    }
}
