//! The configuration of `vlan`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use linuxnet::attach::MasterConf;
use serde::Deserialize;

use crate::error::VlanError;

/// The highest VLAN ID (IEEE 802.1Q: 4095 is reserved; 0 is a priority without a VLAN, which Linux takes as one).
const MAX_VLAN_ID: u16 = 4094;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `master`, `linkInContainer`, `mtu`.
    pub(crate) master: MasterConf,
    /// `vlanId`, 0 by default.
    pub(crate) id: u16,
}

#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("required" = ["master"])))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// The VLAN of the frames on the master.
    #[cfg_attr(test, schemars(range(max = MAX_VLAN_ID)))]
    vlan_id: u32,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, VlanError> {
        // The kernel sets no VLAN up on a link that is down (`vlan_dev_open`: ENETDOWN).
        let master = MasterConf { must_be_up: true, ..MasterConf::load(call)? };
        if master.name.is_none() {
            return Err(VlanError::NoMaster);
        }
        let wire: Wire = call.config.decode()?;
        Ok(Self { master, id: vlan_id(wire.vlan_id).map_err(ConfigError::Field)? })
    }
}

fn vlan_id(id: u32) -> Result<u16, FieldError> {
    let fault = || FieldError::at("vlanId", format_args!("invalid VLAN ID {id} (must be between 0 and 4094)"));
    u16::try_from(id).ok().filter(|&id| id <= MAX_VLAN_ID).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("vlan", env!("CARGO_PKG_DESCRIPTION"))
            .with_part("master")
            .with::<Wire>()
            .assert_is_current();
    }

    #[test]
    fn the_range_is_said() {
        assert_eq!((vlan_id(0), vlan_id(4094)), (Ok(0), Ok(4094)));
        for id in [4095, 65536 + 7] {
            let told = vlan_id(id).unwrap_err().to_string();
            assert_eq!(told, format!("vlanId: invalid VLAN ID {id} (must be between 0 and 4094)"));
        }
    }
}
