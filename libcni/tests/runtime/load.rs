//! Networks in a configuration directory.

use libcni::SpecVersion;
use libcni::runtime::{ConflistError, LoadError, NetworkList, Networks, find_network};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::bed::{Bed, damaged};

fn conflist(name: &str, plugin: &str) -> String {
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": plugin}]}).to_string()
}

fn fault(text: &str) -> String {
    libcni::error::causes(Some(&NetworkList::from_bytes(text.as_bytes()).unwrap_err()))
}

#[test]
fn lists_come_before_single_plugins_and_each_sorted() {
    let bed = Bed::new();
    bed.write("net.d/1.conf", json!({"name": "net", "type": "single"}).to_string());
    bed.write("net.d/9.conflist", conflist("net", "list9"));
    bed.write("net.d/8.conflist", conflist("net", "list8"));
    bed.write("net.d/7.json", json!({"name": "only", "cniVersion": "0.3.1", "type": "json", "n": 1.10}).to_string());
    bed.write("net.d/6.txt", "not looked at");
    let found = find_network(&bed.path("net.d"), "net").unwrap();
    assert_eq!(found.path, bed.path("net.d/8.conflist"));
    assert_eq!(found.list.plugins[0].plugin_type, "list8");
    let only = find_network(&bed.path("net.d"), "only").unwrap().list;
    assert_eq!(only.cni_version, SpecVersion::V0_3_1);
    // What the cache keeps of it is a list.
    let again = NetworkList::from_bytes(only.bytes()).unwrap();
    assert_eq!(again.plugins[0].plugin_type, "json");
    assert!(String::from_utf8_lossy(only.bytes()).contains("\"n\":1.1"));
}

#[test]
fn a_malformed_file_does_not_hide_the_others() {
    let bed = Bed::new();
    bed.write("net.d/1.conflist", "{");
    bed.write("net.d/2.conflist", json!({"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": 7}]}).to_string());
    bed.write("net.d/3.conf", json!({"name": "x", "plugins": []}).to_string());
    std::os::unix::fs::symlink("/nowhere", bed.path("net.d/4.conflist")).unwrap();
    std::fs::create_dir(bed.path("net.d/5.conflist")).unwrap();
    bed.write("net.d/6.conflist", conflist("net", "first"));
    let found = find_network(&bed.path("net.d"), "net").unwrap();
    assert_eq!(found.path, bed.path("net.d/6.conflist"));
    let skipped: Vec<String> = found.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(skipped.len(), 4, "{skipped:#?}");
    assert!(
        skipped[0].contains("1.conflist: network configuration is no valid JSON: line 1, column 1"),
        "{skipped:#?}"
    );
    assert!(skipped[1].ends_with("plugins[0].type: invalid value 7, expected a plugin's type"), "{skipped:#?}");
    assert!(skipped[2].contains("4.conflist"), "{skipped:#?}");
    assert!(skipped[3].contains("hint: a list of plugins belongs in a .conflist file"), "{skipped:#?}");
    let text = find_network(&bed.path("net.d"), "other").unwrap_err().to_string();
    assert!(
        text.starts_with("no net configuration with name \"other\" in ") && text.contains("plugins[0].type"),
        "{text}"
    );
}

#[test]
fn an_empty_and_a_missing_directory_have_no_networks() {
    let bed = Bed::new();
    for dir in ["answers", "nowhere"] {
        assert!(matches!(find_network(&bed.path(dir), "net"), Err(LoadError::Empty(_))));
        assert!(Networks::read(&bed.path(dir)).unwrap().lists.is_empty());
    }
}

