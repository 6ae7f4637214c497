//! The form of 0.3.0, 0.3.1 and 0.4.0 (section "Result"): each address says its IP version.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::json::FieldError;
use crate::types::{self, AddResult, Dns, IpConfig, Route, wire};

/// `{"interfaces": […], "ips": […], "routes": […], "dns": {…}}`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Form {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    dns: Dns,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sandbox: String,
}

#[derive(Serialize, Deserialize)]
struct Address {
    /// `4` or `6`. Required by the specification, but it says nothing that the address does not.
    #[serde(default)]
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    #[serde(with = "wire::net")]
    address: IpNet,
    #[serde(default, with = "wire::ip", skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

fn ip_version(address: &IpNet) -> &'static str {
    match address {
        IpNet::V4(_) => "4",
        IpNet::V6(_) => "6",
    }
}

pub(super) fn read(form: Form) -> Result<AddResult, FieldError> {
    for (index, ip) in form.ips.iter().enumerate() {
        let expected = ip_version(&ip.address);
        if !ip.version.is_empty() && ip.version != expected {
            return Err(FieldError::new(
                format!("ips[{index}].version"),
                format_args!("\"{}\"", ip.version),
                format_args!("\"{expected}\", the version of {}", ip.address),
            ));
        }
    }
    let interface =
        |i: Interface| types::Interface { name: i.name, mac: i.mac, sandbox: i.sandbox, ..types::Interface::default() };
    let address = |ip: Address| IpConfig { address: ip.address, gateway: ip.gateway, interface: ip.interface };
    Ok(AddResult {
        interfaces: form.interfaces.into_iter().map(interface).collect(),
        ips: form.ips.into_iter().map(address).collect(),
        routes: form.routes,
        dns: form.dns,
    })
}

/// Lost: `mtu`, `socketPath` and `pciID` of interfaces. Routes keep all their keys, as in the reference, though
/// these versions do not know them.
pub(super) fn write(result: &AddResult) -> Form {
    let interface =
        |i: &types::Interface| Interface { name: i.name.clone(), mac: i.mac.clone(), sandbox: i.sandbox.clone() };
    let address = |ip: &IpConfig| Address {
        version: ip_version(&ip.address).to_owned(),
        interface: ip.interface,
        address: ip.address,
        gateway: ip.gateway,
    };
    Form {
        interfaces: result.interfaces.iter().map(interface).collect(),
        ips: result.ips.iter().map(address).collect(),
        routes: result.routes.clone(),
        dns: result.dns.clone(),
    }
}
