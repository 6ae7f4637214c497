//! The configuration of `ptp`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use linuxnet::{link, masq};
use serde::Deserialize;

use crate::error::PtpError;

/// What the configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `ipMasq` and `ipMasqBackend`: hide the container's address outside its subnet.
    pub(crate) masquerade: masq::Settings,
    /// `mtu` in bytes, of both ends of the veth. `None`: the kernel's default.
    pub(crate) mtu: Option<u32>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// Masquerade what the container sends to outside its subnet.
    ip_masq: bool,
    /// Who masquerades: "nftables" or "iptables"; none for what this host has.
    #[cfg_attr(test, schemars(extend("enum" = ["", "nftables", "iptables"])))]
    ip_masq_backend: String,
    /// MTU in bytes of both ends of the veth; 0: what the kernel likes.
    #[cfg_attr(test, schemars(schema_with = "schemas::mtu"))]
    mtu: u32,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, PtpError> {
        let wire: Wire = call.config.decode()?;
        Self::check(&wire).map_err(|fault| PtpError::Config(ConfigError::Field(fault)))
    }

    fn check(wire: &Wire) -> Result<Self, FieldError> {
        Ok(Self {
            masquerade: masq::Settings::new(wire.ip_masq, &wire.ip_masq_backend)?,
            mtu: link::configured_mtu(wire.mtu)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::json;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("ptp", env!("CARGO_PKG_DESCRIPTION")).with::<Wire>().assert_is_current();
    }

    fn conf(value: &Value) -> Result<Conf, String> {
        json::decode::<Wire>(value).and_then(|wire| Conf::check(&wire)).map_err(|e| e.to_string())
    }

    #[test]
    fn everything_has_a_default() {
        assert_eq!(conf(&json!({"ipMasqBackend": "", "mtu": 0})), Ok(Conf::default()));
    }

    #[test]
    fn bad_values_name_the_field() {
        assert!(conf(&json!({"ipMasqBackend": "ipfw"})).unwrap_err().starts_with("ipMasqBackend: unknown"));
        assert!(conf(&json!({"mtu": 67})).unwrap_err().starts_with("mtu: invalid value 67"));
        assert!(conf(&json!({"ipMasq": "yes"})).unwrap_err().starts_with("ipMasq: invalid value \"yes\""));
    }
}
