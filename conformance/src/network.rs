//! A configuration list, run as a container runtime runs it (specification, "Section 3: Execution of Network
//! Configurations"). Written anew rather than borrowed from `libcni::runtime`: the suite tells exactly what it sent, and
//! sends what no runtime would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::call::Execution;
use crate::case::VERSIONS;
use crate::node::Container;
use crate::sandbox;
use crate::step::Call;

/// The key of GC's list, and the name that older runtimes give it.
const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// A network of plugins.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// The configuration list.
    pub(crate) conflist: Value,
    pub(crate) version: String,
    /// Where the plugins under test lie.
    pub(crate) bin_dir: PathBuf,
    /// `PATH` of the plugins.
    pub(crate) path: String,
    /// `CNI_IFNAME`.
    pub(crate) ifname: String,
    /// The executable is the IPAM plugin that the configuration names, not the plugin of its type.
    pub(crate) is_ipam: bool,
}

impl Network {
    /// The plugins of the list.
    pub(crate) fn plugins(&self) -> &[Value] {
        self.conflist.get("plugins").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The value of `CNI_PATH`.
    pub(crate) fn search_path(&self) -> String {
        format!("{}:{}", self.bin_dir.display(), sandbox::OWN_PLUGINS)
    }

    /// The executable of a plugin of the list.
    fn program(&self, plugin: &Value) -> PathBuf {
        let own = plugin.get("type").and_then(Value::as_str).unwrap_or_default();
        let ipam = plugin.pointer("/ipam/type").and_then(Value::as_str);
        let name = if self.is_ipam { ipam.unwrap_or(own) } else { own };
        let program = self.bin_dir.join(name);
        if program.exists() { program } else { Path::new(sandbox::OWN_PLUGINS).join(name) }
    }

    /// One verb of one plugin, for a container or none.
    pub(crate) fn execution(
        &self,
        verb: &str,
        plugin: &Value,
        container: Option<&Container>,
        changes: &Call,
        valid: Option<&Value>,
    ) -> Execution {
        let program = self.program(plugin);
        let name = format!("{} {verb}", program.file_name().unwrap_or_default().display());
        let mut env = self.environment(verb, container, changes);
        for (key, value) in &changes.env {
            match value {
                Some(value) => drop(env.insert(key.clone(), value.clone())),
                None => drop(env.remove(key)),
            }
        }
        let stdin = match &changes.stdin {
            Some(text) => text.clone(),
            None => {
                let mut config = self.plugin_config(verb, plugin, container, valid);
                merge(&mut config, &changes.config);
                config.to_string()
            }
        };
        Execution { program, arguments: Vec::new(), env, stdin, name }
    }

    fn environment(&self, verb: &str, container: Option<&Container>, changes: &Call) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), self.path.clone()),
            ("CNI_COMMAND".to_owned(), verb.to_owned()),
            ("CNI_PATH".to_owned(), self.search_path()),
        ]);
        if let Some(container) = container {
            env.insert("CNI_CONTAINERID".to_owned(), container.id.clone());
            env.insert("CNI_NETNS".to_owned(), container.netns.display().to_string());
            let ifname = changes.ifname.as_ref().unwrap_or(&self.ifname);
            env.insert("CNI_IFNAME".to_owned(), ifname.clone());
            if !container.args.is_empty() {
                env.insert("CNI_ARGS".to_owned(), container.args.clone());
            }
        }
        env
    }

    /// What a plugin reads from stdin: its object of the list, completed ("Deriving request configuration").
    fn plugin_config(&self, verb: &str, plugin: &Value, container: Option<&Container>, valid: Option<&Value>) -> Value {
        let mut config = plugin.as_object().cloned().unwrap_or_default();
        for key in ["name", "cniVersion"] {
            if let Some(value) = self.conflist.get(key) {
                config.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(result) = container.and_then(|c| c.result.as_ref())
            && (verb == "ADD" || is_at_least(&self.version, "0.4.0"))
        {
            config.insert("prevResult".to_owned(), result.clone());
        }
        if let Some(valid) = valid {
            for key in VALID_ATTACHMENTS {
                config.insert(key.to_owned(), valid.clone());
            }
        }
        let asked = container.and_then(|c| c.capabilities.as_object()).cloned().unwrap_or_default();
        let declared = config.remove("capabilities").unwrap_or_default();
        let granted: Map<String, Value> =
            asked.into_iter().filter(|(name, _)| declared.get(name) == Some(&Value::Bool(true))).collect();
        if !granted.is_empty() {
            config.insert("runtimeConfig".to_owned(), Value::Object(granted));
        }
        Value::Object(config)
    }
}

/// Whether `version` is not older than `other`. Unknown ones are the newest.
pub(crate) fn is_at_least(version: &str, other: &str) -> bool {
    let age = |version: &str| VERSIONS.iter().position(|known| *known == version).unwrap_or(VERSIONS.len());
    age(version) >= age(other)
}

/// An entry of GC's list.
pub(crate) fn attachment(container: &Container, ifname: &str) -> Value {
    json!({"containerID": container.id, "ifname": ifname})
}

/// Applies a JSON merge patch (RFC 7386): objects are merged, `null` removes, everything else replaces. A patch that is
/// `null` as a whole changes nothing.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (_, Value::Null) => {}
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else {
                    merge(target.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, Value::Object(patch)) => {
            *target = Value::Object(Map::new());
            merge(target, &Value::Object(patch.clone()));
        }
        (target, patch) => *target = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_those_of_rfc_7386() {
        let mut value = json!({"a": "b", "c": {"d": 1, "e": 2}, "l": [1]});
        merge(&mut value, &json!({"a": null, "c": {"d": null, "f": {"g": null, "h": 3}}, "l": [2, 3]}));
        assert_eq!(value, json!({"c": {"e": 2, "f": {"h": 3}}, "l": [2, 3]}));
    }

    #[test]
    fn versions_are_ordered() {
        assert!(is_at_least("1.0.0", "0.4.0") && is_at_least("0.4.0", "0.4.0") && !is_at_least("0.3.1", "0.4.0"));
    }
}
