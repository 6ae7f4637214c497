//! Plugins that break one rule each (`src/bin/broken-plugin`): the suite catches every one, by the case of that rule.

use std::path::Path;
use std::process::{Command, Stdio};

use ferrule_tests::Binaries;
use serde_json::{Value, json};

use crate::{Outcome, Plugins, at_once, cnitool};

const PROGRAM: &str = env!("CARGO_BIN_EXE_broken-plugin");

/// A case that hardly any of them fails: they are plugins that break one rule, not plugins that do not run.
const CONTROL: &str = "protocol/version-of-input";

/// The good plugins that they are otherwise, by class.
const GOOD: [(&str, &str); 3] = [("interface", "bridge"), ("chained", "tuning"), ("ipam", "host-local")];

fn run(name: &str, class: &str, cnitool: &Path, cases: &[&str]) -> Outcome {
    let binaries = Binaries::ours().unwrap();
    let (_, good) = GOOD.into_iter().find(|(known, _)| *known == class).unwrap();
    let mut plugins = Plugins::new().with(name, Path::new(PROGRAM)).with(good, &binaries.plugin(good));
    if name == "broken-hang" {
        plugins.limit = 3;
    }
    let config = match class {
        "interface" => json!({"bridge": "cni0", "isGateway": true, "ipam": {"type": "conformance-ipam"}}),
        "chained" => json!({"mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}),
        _ => json!({"ipam": {"type": name, "subnet": "10.77.0.0/16"}}),
    };
    plugins.run(cnitool, &[name], Some(&json!([{"type": name, "class": class, "config": config}])), cases)
}

#[test]
fn every_broken_plugin_is_caught_by_the_case_of_its_rule() {
    let Some(cnitool) = cnitool() else { return };
    let table = Command::new(PROGRAM).stdin(Stdio::null()).output().unwrap();
    let table: Vec<Value> = serde_json::from_slice(&table.stdout).unwrap();
    assert!(table.len() > 60, "{}", table.len());
    let wrong = at_once(&table, |broken| {
        let text = |key: &str| broken[key].as_str().unwrap();
        let wanted: Vec<&str> =
            broken["caughtBy"].as_array().unwrap().iter().map(|case| case.as_str().unwrap()).collect();
        let cases: Vec<&str> = wanted.iter().copied().chain([CONTROL]).collect();
        let outcome = run(&format!("broken-{}", text("name")), text("class"), &cnitool, &cases);
        let caught = outcome.cases("fail");
        (caught != wanted.iter().copied().collect())
            .then(|| format!("{}, which {}, is caught by {caught:?}, not by {wanted:?}", text("name"), text("does")))
    });
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same program without a fault, which logs more than a pipe holds.
#[test]
fn the_unbroken_plugin_passes() {
    let Some(cnitool) = cnitool() else { return };
    let outcomes =
        at_once(&GOOD, |(class, _)| run(&format!("sound-{class}"), class, &cnitool, &["protocol", "verbs", "chain"]));
    for outcome in outcomes {
        assert!(outcome.cases("pass").len() > 30 && outcome.exit_code == Some(0), "{}", outcome.problems());
        assert!(outcome.cases("fail").is_empty() && outcome.cases("error").is_empty(), "{}", outcome.problems());
    }
}
