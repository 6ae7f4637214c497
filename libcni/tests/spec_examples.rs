//! The examples of every version of the CNI specification (SPEC.md), read and written again, and the conversions
//! between the versions.
//!
//! `tests/fixtures/spec-VERSION/` holds them, each file named after its section; what it is stands at the end of the
//! name. Where the specification gives only the schema (the result of 0.1.0 to 0.4.0), the file has values for it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

use libcni::convert;
use libcni::runtime::NetworkList;
use libcni::types::{AddResult, NetworkConfig};
use libcni::{ErrorReply, SpecVersion};
use serde_json::{Value, json};

fn fixtures(dir: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(dir)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents of `version` whose file name ends in `-KIND.json`, with their names.
fn examples(version: SpecVersion, kind: &str) -> Vec<(String, Value)> {
    let dir = fixtures(&format!("spec-{version}"));
    let mut found: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(&format!("-{kind}.json")))
        .map(|path| (path.display().to_string(), read(&path)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// `result` as a writer puts it: with `cniVersion`, and before 1.0.0 with `dns`, as the reference does.
fn as_written(mut result: Value, version: SpecVersion) -> Value {
    let object = result.as_object_mut().unwrap();
    object.insert("cniVersion".into(), version.as_str().into());
    if version < SpecVersion::V1_0_0 {
        object.entry("dns").or_insert_with(|| json!({}));
    }
    result
}

#[test]
fn every_file_is_of_a_kind_that_is_tested() {
    const KINDS: [&str; 5] = ["config", "conflist", "result", "error", "version"];
    for version in SpecVersion::ALL {
        let all = fs::read_dir(fixtures(&format!("spec-{version}"))).unwrap().count();
        let known: usize = KINDS.iter().map(|kind| examples(version, kind).len()).sum();
        assert_eq!(all, known, "{version}");
    }
}

#[test]
fn results_are_written_as_they_were_read() {
    for version in SpecVersion::ALL {
        let results = examples(version, "result");
        assert!(results.len() >= 2, "{version}");
        for (name, example) in results {
            let result = convert::result(&example, version).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_ne!(result, AddResult::default(), "{name}");
            assert_eq!(convert::to_wire(&result, version).unwrap(), as_written(example, version), "{name}");
        }
    }
}

#[test]
fn configurations_are_read_and_their_prev_results_written_as_they_were_read() {
    let mut with_prev_result = 0;
    for version in SpecVersion::ALL {
        let configs = examples(version, "config");
        assert!(configs.len() >= 3, "{version}");
        for (name, example) in configs {
            let config = NetworkConfig::from_value(example.clone()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!(config.cni_version, version, "{name}");
            assert_eq!(config.name.as_str(), example["name"], "{name}");
            assert_eq!(config.plugin_type, example["type"].as_str().unwrap(), "{name}");
            assert_eq!(config.ipam_type.as_deref(), example["ipam"]["type"].as_str(), "{name}");
            let written = config.prev_result.as_ref().map(|result| convert::to_wire(result, version).unwrap());
            let given = example.get("prevResult").map(|prev| as_written(prev.clone(), version));
            assert_eq!(written, given, "{name}");
            with_prev_result += usize::from(given.is_some());
        }
    }
    assert!(with_prev_result >= 20, "{with_prev_result}");
}

#[test]
fn the_attachments_of_gc_are_read() {
    let path = fixtures("spec-1.1.0").join("section-2-gc-config.json");
    let config = NetworkConfig::parse(&fs::read(path).unwrap()).unwrap();
    let valid: Vec<_> = config.valid_attachments.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(valid, ["blue eth0", "green eth1"]);
}

#[test]
fn lists_are_networks_and_their_plugins_configurations() {
    for version in SpecVersion::ALL.into_iter().filter(|v| v.has_interfaces()) {
        let lists = examples(version, "conflist");
        assert_eq!(lists.len(), 1, "{version}");
        for (name, list) in lists {
            let network =
                NetworkList::from_bytes(list.to_string().as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((network.name.as_str(), network.cni_version), ("dbnet", version), "{name}");
            let plugins = list["plugins"].as_array().unwrap();
            assert!(plugins.len() >= 2 && plugins.len() == network.plugins.len(), "{name}");
            for (plugin, read) in plugins.iter().zip(&network.plugins) {
                assert_eq!(plugin["type"], read.plugin_type.as_str(), "{name}");
                let mut config = plugin.clone();
                config["cniVersion"] = list["cniVersion"].clone();
                config["name"] = list["name"].clone();
                let config = NetworkConfig::from_value(config).unwrap_or_else(|e| panic!("{name}: {e:?}"));
                assert_eq!(config.plugin_type, read.plugin_type, "{name}");
            }
        }
    }
}

#[test]
fn errors_are_written_as_they_were_read() {
    for version in SpecVersion::ALL {
        let errors = examples(version, "error");
        assert_eq!(errors.len(), 1, "{version}");
        for (name, example) in errors {
            let reply: ErrorReply = serde_json::from_value(example.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut written = serde_json::to_value(reply).unwrap();
            written["cniVersion"] = version.as_str().into();
            assert_eq!(written, example, "{name}");
        }
    }
}

#[test]
fn the_versions_named_are_ours() {
    for version in SpecVersion::ALL.into_iter().filter(|v| *v > SpecVersion::V0_1_0) {
        let replies = examples(version, "version");
        assert_eq!(replies.len(), 1, "{version}");
        for (name, example) in replies {
            let supported: Vec<SpecVersion> = serde_json::from_value(example["supportedVersions"].clone()).unwrap();
            let until = SpecVersion::ALL.into_iter().filter(|v| *v <= version);
            assert!(supported.into_iter().eq(until), "{name}");
        }
    }
}

/// The file of `tests/fixtures/conversions` for the wire form of `version`.
fn form(version: SpecVersion) -> &'static str {
    match version {
        SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => "ip4-ip6",
        SpecVersion::V0_3_0 | SpecVersion::V0_3_1 | SpecVersion::V0_4_0 => "versioned-ips",
        SpecVersion::V1_0_0 | SpecVersion::V1_1_0 => "newest",
    }
}

#[test]
fn every_version_converts_to_every_version() {
    let read = |name: &str, version: SpecVersion| {
        as_written(self::read(&fixtures("conversions").join(format!("{name}.json"))), version)
    };
    for from in SpecVersion::ALL {
        for to in SpecVersion::ALL {
            let (form_from, form_to) = (form(from), form(to));
            let source = read(form_from, from);
            let expected = match form_from == form_to {
                true => read(form_to, to),
                false => read(&format!("{form_from}-as-{form_to}"), to),
            };
            // The version that the result names counts, not the fallback.
            let result = convert::result(&source, to).unwrap();
            assert_eq!(convert::to_wire(&result, to).unwrap(), expected, "{from} to {to}");
        }
    }
}

#[test]
fn a_result_without_addresses_exists_since_0_3_0() {
    let layer2 = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/var/run/netns/blue"}]});
    let result = convert::result(&layer2, SpecVersion::LATEST).unwrap();
    for version in SpecVersion::ALL {
        match convert::to_wire(&result, version) {
            Ok(written) => assert_eq!(written, as_written(layer2.clone(), version), "{version}"),
            Err(e) => {
                assert!(!version.has_interfaces(), "{version}");
                assert_eq!(e.to_string(), "cannot convert: no valid IP addresses");
            }
        }
    }
}

#[test]
fn keys_are_read_in_any_case() {
    let value =
        json!({"CNIVersion": "0.4.0", "IPs": [{"Version": "4", "ADDRESS": "10.1.0.5/16", "GateWay": "10.1.0.1"}]});
    let result = convert::result(&value, SpecVersion::LATEST).unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.1.0.5/16");
    assert_eq!(result.ips[0].gateway.unwrap().to_string(), "10.1.0.1");
}
