//! A DaemonSet as `kubectl apply -k` makes it of a directory of deploy/: resources, JSON patches, the files of its ConfigMap.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// A DaemonSet, and what it mounts as its ConfigMap.
#[derive(Clone, Debug)]
pub(super) struct DaemonSet {
    manifest: Value,
    /// By name.
    pub(super) files: BTreeMap<String, String>,
}

impl DaemonSet {
    /// Reads `deploy/DIR`.
    pub(super) fn of(dir: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        Self::kustomized(&root.join(dir)).unwrap_or_else(|| panic!("deploy/{dir}: no DaemonSet"))
    }

    fn kustomized(dir: &Path) -> Option<Self> {
        let kustomization = documents(&dir.join("kustomization.yaml")).remove(0);
        let resources = strings(&kustomization["resources"]).into_iter().map(|name| dir.join(name));
        let mut set = resources.into_iter().find_map(|path| Self::resource(&path))?;
        for name in list(&kustomization["configMapGenerator"]).iter().flat_map(|map| strings(&map["files"])) {
            set.files.insert(name.to_owned(), read(&dir.join(name)));
        }
        for patch in list(&kustomization["patches"]) {
            assert_eq!(patch["target"]["kind"], "DaemonSet", "{}", dir.display());
            assert_eq!(patch["target"]["name"], set.manifest["metadata"]["name"], "{}", dir.display());
            let operations: Value = serde_saphyr::from_str(patch["patch"].as_str().expect("a patch")).expect("YAML");
            for operation in list(&operations) {
                apply(&mut set.manifest, operation);
            }
        }
        Some(set)
    }

    fn resource(path: &Path) -> Option<Self> {
        if path.is_dir() {
            return Self::kustomized(path);
        }
        let manifest = documents(path).into_iter().find(|document| document["kind"] == "DaemonSet")?;
        Some(Self { manifest, files: BTreeMap::new() })
    }

    /// What its pods are.
    pub(super) fn pod(&self) -> &Value {
        &self.manifest["spec"]["template"]["spec"]
    }

    pub(super) fn name(&self) -> &str {
        self.manifest["metadata"]["name"].as_str().expect("a name")
    }
}

/// An operation of RFC 6902.
fn apply(document: &mut Value, operation: &Value) {
    let at = |key: &str| operation[key].as_str().unwrap_or_else(|| panic!("{operation}: no {key}")).to_owned();
    let (path, kind) = (at("path"), at("op"));
    let value = match kind.as_str() {
        "copy" => document.pointer(&at("from")).unwrap_or_else(|| panic!("{operation}: nothing there")).clone(),
        _ => operation["value"].clone(),
    };
    let (parent, key) = path.rsplit_once('/').expect("a path");
    let key = key.replace("~1", "/").replace("~0", "~");
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("{operation}: nothing there"));
    match (parent, kind.as_str()) {
        (Value::Object(map), "add" | "copy") => drop(map.insert(key, value)),
        (Value::Object(map), "replace") => {
            assert!(map.insert(key, value).is_some(), "{operation}: nothing to replace");
        }
        (Value::Object(map), "remove") => assert!(map.remove(&key).is_some(), "{operation}: nothing to remove"),
        (Value::Array(list), "add" | "copy") => list.insert(key.parse().expect("an index"), value),
        (Value::Array(list), "replace") => list[key.parse::<usize>().expect("an index")] = value,
        _ => panic!("{operation}: not understood"),
    }
}

fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// An array; what is not there is empty.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of an array.
pub(super) fn strings(value: &Value) -> Vec<&str> {
    list(value).iter().map(|text| text.as_str().expect("text")).collect()
}
