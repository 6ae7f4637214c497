//! Findings as SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), which editors and code hosts show.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::validate::Report;
use crate::validate::finding::{Finding, Rule};
use crate::validate::network::File;
use crate::validate::rules;

/// A log file (section 3.13) with one run (3.14).
pub(crate) fn of(report: &Report<'_>) -> Value {
    let all: Vec<&Rule> = rules::all().collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .filter_map(|finding| {
            let index = all.iter().position(|rule| rule.code == finding.rule.code)?;
            Some(result(finding, report.files.get(finding.file)?, index))
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "cnitool validate",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": all.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            // Without it columns count UTF-16 code units.
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A reporting descriptor (3.49).
fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": sentence(rule.summary)},
        "fullDescription": {"text": sentence(rule.why)},
        "help": {"text": sentence(rule.cure)},
        "defaultConfiguration": {"level": rule.severity.as_str()},
    })
}

/// A result (3.27).
fn result(finding: &Finding, file: &File, rule_index: usize) -> Value {
    let text = format!("{} {}", sentence(&finding.problem), sentence(&finding.cure));
    let mut physical = Map::new();
    physical.insert("artifactLocation".to_owned(), json!({"uri": uri(&file.path)}));
    if !file.text.is_empty() {
        let (start, end) = (file.lines().place(finding.span.start), file.lines().place(finding.span.end));
        let region = json!({
            "startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column,
        });
        physical.insert("region".to_owned(), region);
    }
    let mut location = Map::new();
    location.insert("physicalLocation".to_owned(), Value::Object(physical));
    if let Some(path) = file.root().and_then(|root| root.path_to(&finding.span)).filter(|path| !path.is_empty()) {
        location.insert("logicalLocations".to_owned(), json!([{"fullyQualifiedName": path}]));
    }
    json!({
        "ruleId": finding.rule.code,
        "ruleIndex": rule_index,
        "level": finding.rule.severity.as_str(),
        "message": {"text": text},
        "locations": [location],
    })
}

/// SARIF wants sentences (3.11.3).
fn sentence(text: &str) -> String {
    let end = if text.ends_with(['?', '.', '!']) { "" } else { "." };
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}{end}", chars.as_str())
}

/// The path as a URI reference (3.4.3, RFC 3986): absolute ones with their scheme.
fn uri(path: &Path) -> String {
    let mut text = String::from(if path.is_absolute() { "file://" } else { "" });
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uri_references() {
        assert_eq!(uri(Path::new("/etc/cni/net.d/10 a#.conflist")), "file:///etc/cni/net.d/10%20a%23.conflist");
        assert_eq!(uri(Path::new("net.d/ä.conf")), "net.d/%C3%A4.conf");
    }
}
