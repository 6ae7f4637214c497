//! The configuration: JSON in, checked types out.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::{CniArgs, Dns, IpConfig, NetworkConfig, RequestedIps, Route};
use serde::Deserialize;

use crate::error::StaticError;

/// Where an address stands, and what: the path, and the text.
type Written<'a> = (String, &'a str);

/// What an attachment gets.
#[derive(Debug)]
pub(crate) struct Conf {
    /// The addresses. Perhaps none: the runtime may name them later.
    pub(crate) addresses: Vec<IpConfig>,
    /// `ipam.routes`.
    pub(crate) routes: Vec<Route>,
    /// `ipam.dns`.
    pub(crate) dns: Dns,
}

/// The configuration on the wire.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    /// Of this plugin.
    ipam: Option<Ipam>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    /// The addresses; those that the runtime names replace them.
    addresses: Vec<Address>,
    /// Routes of the container, returned as they are.
    #[cfg_attr(test, schemars(schema_with = "schemas::routes"))]
    routes: Vec<Route>,
    /// Name resolution for the container.
    #[cfg_attr(test, schemars(schema_with = "schemas::dns"))]
    dns: Dns,
}

#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("required" = ["address"])))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    /// The address with its prefix length.
    #[cfg_attr(test, schemars(schema_with = "schemas::cidr", extend("examples" = ["10.1.0.5/16"])))]
    address: String,
    /// The gateway.
    #[cfg_attr(test, schemars(schema_with = "schemas::ip"))]
    gateway: String,
}

impl Conf {
    /// Reads `config` and, where the call is about an attachment, its `CNI_ARGS`.
    ///
    /// # Errors
    /// What is wrong with it, with the path of the field.
    pub(crate) fn parse(config: &NetworkConfig, args: Option<&CniArgs>) -> Result<Self, StaticError> {
        let Ipam { addresses: configured, routes, dns } =
            config.decode::<Document>()?.ipam.ok_or(StaticError::IpamMissing)?;
        if let Some(args) = args {
            args.require_known(&["IP", "GATEWAY"])?;
        }
        let mut addresses = addresses(&configured, &RequestedIps::of(config, args)?)?;
        for gateway in args.map_or(Ok(Vec::new()), gateways_of_environment)? {
            for address in addresses.iter_mut().filter(|a| a.address.contains(&gateway)) {
                address.gateway = Some(gateway);
            }
        }
        let of_ipv4 = addresses.iter().filter(|a| a.address.addr().is_ipv4()).count();
        if !config.cni_version.can_hold(of_ipv4, addresses.len() - of_ipv4) {
            return Err(StaticError::FamilyTwice(config.cni_version));
        }
        Ok(Self { addresses, routes, dns })
    }
}

/// The addresses of the place that counts: those of `runtimeConfig`; without them those of `args`; without them the
/// configured ones and those of `CNI_ARGS`. What stands in a place that does not count is not looked at, but for the
/// configured gateways: an address that is asked for gets the one of its subnet.
fn addresses(configured: &[Address], requested: &RequestedIps) -> Result<Vec<IpConfig>, StaticError> {
    let mut addresses = Vec::new();
    let mut gateways = Vec::new();
    let replaced = !(requested.runtime_config.is_empty() && requested.args.is_empty());
    for (i, entry) in configured.iter().enumerate() {
        let gateway = optional_gateway((format!("ipam.addresses[{i}].gateway"), &entry.gateway))?;
        gateways.extend(gateway);
        if !replaced {
            let address = with_prefix("address", (format!("ipam.addresses[{i}].address"), &entry.address))?;
            addresses.push(IpConfig { address, gateway, interface: None });
        }
    }
    let (field, asked) = match (&requested.runtime_config, &requested.args) {
        (of_runtime, _) if !of_runtime.is_empty() => ("ips", of_runtime),
        (_, of_args) if !of_args.is_empty() => ("ips", of_args),
        _ => ("ip", &requested.cni_args),
    };
    for ip in asked {
        let address = with_prefix(field, (ip.path.clone(), &ip.text))?;
        let gateway = gateways.iter().copied().find(|gateway| address.contains(gateway));
        addresses.push(IpConfig { address, gateway, interface: None });
    }
    Ok(addresses)
}

/// `GATEWAY` of `CNI_ARGS`: a list with commas.
fn gateways_of_environment(args: &CniArgs) -> Result<Vec<IpAddr>, StaticError> {
    let list = args.value("GATEWAY").filter(|list| !list.is_empty());
    list.into_iter()
        .flat_map(|list| list.split(','))
        .map(|text| gateway(("CNI_ARGS".to_owned(), text.trim())))
        .collect()
}

fn optional_gateway(written: Written<'_>) -> Result<Option<IpAddr>, StaticError> {
    if written.1.is_empty() { Ok(None) } else { gateway(written).map(Some) }
}

fn gateway((path, text): Written<'_>) -> Result<IpAddr, StaticError> {
    text.parse().map_err(|_fault: std::net::AddrParseError| StaticError::Gateway { path, text: text.to_owned() })
}

/// `10.1.0.5/16`. `field` is what the reference calls it.
fn with_prefix(field: &'static str, (path, text): Written<'_>) -> Result<IpNet, StaticError> {
    text.parse().map_err(|_fault: ipnet::AddrParseError| StaticError::NotCidr { field, path, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_ipam("static", env!("CARGO_PKG_DESCRIPTION"))
            .with_part("ips")
            .with::<Document>()
            .assert_is_current();
    }
}
