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
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PlaceDocument {
    data_dir: String,
}

/// The configuration on the wire.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    sysctl: BTreeMap<String, String>,
    mac: String,
    promisc: bool,
    /// 0: as it is.
    mtu: u32,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_q_len: Option<u32>,
    runtime_config: RuntimeConfig,
    args: Args,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    mac: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: ArgsCni,
}

/// What is there takes the place of what the configuration says, also if it says "nothing".
#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsCni {
    sysctl: BTreeMap<String, String>,
    mac: Option<String>,
    promisc: Option<bool>,
    mtu: Option<u32>,
    allmulti: Option<bool>,
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
