use serde::Deserialize;

use crate::types::{CniArgs, ConfigError, NetworkConfig};

/// The addresses that an attachment asks IPAM for (CONVENTIONS.md, "ips" and `CNI_ARGS`), as they are written and by
/// where they are written. Which of the places wins, and whether a prefix length belongs to an address, is for the
/// IPAM plugin to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedIps {
    /// `IP` of `CNI_ARGS`, a list with commas.
    pub cni_args: Vec<RequestedIp>,
    /// `args.cni.ips` of the configuration.
    pub args: Vec<RequestedIp>,
    /// `runtimeConfig.ips` of the configuration (capability `ips`).
    pub runtime_config: Vec<RequestedIp>,
}

/// One address asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedIp {
    /// Where it stands: `CNI_ARGS`, `args.cni.ips[0]`, `runtimeConfig.ips[0]`.
    pub path: String,
    /// What stands there.
    pub text: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    /// What people ask for on the command line of a runtime.
    args: Args,
    /// What the runtime says.
    runtime_config: Ips,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    /// The arguments of CONVENTIONS.md.
    cni: Ips,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ips {
    /// The addresses asked for (in `runtimeConfig`: capability `ips`).
    #[cfg_attr(test, schemars(schema_with = "schemas::ips"))]
    ips: Vec<String>,
}

impl RequestedIps {
    /// Reads them from the configuration and, where the call is about an attachment, from its `CNI_ARGS`. An empty
    /// `IP` asks for nothing.
    ///
    /// # Errors
    /// [`ConfigError::Field`] for something else than a list of strings.
    pub fn of(config: &NetworkConfig, cni_args: Option<&CniArgs>) -> Result<Self, ConfigError> {
        let Document { args, runtime_config } = config.decode()?;
        let ip = cni_args.and_then(|args| args.value("IP")).filter(|ip| !ip.is_empty());
        let in_cni_args =
            ip.into_iter().flat_map(|ip| ip.split(',')).map(|text| RequestedIp::new("CNI_ARGS", text.trim()));
        Ok(Self {
            cni_args: in_cni_args.collect(),
            args: list("args.cni.ips", &args.cni.ips),
            runtime_config: list("runtimeConfig.ips", &runtime_config.ips),
        })
    }

    /// All of them: those of `CNI_ARGS`, of `args`, of `runtimeConfig`.
    pub fn iter(&self) -> impl Iterator<Item = &RequestedIp> {
        self.cni_args.iter().chain(&self.args).chain(&self.runtime_config)
    }
}

impl RequestedIp {
    fn new(path: impl Into<String>, text: &str) -> Self {
        Self { path: path.into(), text: text.to_owned() }
    }

    /// Whether it came by the environment, so that a fault in it is one of the environment.
    #[must_use]
    pub fn is_of_environment(&self) -> bool {
        self.path == "CNI_ARGS"
    }
}

fn list(path: &str, texts: &[String]) -> Vec<RequestedIp> {
    texts.iter().enumerate().map(|(i, text)| RequestedIp::new(format!("{path}[{i}]"), text)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_part::<Document>("ips").assert_is_current();
    }

    fn requested(mut config: serde_json::Value, cni_args: &str) -> Result<RequestedIps, ConfigError> {
        config["name"] = json!("net");
        let args = CniArgs::parse(cni_args).unwrap();
        RequestedIps::of(&NetworkConfig::from_value(config).unwrap(), Some(&args))
    }

    #[test]
    fn they_come_from_three_places_with_their_paths() {
        let config = json!({"runtimeConfig": {"ips": ["d"]}, "args": {"cni": {"IPs": ["b", "c"]}}});
        let all = requested(config, "IP=a/1, a2;MAC=x").unwrap();
        let shown: Vec<String> = all.iter().map(|ip| format!("{}: {}", ip.path, ip.text)).collect();
        assert_eq!(
            shown,
            ["CNI_ARGS: a/1", "CNI_ARGS: a2", "args.cni.ips[0]: b", "args.cni.ips[1]: c", "runtimeConfig.ips[0]: d"]
        );
    }

    #[test]
    fn nothing_is_asked_for_by_nothing() {
        assert_eq!(requested(json!({"args": {"cni": null}}), "IP=").unwrap(), RequestedIps::default());
    }

    #[test]
    fn faults_name_the_field() {
        let fault = requested(json!({"runtimeConfig": {"ips": ["a", 7]}}), "").unwrap_err();
        let text = crate::error::causes(Some(&fault));
        assert_eq!(text, "invalid network configuration: runtimeConfig.ips[1]: invalid value 7, expected a string");
    }
}
