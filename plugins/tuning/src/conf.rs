//! The configuration: JSON in, checked types out.

mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;

use libcni::error::CniError;
use libcni::json::FieldError;
use libcni::plugin::{Attachment, Call};
use libcni::types::{CniArgs, ConfigError, MacAddr};
use linuxnet::attach::interface_mac;
use serde::Deserialize;

use crate::error::TuningError;
use crate::settings::Settings;
use crate::sysctl::{self, Sysctl};

const DEFAULT_DATA_DIR: &str = "/run/cni/tuning";

/// What an attachment is tuned to.
#[derive(Debug)]
pub(crate) struct Conf {
    /// Where it is written down what was before.
    pub(crate) data_dir: PathBuf,
    /// In the order in which they are set.
    pub(crate) sysctls: Vec<Sysctl>,
    /// Of the container's interface.
    pub(crate) interface: Settings,
}

/// As much of the configuration as DEL and GC need. A fault in another key must not keep them from their work.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PlaceDocument {
    /// Where it is written down what was before.
    #[cfg_attr(test, schemars(extend("default" = DEFAULT_DATA_DIR)))]
    data_dir: String,
}

/// The configuration on the wire.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    /// Sysctls of the container below `net`, by their name: {"net.core.somaxconn": "500"}; IFNAME in a name is the
    /// interface.
    sysctl: BTreeMap<String, String>,
    /// The interface's address.
    #[cfg_attr(test, schemars(schema_with = "schemas::mac"))]
    mac: String,
    /// Have the interface take every frame.
    promisc: bool,
    /// MTU in bytes; 0: as it is.
    #[cfg_attr(test, schemars(schema_with = "schemas::mtu"))]
    mtu: u32,
    /// Have the interface take every multicast frame, or not; not given: as it is.
    allmulti: Option<bool>,
    /// Length of the interface's transmit queue in packets; not given: as it is.
    #[serde(rename = "txQLen")]
    tx_q_len: Option<u32>,
    /// What the runtime says.
    runtime_config: RuntimeConfig,
    /// What people ask for on the command line of a runtime.
    args: Args,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    /// The interface's address (capability `mac`), over that of the configuration.
    #[cfg_attr(test, schemars(schema_with = "schemas::mac"))]
    mac: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    /// The arguments of CONVENTIONS.md; what is there takes the place of what the configuration says.
    cni: ArgsCni,
}

/// What is there takes the place of what the configuration says, also if it says "nothing".
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsCni {
    /// Sysctls, over those of the configuration.
    sysctl: BTreeMap<String, String>,
    /// The address.
    #[cfg_attr(test, schemars(schema_with = "schemas::mac"))]
    mac: Option<String>,
    /// As `promisc`.
    promisc: Option<bool>,
    /// As `mtu`.
    #[cfg_attr(test, schemars(schema_with = "schemas::mtu"))]
    mtu: Option<u32>,
    /// As `allmulti`.
    allmulti: Option<bool>,
    /// As `txQLen`.
    #[serde(rename = "txQLen")]
    tx_q_len: Option<u32>,
}

/// Where the network of `call` keeps what was before.
///
/// # Errors
/// If `dataDir` is no string.
pub(crate) fn data_dir(call: &Call<'_>) -> Result<PathBuf, ConfigError> {
    let PlaceDocument { data_dir } = call.config.decode()?;
    Ok(if data_dir.is_empty() { DEFAULT_DATA_DIR.into() } else { data_dir.into() })
}

/// As [`data_dir`]; the default one where the configuration is broken, which is told on stderr.
pub(crate) fn known_data_dir(call: &Call<'_>) -> PathBuf {
    data_dir(call).unwrap_or_else(|e| {
        call.warn(e.reply());
        DEFAULT_DATA_DIR.into()
    })
}

