//! The configuration of `vrf`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::names::IfName;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use serde::Deserialize;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `vrfname`: the VRF's name in the container. Made if missing.
    pub(crate) name: IfName,
    /// `table`: its routing table. `None`: of one that is made the lowest that nobody uses, of another any.
    pub(crate) table: Option<u32>,
}

#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("required" = ["vrfname"])))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    /// The VRF in the container, made if missing.
    #[cfg_attr(test, schemars(schema_with = "schemas::ifname"))]
    vrfname: String,
    /// Its routing table; 0: of a VRF that is made the lowest that nobody uses, of another any.
    table: u32,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, ConfigError> {
        let wire: Wire = call.config.decode()?;
        Self::check(wire).map_err(ConfigError::Field)
    }

    fn check(wire: Wire) -> Result<Self, FieldError> {
        let fault = |problem: String| FieldError { path: "vrfname".to_owned(), problem };
        if wire.vrfname.is_empty() {
            return Err(fault("configuration is expected to have a valid vrf name".to_owned()));
        }
        let name = wire.vrfname.parse().map_err(|e| fault(format!("invalid value {:?}: {e}", wire.vrfname)))?;
        Ok(Self { name, table: Some(wire.table).filter(|&table| table != 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::json;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("vrf", env!("CARGO_PKG_DESCRIPTION")).with::<Wire>().assert_is_current();
    }

    fn conf(value: &Value) -> Result<Conf, String> {
        json::decode::<Wire>(value).and_then(Conf::check).map_err(|e| e.to_string())
    }

    #[test]
    fn a_name_is_needed() {
        let red = conf(&json!({"vrfname": "red"})).unwrap();
        assert_eq!((red.name.as_str(), red.table), ("red", None));
        assert_eq!(conf(&json!({"VRFName": "red", "table": 0})).unwrap(), red);
        assert_eq!(conf(&json!({"vrfname": "red", "table": 1001})).unwrap().table, Some(1001));
        let missing = "vrfname: configuration is expected to have a valid vrf name";
        assert_eq!(conf(&json!({})).unwrap_err(), missing);
        assert!(conf(&json!({"vrfname": "a/b"})).unwrap_err().starts_with("vrfname: invalid value \"a/b\""));
        assert!(conf(&json!({"vrfname": "red", "table": -1})).unwrap_err().starts_with("table: invalid value -1"));
    }
}
