//! What is done to schemas after schemars made them.

use serde_json::{Map, Value, json};

/// Keywords that hold a schema, and those that hold an object of schemas by name.
const ONE: [&str; 2] = ["items", "additionalProperties"];

/// Takes away what says nothing to people who write configurations: names of Rust's types, defaults that are empty,
/// `null` (which every key may be), and formats of numbers, for which bounds are set.
pub(crate) fn tidy(schema: &mut Map<String, Value>) {
    schema.remove("title");
    if schema.get("default").is_some_and(|default| *default == json!(null) || is_empty(default)) {
        schema.remove("default");
    }
    let not_null = match schema.get("type") {
        Some(Value::Array(types)) if types.contains(&json!("null")) => {
            types.iter().find(|t| **t != json!("null")).cloned()
        }
        _ => None,
    };
    if let Some(not_null) = not_null {
        schema.insert("type".to_owned(), not_null);
    }
    tidy_number(schema);
    // A type with a default of its own, and one more around it.
    if schema.get("type") == Some(&json!("object")) {
        schema.remove("default");
    }
    each(schema, &mut tidy);
}

/// A bound says more than Rust's name of a type.
fn tidy_number(schema: &mut Map<String, Value>) {
    let bound = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => Some(u32::from(u8::MAX)),
        Some("uint16") => Some(u32::from(u16::MAX)),
        Some("uint32") => Some(u32::MAX),
        Some("uint64" | "int64") => None,
        _ => return,
    };
    schema.remove("format");
    if let Some(bound) = bound.filter(|_| !schema.contains_key("maximum")) {
        schema.insert("maximum".to_owned(), json!(bound));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Calls `visit` with each schema in `schema`.
fn each(schema: &mut Map<String, Value>, visit: &mut dyn FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(&mut *visit);
    }
    for key in ONE {
        if let Some(Value::Object(inner)) = schema.get_mut(key) {
            visit(inner);
        }
    }
}

/// Adds `other` to `schema`; where both say something, `other` does.
pub(crate) fn merge(schema: &mut Map<String, Value>, other: Map<String, Value>) {
    for (key, value) in other {
        match (schema.get_mut(&key), value) {
            (Some(Value::Object(mine)), Value::Object(value)) => merge(mine, value),
            (Some(Value::Array(mine)), Value::Array(values)) if key == "required" => {
                mine.extend(values);
                mine.sort_by_key(Value::to_string);
                mine.dedup();
            }
            (_, value) => {
                schema.insert(key, value);
            }
        }
    }
}

/// The paths of the properties that have no description.
pub(crate) fn undescribed(path: &str, schema: &Map<String, Value>) -> Vec<String> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut found = Vec::new();
    for (key, value) in properties {
        let path = format!("{path}.{key}");
        let Some(value) = value.as_object() else { continue };
        if !value.contains_key("description") {
            found.push(path.clone());
        }
        found.extend(undescribed(&path, value));
    }
    for key in ONE {
        if let Some(Value::Object(inner)) = schema.get(key) {
            found.extend(undescribed(&format!("{path}[]"), inner));
        }
    }
    found
}