impl Conf {
    /// The configuration of `attachment`.
    ///
    /// # Errors
    /// What is wrong with it, with the path of the field.
    pub(crate) fn of(call: &Call<'_>, attachment: &Attachment) -> Result<Self, TuningError> {
        let args = attachment.args()?;
        args.require_known(&["MAC"])?;
        Self::load(call, &args, attachment.ifname())
    }

    /// The configuration without an attachment: for STATUS.
    ///
    /// # Errors
    /// What is wrong with it, with the path of the field.
    pub(crate) fn of_network(call: &Call<'_>) -> Result<Self, TuningError> {
        // Any name will do: nothing is set.
        Self::load(call, &CniArgs::default(), "eth0")
    }

    fn load(call: &Call<'_>, args: &CniArgs, ifname: &str) -> Result<Self, TuningError> {
        let document: Document = call.config.decode()?;
        keys::require_different(call.stdin)?;
        let sysctls = sysctls(&document, ifname)?;
        let of_args = &document.args.cni;
        let interface = Settings {
            mac: mac(&document, args)?,
            promisc: Some(of_args.promisc.unwrap_or(document.promisc)).filter(|&on| on),
            mtu: Some(of_args.mtu.unwrap_or(document.mtu)).filter(|&mtu| mtu != 0),
            allmulti: of_args.allmulti.or(document.allmulti),
            tx_queue_len: of_args.tx_q_len.or(document.tx_q_len),
        };
        Ok(Self { data_dir: data_dir(call)?, sysctls, interface })
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.sysctls.is_empty() && self.interface.is_empty()
    }
}

/// The sysctls of the configuration, and over them those of `args`.
fn sysctls(document: &Document, ifname: &str) -> Result<Vec<Sysctl>, TuningError> {
    let mut sysctls = parse("sysctl", &document.sysctl, ifname)?;
    let of_args = parse("args.cni.sysctl", &document.args.cni.sysctl, ifname)?;
    sysctls.retain(|sysctl| !of_args.iter().any(|other| other.name() == sysctl.name()));
    sysctls.extend(of_args);
    sysctl::sort(&mut sysctls);
    Ok(sysctls)
}

/// The sysctls of the object at `path`.
fn parse(path: &str, object: &BTreeMap<String, String>, ifname: &str) -> Result<Vec<Sysctl>, TuningError> {
    let mut sysctls: Vec<Sysctl> = Vec::with_capacity(object.len());
    for (key, value) in object {
        if value.trim().is_empty() {
            let fault = FieldError::new(format!("{path}.{key}"), format_args!("{value:?}"), "a value");
            return Err(ConfigError::Field(fault).into());
        }
        let sysctl = Sysctl::parse(key, value, ifname)?;
        if let Some(other) = sysctls.iter().find(|other| other.name() == sysctl.name()) {
            return Err(TuningError::SameSysctl { one: other.key.clone(), other: key.clone() });
        }
        sysctls.push(sysctl);
    }
    Ok(sysctls)
}

/// The MAC address: that of the configuration, over it `MAC` of `CNI_ARGS`, over it that of the runtime, over it that
/// of `args`, which may also be empty: none.
fn mac(document: &Document, args: &CniArgs) -> Result<Option<MacAddr>, ConfigError> {
    let others = [
        ("runtimeConfig.mac", document.runtime_config.mac.as_str()),
        ("MAC in CNI_ARGS", args.value("MAC").unwrap_or_default()),
        ("mac", &document.mac),
    ];
    let of_args = document.args.cni.mac.as_deref().map(|text| ("args.cni.mac", text));
    let candidate = of_args.or_else(|| others.into_iter().find(|(_, text)| !text.is_empty()));
    candidate.filter(|(_, text)| !text.is_empty()).map(|(path, text)| interface_mac(path, text)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("tuning", env!("CARGO_PKG_DESCRIPTION"))
            .with::<PlaceDocument>()
            .with::<Document>()
            .assert_is_current();
    }
}
