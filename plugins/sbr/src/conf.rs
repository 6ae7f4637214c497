//! The configuration of `sbr`: JSON in, checked values out.

use std::net::IpAddr;

use libcni::error::CniError;
use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use serde::Deserialize;

/// What the configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `table`: somebody else's table that the addresses' packets are routed by. `None`: tables of their own.
    pub(crate) table: Option<u32>,
    /// `gateways`: the default route's gateway, instead of the address's.
    pub(crate) gateways: StaticGateways,
    /// `addSourceHints`: subnets stay in the main table, with the address as source.
    pub(crate) add_source_hints: bool,
}

/// `gateways`: at most one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StaticGateways {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl StaticGateways {
    /// The gateway for addresses of the family of `address`.
    pub(crate) fn of_family(&self, address: IpAddr) -> Option<IpAddr> {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// Route the packets of the addresses by this table of somebody else, 1 to 4294967295; not given: by tables of
    /// their own.
    #[cfg_attr(test, schemars(range(min = 1)))]
    table: Option<u32>,
    /// The gateways of the default routes, one of each family, instead of those of the addresses.
    #[cfg_attr(test, schemars(schema_with = "schemas::addresses", length(max = 2)))]
    gateways: Vec<String>,
    /// Leave the subnets in the main table, with the address as source.
    add_source_hints: bool,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, ConfigError> {
        let wire: Wire = call.config.decode()?;
        Self::check(wire).map_err(ConfigError::Field)
    }

    /// As [`Conf::load`]; what cannot be read (any more) is told on stderr and must not keep DEL from its end.
    pub(crate) fn load_lenient(call: &Call<'_>) -> Self {
        Self::load(call).unwrap_or_else(|e| {
            call.warn(e.reply());
            Self::default()
        })
    }

    fn check(wire: Wire) -> Result<Self, FieldError> {
        if wire.table == Some(0) {
            return Err(FieldError::new("table", 0, "the number of a routing table, 1 to 4294967295"));
        }
        let gateways = gateways(&wire.gateways)?;
        Ok(Self { table: wire.table, gateways, add_source_hints: wire.add_source_hints })
    }
}

fn gateways(texts: &[String]) -> Result<StaticGateways, FieldError> {
    let fault = |path: String, problem: String| FieldError { path, problem };
    if texts.len() > 2 {
        let problem = "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)";
        return Err(fault("gateways".to_owned(), problem.to_owned()));
    }
    let mut gateways = StaticGateways::default();
    for (i, text) in texts.iter().enumerate() {
        let path = || format!("gateways[{i}]");
        let Ok(gateway) = text.parse::<IpAddr>() else {
            return Err(fault(path(), format!("invalid static gateway IP address: {text}")));
        };
        let (family, place) = if gateway.is_ipv4() { ("IPv4", &mut gateways.v4) } else { ("IPv6", &mut gateways.v6) };
        if let Some(first) = place.replace(gateway) {
            let problem = format!("gateways list contains multiple {family} addresses: {first} and {gateway}");
            return Err(fault(path(), problem));
        }
    }
    Ok(gateways)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::json;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("sbr", env!("CARGO_PKG_DESCRIPTION")).with::<Wire>().assert_is_current();
    }

    fn conf(value: &Value) -> Result<Conf, String> {
        json::decode::<Wire>(value).and_then(Conf::check).map_err(|e| e.to_string())
    }

    #[test]
    fn gateways_are_one_of_each_family() {
        let both = conf(&json!({"gateways": ["fd00::1", "10.1.0.1"]})).unwrap().gateways;
        let of = |address: &str| both.of_family(address.parse().unwrap()).map(|gw| gw.to_string());
        assert_eq!((of("10.2.0.5").as_deref(), of("fd00::5").as_deref()), (Some("10.1.0.1"), Some("fd00::1")));
        let fault = |list: Value| conf(&json!({ "gateways": list })).unwrap_err();
        assert!(fault(json!(["10.1.0.1", "10.1.0.2"])).contains("multiple IPv4 addresses: 10.1.0.1 and 10.1.0.2"));
        assert_eq!(fault(json!(["10.1.0"])), "gateways[0]: invalid static gateway IP address: 10.1.0");
        assert!(fault(json!(["::1", "::2", "::3"])).contains("more than 2 entries"));
    }

    #[test]
    fn a_table_is_a_number_from_1() {
        assert_eq!(conf(&json!({})).unwrap(), Conf::default());
        assert_eq!(conf(&json!({"table": 4294967295u32})).unwrap().table, Some(u32::MAX));
        assert_eq!(conf(&json!({"table": null})).unwrap().table, None);
        assert!(conf(&json!({"table": 0})).unwrap_err().contains("1 to 4294967295"));
        assert!(conf(&json!({"table": -1})).unwrap_err().contains("0 to 4294967295"));
    }
}
