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

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    /// How frames between the links of one master go.
    #[cfg_attr(test, schemars(extend("enum" = ["", "bridge", "private", "vepa", "passthru"], "default" = MacvlanMode::default().to_string())))]
    mode: String,
    /// The interface's address, unless the runtime asks for another.
    #[cfg_attr(test, schemars(schema_with = "schemas::mac"))]
    mac: String,
    /// Length of the master's queue of broadcast frames, in frames; 0: what the kernel likes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("macvlan", env!("CARGO_PKG_DESCRIPTION"))
            .with_part("mac")
            .with_part("master")
            .with::<Wire>()
            .assert_is_current();
    }
}
