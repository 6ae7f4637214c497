//! Test support: JSON Schemas of configurations, made from the very types that plugins read them into.
//!
//! Each plugin has a test that makes its schema and compares it with the file `schemas/TYPE.json`. What several
//! plugins read by the same type of libcni or linuxnet is a file in `schemas/parts`, made by a test there.
//! `FERRULE_WRITE_SCHEMAS=1 cargo test schema` writes the files anew; parts first, since plugins read them: twice.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "called by tests alone, which are to fail")]

mod value;

use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Set to anything, the files are written instead of compared.
const WRITE: &str = "FERRULE_WRITE_SCHEMAS";

/// A schema in the making: that of a whole configuration, as the plugin finds it on its stdin.
#[derive(Debug)]
pub struct Schema {
    /// Below `schemas`, without `.json`.
    name: String,
    body: Map<String, Value>,
}

impl Schema {
    /// Of the plugin of this type: with the keys that all plugins have.
    #[must_use]
    pub fn of_plugin(name: &str, description: &str) -> Self {
        let own = json!({"properties": {"type": {"const": name}}, "required": ["type"]});
        Self::start(name, description).with_part("plugin").with_value(own)
    }

    /// Of the IPAM plugin of this type, which reads the configuration of the plugin that called it.
    #[must_use]
    pub fn of_ipam(name: &str, description: &str) -> Self {
        let ipam = json!({
            "properties": {"type": {"const": name, "type": "string", "description": "The IPAM plugin: its file name."}},
            "required": ["type"],
        });
        let own = json!({"properties": {"ipam": ipam}, "required": ["ipam"]});
        Self::start(name, description).with_value(own)
    }

    /// Of something that stands in the configurations of several plugins.
    #[must_use]
    pub fn of_part<T: JsonSchema>(name: &str) -> Self {
        let body = Map::from_iter([("type".to_owned(), json!("object"))]);
        Self { name: format!("parts/{name}"), body }.with::<T>()
    }

    fn start(name: &str, description: &str) -> Self {
        let head = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": format!("urn:ferrule:cni:{name}"),
            "title": format!("CNI plugin {name}"),
            "description": description,
            "type": "object",
        });
        Self { name: name.to_owned(), body: object(head) }
    }

    /// And the keys of `T`.
    #[must_use]
    pub fn with<T: JsonSchema>(self) -> Self {
        let generator = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
        let mut schema = object(Value::from(generator.into_root_schema_for::<T>()));
        value::tidy(&mut schema);
        for key in ["$schema", "title", "description"] {
            schema.remove(key);
        }
        self.with_value(Value::Object(schema))
    }

    /// And the keys of a part.
    #[must_use]
    pub fn with_part(self, name: &str) -> Self {
        self.with_value(part(name))
    }

    fn with_value(mut self, schema: Value) -> Self {
        value::merge(&mut self.body, object(schema));
        self
    }

    /// Compares with the file, or writes it; each key has to have a description.
    pub fn assert_is_current(self) {
        assert_eq!(value::undescribed("", &self.body), Vec::<String>::new(), "keys without a doc comment");
        let text = format!("{:#}\n", Value::Object(self.body));
        assert_is_current(&self.name, &text);
    }
}

/// Compares `text` with the file `NAME.json`, or writes it where that is asked for.
pub fn assert_is_current(name: &str, text: &str) {
    let path = file(name);
    if std::env::var_os(WRITE).is_some() {
        #[expect(clippy::disallowed_methods, reason = "a file of the source, not of a node")]
        std::fs::write(&path, text).expect("schemas/ can be written");
        return;
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(present == text, "schemas/{name}.json is not that of the types: {WRITE}=1 cargo test schema; and again");
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.json"))
}

/// `schemas/parts/NAME.json`.
fn part(name: &str) -> Value {
    let text = std::fs::read_to_string(file(&format!("parts/{name}")));
    match text {
        Ok(text) => serde_json::from_str(&text).expect("parts are JSON"),
        // Not written yet.
        Err(_) => json!({}),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// A route: `#[schemars(with = "Vec<…>")]` cannot say it, since the type is of another crate.
#[must_use]
pub fn routes(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "array", "items": part("route")}))
}

/// `dns`.
#[must_use]
pub fn dns(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(part("dns"))
}

/// The name of an interface.
#[must_use]
pub fn ifname(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "string", "format": "ifname", "maxLength": 15, "pattern": "^[^/:\\s]*$"}))
}

/// An Ethernet address.
#[must_use]
pub fn mac(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({
        "type": "string", "format": "mac", "pattern": "^(([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2})?$",
        "examples": ["0a:58:0a:01:02:03"],
    }))
}

/// An IPv4 or IPv6 address.
#[must_use]
pub fn ip(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "string", "format": "ip", "examples": ["10.1.0.1", "fd00:1::1"]}))
}

/// An address or network with its prefix length.
#[must_use]
pub fn cidr(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "string", "format": "cidr", "examples": ["10.1.0.0/16", "fd00:1::/64"]}))
}

/// An address, perhaps with a prefix length.
#[must_use]
pub fn ip_or_cidr(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "string", "format": "ip-or-cidr", "examples": ["10.1.0.5", "10.1.0.5/16"]}))
}

/// A list of [`ip_or_cidr`].
#[must_use]
pub fn ips(generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "array", "items": ip_or_cidr(generator)}))
}

/// A list of [`ip`].
#[must_use]
pub fn addresses(generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "array", "items": ip(generator)}))
}

/// An MTU as a key `mtu` takes it: 0 is the default of the kernel or of the master.
#[must_use]
pub fn mtu(_generator: &mut SchemaGenerator) -> schemars::Schema {
    schema(json!({"type": "integer", "format": "mtu", "minimum": 0, "maximum": 65535, "default": 0}))
}

fn schema(value: Value) -> schemars::Schema {
    schemars::Schema::from(object(value))
}
