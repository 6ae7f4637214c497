//! `conformance/reference.json`: what the Go plugins fail, and why. What stands there still fails.

use std::collections::{BTreeMap, BTreeSet};

use ferrule_tests::{Binaries, Node};
use serde::Deserialize;

use crate::{Plugins, at_once, cnitool, root};

/// Why some of the Go plugins fail some cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cause {
    /// What they do, in words.
    pub(crate) cause: String,
    /// The plugins that fail, by case.
    pub(crate) fails: BTreeMap<String, Vec<String>>,
}

pub(crate) fn causes() -> Vec<Cause> {
    let text = std::fs::read(root().join("conformance/reference.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn the_go_plugins_fail_what_is_written_up() {
    let (Some(cnitool), Some(reference), Some(_sandbox)) = (cnitool(), Binaries::reference(), Node::start()) else {
        return;
    };
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let all = causes().into_iter().flat_map(|cause| cause.fails);
    // Where plugins are killed at random they may be lucky.
    for (case, plugins) in all.filter(|(case, _)| !case.starts_with("interruption/")) {
        for plugin in plugins {
            assert!(wanted.entry(plugin).or_default().insert(case.clone()), "{case} has two causes");
        }
    }
    let plugins: Vec<(String, BTreeSet<String>)> = wanted.into_iter().collect();
    let wrong = at_once(&plugins, |(plugin, cases)| {
        let names: Vec<&str> = cases.iter().map(String::as_str).collect();
        // Beside it the one that others are chained behind, and delegate to.
        let mut plugins = Plugins::new().with(plugin, &reference.plugin(plugin));
        if plugin != "bridge" {
            plugins = plugins.with("bridge", &reference.plugin("bridge"));
        }
        let outcome = plugins.run(&cnitool, &[plugin], None, &names);
        let passed = outcome.cases("pass");
        (!passed.is_empty()).then(|| format!("{plugin} passes {passed:?}"))
    });
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "conformance/reference.json says that these fail:\n{}", wrong.join("\n"));
}
