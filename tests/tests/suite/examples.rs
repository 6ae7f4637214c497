//! The plugins of docs/conformance.md in Go, Rust and shell pass all cases that are for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use ferrule_tests::{installed, skip};
use serde_json::Value;

use crate::{Plugins, cnitool, root};

/// The profiles in a file of `conformance/examples`.
fn profiles(file: &str) -> Value {
    let path = root().join("conformance/examples").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn assert_passes(name: &str, program: &Path, file: &str) {
    let Some(cnitool) = cnitool() else { return };
    let groups = ["protocol", "verbs", "chain"];
    let outcome = Plugins::new().with(name, program).run(&cnitool, &[name], Some(&profiles(file)), &groups);
    assert!(outcome.cases("pass").len() > 30 && outcome.exit_code == Some(0), "{}", outcome.problems());
    assert!(outcome.cases("fail").is_empty(), "{}", outcome.problems());
}

#[test]
fn in_shell() {
    if installed(&["jq"]) {
        assert_passes("search-domain", &root().join("conformance/examples/shell/search-domain"), "search-domain.json");
    }
}

#[test]
fn in_go() {
    if !installed(&["go"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("search-domain");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(root().join("conformance/examples/go"));
    let output = build.env("CGO_ENABLED", "0").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_passes("search-domain", &program, "search-domain.json");
}

#[test]
fn in_rust() {
    // `cargo test --workspace` builds the examples before it runs tests; with this test alone, somebody must.
    let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_broken-plugin")).with_file_name("examples").join("plugin");
    if !program.exists() {
        return skip("the example of libcni is not built (hint: cargo build -p libcni --example plugin)");
    }
    assert_passes("plugin", &program, "add-routes.json");
}