#[test]
fn drop_ins_follow_the_plugins_of_the_list() {
    let bed = Bed::new();
    let path = bed.write("net.d/1.conflist", conflist("net", "first"));
    bed.write("net.d/net/20.conf", "{\"type\": \"third\", \"big\": 9007199254740993}");
    bed.write("net.d/net/10.conf", "{\"type\": \"second\"}");
    bed.write("net.d/net/30.conflist", "not looked at");
    let types = |list: &NetworkList| list.plugins.iter().map(|p| p.plugin_type.clone()).collect::<Vec<_>>();
    let list = NetworkList::from_file(&path).unwrap();
    assert_eq!(types(&list), ["first", "second", "third"]);
    assert!(list.has_drop_ins());
    let again = NetworkList::from_bytes(list.bytes()).unwrap();
    assert_eq!(types(&again), types(&list), "the cache has all of them");
    assert!(again.load_only_inlined_plugins);
    assert!(String::from_utf8_lossy(list.bytes()).contains("9007199254740993"));

    bed.write("net.d/net/10.conf", "{\"type\": 1}");
    let fault = NetworkList::from_file(&path).unwrap_err();
    assert!(matches!(fault, ConflistError::DropIn { .. }), "a network without one of its plugins is another network");

    let mut only: Value = serde_json::from_str(&conflist("net", "first")).unwrap();
    only["loadOnlyInlinedPlugins"] = "TRUE".into();
    bed.write("net.d/1.conflist", only.to_string());
    assert_eq!(types(&NetworkList::from_file(&path).unwrap()), ["first"]);
}

#[test]
fn a_list_of_drop_ins_alone_needs_no_plugins() {
    let bed = Bed::new();
    let path = bed.write("net.d/1.conflist", json!({"cniVersion": "1.0.0", "name": "net"}).to_string());
    let text = NetworkList::from_file(&path).unwrap_err().to_string();
    assert!(text.starts_with("no plugin configs found in the list or in "), "{text}");
    bed.write("net.d/net/1.conf", "{\"type\": \"first\"}");
    assert_eq!(NetworkList::from_file(&path).unwrap().plugins.len(), 1);
}

#[test]
fn the_newest_version_there_is_gets_chosen() {
    let version = |head: Value| {
        let mut value: Value = serde_json::from_str(&conflist("net", "first")).unwrap();
        for (key, new) in head.as_object().unwrap() {
            value[key] = new.clone();
        }
        NetworkList::from_bytes(value.to_string().as_bytes())
            .map(|l| l.cni_version.to_string())
            .map_err(|e| libcni::error::causes(Some(&e)))
    };
    assert_eq!(version(json!({"cniVersion": null})).unwrap(), "0.1.0");
    assert_eq!(version(json!({"cniVersions": ["0.4.0", "1.1.0", "99.0.0"]})).unwrap(), "1.1.0");
    assert_eq!(version(json!({"cniVersions": ["0.4.0"]})).unwrap(), "1.0.0");
    assert_eq!(version(json!({"cniVersions": ["0.3.1", "0.4.0"], "cniVersion": "2.0.0"})).unwrap(), "0.4.0");
    assert_eq!(version(json!({"cniVersions": []})).unwrap(), "1.0.0");
    for (head, problem) in [
        (
            json!({"cniVersion": "1.2.0"}),
            "cniVersion: invalid value \"1.2.0\", expected a CNI version from 0.1.0 to 1.1.0",
        ),
        (json!({"cniVersion": 1}), "cniVersion: invalid value 1, expected a version such as \"1.0.0\""),
        (json!({"cniVersions": "1.0.0"}), "cniVersions: invalid value \"1.0.0\", expected a list of versions"),
        (
            json!({"cniVersions": ["1.0.0", "x"]}),
            "cniVersions[1]: invalid value \"x\", expected a version such as \"1.0.0\"",
        ),
        (json!({"cniVersions": [1]}), "cniVersions[0]: invalid value 1, expected a version such as \"1.0.0\""),
        (
            json!({"cniVersion": "", "cniVersions": ["7.0.0"]}),
            "cniVersions: invalid value [\"7.0.0\"], expected at least one version from 0.1.0 to 1.1.0",
        ),
    ] {
        assert_eq!(version(head).unwrap_err(), format!("invalid network configuration: {problem}"));
    }
}

