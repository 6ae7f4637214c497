use serde::Deserialize;
use serde_json::Value;

use crate::convert::{self, ConvertError};
use crate::error::{CniError, ErrorCode, ErrorReply};
use crate::json::{self, FieldError, SyntaxError};
use crate::names::NetworkName;
use crate::types::{AddResult, AttachmentId, DnsOverride};
use crate::version::SpecVersion;

/// What every plugin reads of its network configuration (specification, section "Plugin configuration objects").
/// A plugin decodes its own keys from [`NetworkConfig::raw`].
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// `cniVersion`; 0.1.0 where absent.
    pub cni_version: SpecVersion,
    /// `name` of the network.
    pub name: NetworkName,
    /// `type`, the plugin's file name. Empty where absent (a delegate may get such a configuration).
    pub plugin_type: String,
    /// `ipam.type`; `None` where absent or empty: no IPAM.
    pub ipam_type: Option<String>,
    /// `dns`.
    pub dns: DnsOverride,
    /// `prevResult`, converted to the newest form.
    pub prev_result: Option<AddResult>,
    /// `cni.dev/valid-attachments` (or the older `cni.dev/attachments`), for GC. An explicit `null` is the empty
    /// list: nothing is valid. `None`: the key is absent, nothing was said.
    pub valid_attachments: Option<Vec<AttachmentId>>,
    /// The whole document.
    pub raw: Value,
}

/// What is wrong with a network configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no JSON object.
    #[error("error unmarshall network config: {0}")]
    Syntax(String),
    /// There is no `name`, or it is empty.
    #[error("missing network name")]
    NameMissing,
    /// `name` has other characters than `[a-zA-Z0-9_.-]`.
    #[error("invalid characters found in network name")]
    NameInvalid(String),
    /// `cniVersion` is no string.
    #[error("decoding version from network config: {0}")]
    Version(#[source] FieldError),
    /// `cniVersion` is none of ours.
    #[error("incompatible CNI versions")]
    VersionUnknown(String),
    /// A field that every plugin has is wrong.
    #[error("invalid network configuration")]
    Field(#[source] FieldError),
    /// `prevResult` cannot be understood.
    #[error("could not parse prevResult")]
    PrevResult(#[source] ConvertError),
}

impl CniError for ConfigError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Syntax(_) | Self::Version(_) | Self::PrevResult(_) => ErrorCode::DECODING,
            Self::NameMissing | Self::NameInvalid(_) | Self::Field(_) => ErrorCode::INVALID_CONFIG,
            Self::VersionUnknown(_) => ErrorCode::INCOMPATIBLE_VERSION,
        }
    }

    fn reply(&self) -> ErrorReply {
        let details = match self {
            Self::NameInvalid(name) => name.clone(),
            Self::VersionUnknown(version) => incompatible(version, &SpecVersion::ALL),
            _ => crate::error::causes(std::error::Error::source(self)),
        };
        ErrorReply::new(self.code(), self.to_string(), details)
    }
}

/// `config is "X", plugin supports ["0.1.0" …]`: the details of code 1, as the reference words them.
pub(crate) fn incompatible(version: &str, supported: &[SpecVersion]) -> String {
    let list: Vec<String> = supported.iter().map(|v| format!("\"{v}\"")).collect();
    format!("config is \"{version}\", plugin supports [{}]", list.join(" "))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Common {
    r#type: String,
    ipam: Option<Ipam>,
    dns: Option<DnsOverride>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    r#type: String,
}

impl NetworkConfig {
    /// Reads the common part of the configuration in `text`. Faults are found in the reference's order:
    /// syntax, name, version, the rest.
    ///
    /// # Errors
    /// [`ConfigError`], codes 1, 6 and 7.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let raw = json::parse(text).map_err(|e: SyntaxError| ConfigError::Syntax(e.to_string()))?;
        Self::from_value(raw)
    }

    /// As [`NetworkConfig::parse`], from a document that is parsed already.
    ///
    /// # Errors
    /// [`ConfigError`], codes 1, 6 and 7.
    pub fn from_value(raw: Value) -> Result<Self, ConfigError> {
        let Value::Object(object) = &raw else {
            return Err(ConfigError::Syntax("expected an object".to_owned()));
        };
        let name = match json::member(object, "name") {
            None => return Err(ConfigError::NameMissing),
            Some(Value::String(name)) if name.is_empty() => return Err(ConfigError::NameMissing),
            Some(Value::String(name)) => {
                name.parse().map_err(|_rule: crate::names::NameError| ConfigError::NameInvalid(name.clone()))?
            }
            Some(other) => return Err(ConfigError::Syntax(FieldError::new("name", other, "a string").to_string())),
        };
        let cni_version = match json::member(object, "cniVersion") {
            None => SpecVersion::DEFAULT,
            Some(Value::String(text)) => text
                .parse()
                .map_err(|_unknown: crate::version::UnknownVersion| ConfigError::VersionUnknown(text.clone()))?,
            Some(other) => return Err(ConfigError::Version(FieldError::new("cniVersion", other, "a string"))),
        };
        let common: Common = json::decode(&raw).map_err(ConfigError::Field)?;
        let prev_result = json::member(object, "prevResult")
            .map(|value| convert::prev_result(value, cni_version))
            .transpose()
            .map_err(ConfigError::PrevResult)?;
        let valid_attachments = ["cni.dev/valid-attachments", "cni.dev/attachments"]
            .into_iter()
            .find_map(|key| json::member_or_null(object, key).map(|value| (key, value)))
            .map(|(key, value)| match value {
                Value::Null => Ok(Vec::new()),
                list => json::decode(list).map_err(|e| ConfigError::Field(e.within(key))),
            })
            .transpose()?;
        Ok(Self {
            cni_version,
            name,
            plugin_type: common.r#type,
            ipam_type: common.ipam.map(|ipam| ipam.r#type).filter(|t| !t.is_empty()),
            dns: common.dns.unwrap_or_default(),
            prev_result,
            valid_attachments,
            raw,
        })
    }

    /// Decodes the plugin's own keys; see [`json::decode`] for the rules.
    ///
    /// # Errors
    /// [`ConfigError::Field`], code 7.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConfigError> {
        json::decode(&self.raw).map_err(ConfigError::Field)
    }
}
