//! The form of 0.1.0 and 0.2.0 (section "Result"): at most one address per family, each with its routes.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::json::FieldError;
use crate::types::{AddResult, Dns, IpConfig, Route, wire};

/// `{"ip4": {…}, "ip6": {…}, "dns": {…}}`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Form {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Address>,
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct Address {
    #[serde(with = "wire::net")]
    ip: IpNet,
    #[serde(default, with = "wire::ip", skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Hop>,
}

/// A route of this form: a destination and a next hop, nothing else.
#[derive(Serialize, Deserialize)]
struct Hop {
    #[serde(with = "wire::net")]
    dst: IpNet,
    #[serde(default, with = "wire::ip", skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

/// `ip4`, then `ip6`; their routes in the same order.
pub(super) fn read(form: Form) -> Result<AddResult, FieldError> {
    let mut result = AddResult { dns: form.dns, ..AddResult::default() };
    let families = [("ip4", "an IPv4 address", form.ip4), ("ip6", "an IPv6 address", form.ip6)];
    for (key, expected, address) in families {
        let Some(Address { ip, gateway, routes }) = address else { continue };
        if matches!(ip, IpNet::V4(_)) != (key == "ip4") {
            return Err(FieldError::new(format!("{key}.ip"), format_args!("\"{ip}\""), expected));
        }
        result.ips.push(IpConfig { address: ip, gateway, interface: None });
        result.routes.extend(routes.into_iter().map(|hop| Route { gw: hop.gw, ..Route::to(hop.dst) }));
    }
    Ok(result)
}

/// The first address of each family with its family's routes; `None` without any address. Lost: interfaces, further
/// addresses, what a route says beyond destination and next hop, routes of a family without address.
pub(super) fn write(result: &AddResult) -> Option<Form> {
    let address = |is_family: fn(&IpNet) -> bool| {
        let ip = result.ips.iter().find(|ip| is_family(&ip.address))?;
        let routes = result.routes.iter().filter(|route| is_family(&route.dst));
        let routes = routes.map(|route| Hop { dst: route.dst, gw: route.gw }).collect();
        Some(Address { ip: ip.address, gateway: ip.gateway, routes })
    };
    let (ip4, ip6) = (address(|net| matches!(net, IpNet::V4(_))), address(|net| matches!(net, IpNet::V6(_))));
    (ip4.is_some() || ip6.is_some()).then(|| Form { ip4, ip6, dns: result.dns.clone() })
}
