//! Tables in docs/ that are made of data: `UPDATE_DOCS=1 cargo test -p ferrule-tests --test suite documents` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use libcni::store::write_atomic;
use serde::Deserialize;
use serde_json::Value;

use crate::{cnitool, root};

/// Why some of the Go plugins fail some cases: an entry of `conformance/reference.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cause {
    /// What they do, in words.
    cause: String,
    /// The plugins that fail, by case; none for a case that names its plugins itself.
    fails: BTreeMap<String, Vec<String>>,
}

fn cases(cnitool: &Path) -> Vec<Value> {
    let output = Command::new(cnitool).args(["conformance", "--list", "--format", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares what stands between the markers `<!-- NAME -->` and `<!-- end of NAME -->` of a document.
fn assert_stands(document: &str, name: &str, wanted: &str) {
    let path = root().join("docs").join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{document} has no {begin}"));
    let (stands, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{document} has no {end}"));
    if stands != wanted && std::env::var_os("UPDATE_DOCS").is_some() {
        write_atomic(&path, format!("{before}{begin}{wanted}{end}{after}").as_bytes(), 0o644).unwrap();
        return;
    }
    assert_eq!(stands, wanted, "{document} is out of date (hint: UPDATE_DOCS=1)");
}

#[test]
fn the_table_of_the_cases_is_complete() {
    let Some(cnitool) = cnitool() else { return };
    let mut table = "| case | level | the rule | section |\n| --- | --- | --- | --- |\n".to_owned();
    for case in &cases(&cnitool) {
        let text = |key: &str| case[key].as_str().unwrap().replace('|', "\\|");
        writeln!(table, "| `{}` | {} | {} | {} |", text("case"), text("level"), text("about"), text("section"))
            .unwrap();
    }
    assert_stands("conformance-cases.md", "cases", &table);
}

#[test]
fn the_failures_of_the_go_plugins_are_written_up() {
    let Some(cnitool) = cnitool() else { return };
    let known = cases(&cnitool);
    let text = std::fs::read(root().join("conformance/reference.json")).unwrap();
    let causes: Vec<Cause> = serde_json::from_slice(&text).unwrap();
    let mut seen = BTreeSet::new();
    let mut table = "| the Go plugins | fail | which |\n| --- | --- | --- |\n".to_owned();
    for cause in causes {
        for (case, plugins) in &cause.fails {
            assert!(known.iter().any(|known| known["case"] == case.as_str()), "{case} is no case");
            for plugin in plugins {
                assert!(seen.insert((case.clone(), plugin.clone())), "{case} of {plugin} has two causes");
            }
        }
        let cases: Vec<String> = cause.fails.keys().map(|case| format!("`{case}`")).collect();
        let mut plugins: Vec<String> = cause.fails.into_values().flatten().collect();
        plugins.sort();
        plugins.dedup();
        writeln!(table, "| {} | {} | {} |", cause.cause, cases.join(", "), plugins.join(", ")).unwrap();
    }
    assert_stands("compatibility.md", "reference.json", &table);
}
