//! What is known of a plugin before it is tested: its class, and a configuration that it must accept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::case::{Class, Feature, Trait};
use crate::catalog::CatalogError;
use crate::step::Change;

/// The recording IPAM plugin of this suite, which every node has in `CNI_PATH`.
pub const RECORDING_IPAM: &str = "conformance-ipam";

/// An entry of `plugins.json`, or of a file given with `--config`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// The type: the name of the binary.
    #[serde(rename = "type")]
    pub plugin_type: String,
    /// Its class.
    pub class: Class,
    /// The smallest configuration that it accepts, without `type`, `name` and `cniVersion`. In strings of a
    /// container's wishes and here `${n}` is the container's number.
    #[serde(default)]
    pub config: Value,
    /// `CNI_IFNAME`, where only one will do.
    pub ifname: Option<String>,
    /// What is asked for each container.
    #[serde(default)]
    pub capabilities: Value,
    /// What the kernel must have.
    #[serde(default)]
    pub needs: Vec<Feature>,
    /// What it cannot do of what plugins of its class can.
    #[serde(default)]
    pub without: Vec<Trait>,
    /// Files that must be there, and their text.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, String>,
    /// What is done to the node before.
    #[serde(default)]
    pub prepare: Vec<Change>,
    /// Why it cannot be tested by itself.
    pub skip: Option<String>,
}

impl Profile {
    /// The entries of a file: a list of profiles, a network configuration, or a configuration list.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn all_of(file: &str, text: &str) -> Result<Vec<Self>, CatalogError> {
        let fault = |problem: String| CatalogError { file: file.to_owned(), problem };
        let value: Value = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        match value {
            Value::Array(_) => serde_json::from_value(value).map_err(|e| fault(e.to_string())),
            Value::Object(mut object) if object.contains_key("plugins") => {
                let plugins = object.remove("plugins").and_then(|list| match list {
                    Value::Array(plugins) => Some(plugins),
                    _ => None,
                });
                let plugins = plugins.ok_or_else(|| fault("plugins: expected a list".to_owned()))?;
                let configs = plugins.into_iter().enumerate();
                configs.map(|(at, config)| Self::of_config(config, at == 0).map_err(fault)).collect()
            }
            config => Self::of_config(config, true).map(|profile| vec![profile]).map_err(fault),
        }
    }

    /// A plugin of which somebody gave the configuration: the first of a list makes the interface, the others change it.
    fn of_config(mut config: Value, is_first: bool) -> Result<Self, String> {
        let object = config.as_object_mut().ok_or("expected a list of profiles, or a network configuration")?;
        let plugin_type = object.remove("type").as_ref().and_then(Value::as_str).map(str::to_owned);
        let plugin_type = plugin_type.ok_or("type: expected the type of the plugin")?;
        for key in ["name", "cniVersion", "cniVersions"] {
            object.remove(key);
        }
        let class = if is_first { Class::Interface } else { Class::Chained };
        Ok(Self { config, ..Self::of_class(plugin_type, class) })
    }

    /// A plugin that nothing is known of: it is taken for one that makes an interface and delegates to IPAM.
    #[must_use]
    pub fn unknown(plugin_type: &str) -> Self {
        let config = json!({"ipam": {"type": RECORDING_IPAM}});
        Self { config, ..Self::of_class(plugin_type.to_owned(), Class::Interface) }
    }

    fn of_class(plugin_type: String, class: Class) -> Self {
        Self {
            plugin_type,
            class,
            config: json!({}),
            ifname: None,
            capabilities: Value::Null,
            needs: Vec::new(),
            without: Vec::new(),
            files: BTreeMap::new(),
            prepare: Vec::new(),
            skip: None,
        }
    }

    /// Whether the plugin has a trait.
    #[must_use]
    pub fn has(&self, wanted: Trait) -> bool {
        let ipam = self.config.pointer("/ipam/type").and_then(Value::as_str);
        let by_nature = match (wanted, self.class) {
            (Trait::Many, _) => true,
            (Trait::Ipam, Class::Interface) => ipam == Some(RECORDING_IPAM),
            (Trait::Addresses, Class::Interface) => ipam.is_some(),
            (Trait::Addresses, Class::Ipam) | (Trait::Link, Class::Interface) => true,
            (Trait::Link | Trait::Ipam | Trait::Addresses, _) => false,
        };
        by_nature && !self.without.contains(&wanted)
    }

    /// The configuration of this plugin as it stands in a list.
    #[must_use]
    pub fn plugin_config(&self) -> Value {
        let mut config = if self.config.is_object() { self.config.clone() } else { json!({}) };
        if let Some(object) = config.as_object_mut() {
            // An IPAM plugin is called with the configuration of the one that delegates to it.
            let listed = if self.class == Class::Ipam { "bridge" } else { &self.plugin_type };
            object.insert("type".to_owned(), listed.into());
        }
        config
    }
}