#[test]
fn faults_name_the_field_the_value_and_what_was_expected() {
    for (text, problem) in [
        ("[]", "invalid value [], expected an object"),
        ("{}", "name: missing, expected a network name"),
        (r#"{"name": 7}"#, "name: invalid value 7, expected a network name"),
        (
            r#"{"name": "../x"}"#,
            "name: invalid value \"../x\", expected a network name (invalid characters found in network name)",
        ),
        (r#"{"name": "n", "plugins": {}}"#, "plugins: invalid value {}, expected a list of at least one plugin"),
        (r#"{"name": "n", "plugins": []}"#, "plugins: invalid value [], expected a list of at least one plugin"),
        (r#"{"name": "n", "plugins": ["x"]}"#, "plugins[0]: invalid value \"x\", expected an object"),
        (r#"{"name": "n", "plugins": [{"type": "a"}, {}]}"#, "plugins[1].type: missing, expected a plugin's type"),
        (
            r#"{"name": "n", "plugins": [{"type": "a", "capabilities": {"x": 1}}]}"#,
            "plugins[0].capabilities.x: invalid value 1, expected a boolean",
        ),
        (
            r#"{"name": "n", "disableCheck": "no", "plugins": [{"type": "a"}]}"#,
            "disableCheck: invalid value \"no\", expected true or false",
        ),
        (
            r#"{"name": "n", "disableGC": 1, "plugins": [{"type": "a"}]}"#,
            "disableGC: invalid value 1, expected true or false",
        ),
        (
            r#"{"name": "n", "loadOnlyInlinedPlugins": true}"#,
            "plugins: missing, expected a list of at least one plugin",
        ),
    ] {
        assert_eq!(fault(text), format!("invalid network configuration: {problem}"), "{text}");
    }
    assert_eq!(fault(r#"{"name": "n"}"#), "no plugin configs found");
    assert!(fault("{\"name\": \"n\",\n}").starts_with("network configuration is no valid JSON: line 2, column 1"));
}

const VALID: &str = r#"{"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.1.0"], "name": "net", "disableGC": "false",
    "plugins": [{"type": "first", "capabilities": {"ips": true}, "n": 1.10}, {"type": "second", "ipam": {}}]}"#;

#[test]
fn a_plugin_nested_too_deep_to_be_kept_is_refused() {
    let nested =
        |depth| format!("{{\"name\": \"n\", \"type\": \"t\", \"x\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(NetworkList::from_plugin_bytes(nested(100).as_bytes()).is_ok());
    assert!(NetworkList::from_plugin_bytes(nested(126).as_bytes()).is_err());
    assert!(NetworkList::from_plugin_bytes(nested(100_000).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_list_or_a_fault(bytes in prop_oneof![damaged(VALID), any::<Vec<u8>>()]) {
        for list in [NetworkList::from_bytes(&bytes), NetworkList::from_plugin_bytes(&bytes)].into_iter().flatten() {
            prop_assert!(!list.plugins.is_empty());
            let again = NetworkList::from_bytes(list.bytes()).unwrap();
            prop_assert_eq!(again.name, list.name);
        }
    }

    #[test]
    fn damaged_files_never_hide_the_good_one(files in prop::collection::vec(damaged(VALID), 1..4)) {
        let bed = Bed::new();
        for (i, bytes) in files.iter().enumerate() {
            bed.write(&format!("net.d/{i}.conflist"), bytes);
            bed.write(&format!("net.d/{i}.conf"), bytes);
        }
        bed.write("net.d/9.conflist", conflist("good", "first"));
        let networks = Networks::read(&bed.path("net.d")).unwrap();
        prop_assert_eq!(networks.lists.len() + networks.skipped.len(), 2 * files.len() + 1);
        prop_assert!(find_network(&bed.path("net.d"), "good").is_ok());
    }
}
