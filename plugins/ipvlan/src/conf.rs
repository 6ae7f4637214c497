//! The configuration of `ipvlan`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::{AddResult, ConfigError, Interface};
use linuxnet::attach::MasterConf;
use linuxnet::link::IpvlanMode;
use serde::Deserialize;

use crate::error::IpvlanError;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `master`, `linkInContainer`, `mtu`.
    pub(crate) master: MasterConf,
    /// `mode`, `l2` by default.
    pub(crate) mode: IpvlanMode,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    /// How packets are switched.
    #[cfg_attr(test, schemars(extend("enum" = ["", "l2", "l3", "l3s"], "default" = IpvlanMode::default().to_string())))]
    mode: String,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, ConfigError> {
        let master = MasterConf::load(call)?;
        Self::check(&call.config.decode()?, master).map_err(ConfigError::Field)
    }

    fn check(wire: &Wire, master: MasterConf) -> Result<Self, FieldError> {
        let mode = match wire.mode.as_str() {
            "" => IpvlanMode::default(),
            name => name.parse().map_err(|e| FieldError::at("mode", e))?,
        };
        Ok(Self { master, mode })
    }

    /// The same, and where no master is named and a plugin came before, the one interface of its result is the master.
    pub(crate) fn chained(mut self, before: Option<&AddResult>) -> Result<Self, IpvlanError> {
        if self.master.name.is_some() {
            return Ok(self);
        }
        let Some(before) = before else { return Ok(self) };
        let [Interface { name, .. }] = before.interfaces.as_slice() else { return Err(IpvlanError::NoChainedMaster) };
        self.master.name = Some(name.parse().map_err(|_no_name| IpvlanError::NoChainedMaster)?);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("ipvlan", env!("CARGO_PKG_DESCRIPTION"))
            .with_part("master")
            .with::<Wire>()
            .assert_is_current();
    }
}
