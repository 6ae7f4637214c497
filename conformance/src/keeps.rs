//! Whether a result still says what `prevResult` said (specification, "ADD Success"): a chained plugin may change and add,
//! but what it has not changed it hands on.

use serde_json::Value;

/// Compares the two.
///
/// # Errors
/// What is missing in `result`.
pub(crate) fn keeps(previous: &Value, result: &Value) -> Result<(), String> {
    for interface in list(previous, "interfaces") {
        interface_is_kept(interface, result)?;
    }
    for ip in list(previous, "ips") {
        let wanted = owner(ip, previous);
        let kept = list(result, "ips").any(|other| {
            ["address", "gateway", "version"].into_iter().all(|key| other.get(key) == ip.get(key))
                && owner(other, result) == wanted
        });
        if !kept {
            return Err(format!("the result must keep the address of prevResult {ip}, with its interface"));
        }
    }
    for route in list(previous, "routes") {
        let is_same = |other: &Value| ["dst", "gw"].into_iter().all(|key| other.get(key) == route.get(key));
        if !list(result, "routes").any(is_same) {
            return Err(format!("the result must keep the route of prevResult {route}"));
        }
    }
    for key in ["ip4", "ip6"] {
        old_form_is_kept(key, previous, result)?;
    }
    let (dns, kept) = (previous.get("dns").unwrap_or(&Value::Null), result.get("dns").unwrap_or(&Value::Null));
    let settings = dns.as_object().into_iter().flatten();
    match settings.into_iter().find(|(key, value)| !kept.get(key).is_some_and(|kept| has_all(value, kept))) {
        Some((key, value)) => Err(format!("the result must keep dns.{key} of prevResult, {value}")),
        None => Ok(()),
    }
}

/// A list may have got more entries.
fn has_all(wanted: &Value, kept: &Value) -> bool {
    match (wanted, kept) {
        (Value::Array(wanted), Value::Array(kept)) => wanted.iter().all(|entry| kept.contains(entry)),
        _ => wanted == kept,
    }
}

fn list<'a>(result: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    result.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The name and namespace of the interface that an address belongs to.
fn owner<'a>(ip: &Value, result: &'a Value) -> Option<(&'a str, &'a str)> {
    let index = usize::try_from(ip.get("interface")?.as_u64()?).ok()?;
    result.get("interfaces")?.get(index).map(identity)
}

fn identity(interface: &Value) -> (&str, &str) {
    let text = |key: &str| interface.get(key).and_then(Value::as_str).unwrap_or_default();
    (text("name"), text("sandbox"))
}

/// Its name and namespace, and what no plugin behind the one that made it changes. (The hardware address and the MTU are
/// what some are there to change.)
fn interface_is_kept(interface: &Value, result: &Value) -> Result<(), String> {
    let found = list(result, "interfaces").find(|other| identity(other) == identity(interface));
    let Some(found) = found else {
        return Err(format!("the result must keep the interface of prevResult {interface}"));
    };
    for key in ["socketPath", "pciID"] {
        if let Some(value) = interface.get(key)
            && found.get(key) != Some(value)
        {
            return Err(format!("the result must keep {key} of the interface of prevResult {interface}"));
        }
    }
    match interface.get("mtu") {
        Some(_) if found.get("mtu").is_none() => {
            Err(format!("the result must have an mtu for the interface of prevResult {interface}"))
        }
        _ => Ok(()),
    }
}

/// `ip4` and `ip6` of the versions before 0.3.0.
fn old_form_is_kept(key: &str, previous: &Value, result: &Value) -> Result<(), String> {
    let Some(ip) = previous.get(key) else { return Ok(()) };
    let kept = result.get(key).unwrap_or(&Value::Null);
    if let Some(field) = ["ip", "gateway"].into_iter().find(|field| kept.get(field) != ip.get(field)) {
        return Err(format!("the result must keep {key}.{field} of prevResult {ip}"));
    }
    match list(ip, "routes").find(|route| !list(kept, "routes").any(|other| other == *route)) {
        Some(route) => Err(format!("the result must keep the route of prevResult {route}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_added_and_changed_does_not_matter_and_what_is_lost_does() {
        let previous = json!({
            "interfaces": [{"name": "host0"}, {"name": "eth0", "sandbox": "/run/netns/a", "mac": "02:00:00:00:00:01"}],
            "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1}],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dns": {"nameservers": ["10.1.0.53"]}
        });
        let more = json!({
            "interfaces": [
                {"name": "ifb0"}, {"name": "host0"},
                {"name": "eth0", "sandbox": "/run/netns/a", "mac": "02:00:00:00:00:02", "mtu": 1400}
            ],
            "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
            "routes": [{"dst": "0.0.0.0/0", "table": 100}, {"dst": "10.2.0.0/16"}],
            "dns": {"nameservers": ["10.1.0.2", "10.1.0.53"], "domain": "example.org"}
        });
        assert_eq!(keeps(&previous, &more), Ok(()));
        let mut wrong_owner = more.clone();
        wrong_owner["ips"][0]["interface"] = 1.into();
        assert!(keeps(&previous, &wrong_owner).is_err_and(|problem| problem.contains("with its interface")));
        for key in ["interfaces", "ips", "routes", "dns"] {
            let mut less = more.clone();
            less[key] = Value::Null;
            assert!(keeps(&previous, &less).is_err(), "{key}");
        }
    }

    #[test]
    fn the_old_form_is_kept_whole() {
        let previous = json!({"ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}});
        assert_eq!(keeps(&previous, &previous), Ok(()));
        assert!(keeps(&previous, &json!({"ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1"}})).is_err());
        assert!(keeps(&previous, &json!({})).is_err());
    }
}
