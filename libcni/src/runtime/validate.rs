//! Whether the plugins of a network are there and speak its version.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::exec::ExecError;
use crate::json;
use crate::plugin::Verb;
use crate::runtime::Runtime;
use crate::runtime::conflist::NetworkList;
use crate::runtime::error::{PluginFault, RuntimeError};
use crate::runtime::invoke::failed;
use crate::version::SpecVersion;

/// A plugin's answer to VERSION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginVersions {
    /// `supportedVersions`, in the plugin's order; it may know versions that this crate does not.
    pub supported: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reply {
    cni_version: Option<String>,
    supported_versions: Option<Vec<String>>,
}

impl PluginVersions {
    /// Whether `version` is one of them.
    #[must_use]
    pub fn supports(&self, version: SpecVersion) -> bool {
        self.supported.iter().any(|v| v == version.as_str())
    }

    fn of(versions: &[&str]) -> Self {
        Self { supported: versions.iter().map(|v| (*v).to_owned()).collect() }
    }

    /// Plugins of 0.2.0 name no list; a list may say it all.
    fn parse(stdout: &[u8]) -> Result<Self, String> {
        let value: Value = json::parse(stdout).map_err(|e| e.to_string())?;
        let reply: Reply = json::decode(&value).map_err(|e| e.to_string())?;
        match (reply.cni_version.as_deref(), reply.supported_versions) {
            (_, Some(supported)) if !supported.is_empty() => Ok(Self { supported }),
            (Some("0.2.0"), _) => Ok(Self::of(&["0.1.0", "0.2.0"])),
            (None | Some(""), _) => Err("decoding version info: missing field cniVersion".to_owned()),
            (Some(_), _) => Err("decoding version info: missing field supportedVersions".to_owned()),
        }
    }
}

impl Runtime {
    /// VERSION of the plugin of this type. A plugin that does not know the verb is of specification 0.1.0.
    ///
    /// # Errors
    /// [`PluginFault`].
    pub fn plugin_versions(&self, plugin_type: &str) -> Result<PluginVersions, PluginFault> {
        // Some old plugins want these set, though VERSION is about no attachment.
        let env = ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]
            .into_iter()
            .fold(self.environment(Verb::Version, None), |env, key| env.with(key, "dummy"));
        let stdin = json!({"cniVersion": SpecVersion::LATEST}).to_string();
        match self.run(Verb::Version, plugin_type, &env, stdin.as_bytes()) {
            Ok(stdout) => PluginVersions::parse(&stdout).map_err(|problem| PluginFault::Result {
                problem,
                stdout: String::from_utf8_lossy(&stdout).trim().to_owned(),
            }),
            Err(PluginFault::Exec(ExecError::Reply(reply))) if reply.msg == "unknown CNI_COMMAND: VERSION" => {
                Ok(PluginVersions::of(&["0.1.0"]))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether each plugin of `list` is there and supports its version. Gives the capabilities that they declare.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn validate(&self, list: &NetworkList) -> Result<BTreeSet<String>, RuntimeError> {
        let mut failures = Vec::new();
        let mut asked = BTreeSet::new();
        for plugin in list.plugins.iter().filter(|plugin| asked.insert(&plugin.plugin_type)) {
            match self.plugin_versions(&plugin.plugin_type) {
                Ok(versions) if versions.supports(list.cni_version) => {}
                Ok(PluginVersions { supported }) => failures.push(RuntimeError::Incompatible {
                    plugin_type: plugin.plugin_type.clone(),
                    version: list.cni_version,
                    supported,
                }),
                Err(fault) => failures.push(failed(plugin, Verb::Version, fault)),
            }
        }
        RuntimeError::of_all(failures)?;
        Ok(list.plugins.iter().flat_map(|plugin| plugin.capabilities.iter().cloned()).collect())
    }
}
