//! The keys of a network configuration list that are read in more than one way.

use serde_json::{Map, Value};

use crate::json::FieldError;
use crate::names::{NameError, NetworkName};
use crate::version::{SpecVersion, UnknownVersion};

pub(super) fn name(object: &Map<String, Value>) -> Result<NetworkName, FieldError> {
    match object.get("name") {
        Some(Value::String(text)) => text.parse().map_err(|rule: NameError| {
            FieldError::new("name", Value::from(text.as_str()), format_args!("a network name ({rule})"))
        }),
        other => Err(wrong("name", other, "a network name")),
    }
}

/// The newest of `cniVersions` and `cniVersion` that exists here. An entry for a version yet to come is passed over:
/// that is what the list is for. Without `cniVersions`, `cniVersion` has to be ours.
pub(super) fn version(object: &Map<String, Value>) -> Result<SpecVersion, FieldError> {
    let own = match object.get("cniVersion") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()).filter(|text| !text.is_empty()),
        other => return Err(wrong("cniVersion", other, "a version such as \"1.0.0\"")),
    };
    let entries = match object.get("cniVersions") {
        None | Some(Value::Null) => {
            return own.unwrap_or_default().parse().map_err(|e: UnknownVersion| {
                FieldError::new("cniVersion", Value::from(e.0), "a CNI version from 0.1.0 to 1.1.0")
            });
        }
        Some(Value::Array(entries)) => entries,
        other => return Err(wrong("cniVersions", other, "a list of versions")),
    };
    let mut newest: Option<SpecVersion> = None;
    let listed =
        entries.iter().enumerate().map(|(i, entry)| (format!("cniVersions[{i}]"), Some(entry), entry.as_str()));
    let own = own.map(|text| ("cniVersion".to_owned(), object.get("cniVersion"), Some(text)));
    for (path, value, text) in listed.chain(own) {
        let Some(text) = text.filter(|text| is_version(text)) else {
            return Err(wrong(&path, value, "a version such as \"1.0.0\""));
        };
        newest = newest.max(text.parse().ok());
    }
    newest.ok_or_else(|| wrong("cniVersions", object.get("cniVersions"), "at least one version from 0.1.0 to 1.1.0"))
}

/// One to three whole numbers with dots between.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() <= 3 && parts.iter().all(|p| !p.is_empty() && p.len() <= 9 && p.bytes().all(|b| b.is_ascii_digit()))
}

/// A boolean, or (as the specification allows) the strings "true" and "false" in any case.
pub(super) fn flag(object: &Map<String, Value>, key: &str) -> Result<bool, FieldError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(wrong(key, other, "true or false")),
    }
}

pub(super) fn wrong(path: &str, value: Option<&Value>, expected: &str) -> FieldError {
    match value {
        Some(value) => FieldError::new(path, value, expected),
        None => FieldError { path: path.to_owned(), problem: format!("missing, expected {expected}") },
    }
}
