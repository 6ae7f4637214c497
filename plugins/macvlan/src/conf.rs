//! The configuration of `macvlan`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use linuxnet::attach::MasterConf;
use linuxnet::link::MacvlanMode;
use serde::Deserialize;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `master`, `linkInContainer`, `mtu`.
    pub(crate) master: MasterConf,
    /// `mode`, `bridge` by default.
    pub(crate) mode: MacvlanMode,
    /// `mac`, not checked yet; empty for none.
    pub(crate) mac: String,
    /// `bcqueuelen` in packets. `None`: the kernel's default.
    pub(crate) broadcast_queue_len: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    mode: String,
    mac: String,
    bcqueuelen: u32,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, ConfigError> {
        let master = MasterConf::load(call)?;
        Self::check(call.config.decode()?, master).map_err(ConfigError::Field)
    }

    fn check(wire: Wire, master: MasterConf) -> Result<Self, FieldError> {
        let mode = match wire.mode.as_str() {
            "" => MacvlanMode::default(),
            name => name.parse().map_err(|e| FieldError::at("mode", e))?,
        };
        let broadcast_queue_len = Some(wire.bcqueuelen).filter(|&packets| packets > 0);
        Ok(Self { master, mode, mac: wire.mac, broadcast_queue_len })
    }
}
