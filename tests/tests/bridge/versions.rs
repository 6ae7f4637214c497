//! Results and verbs in every version of the specification.

use serde_json::{Value, json};

use crate::{Pod, host_local, text};

const VERSIONS: [&str; 8] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", ""];

#[test]
fn every_version_has_its_form() {
    let keys = json!({"isDefaultGateway": true, "ipam": host_local(&["10.1.0.0/24", "fd00:1::/64"])});
    let Some(mut bed) = crate::start(&keys) else { return };
    for version in VERSIONS {
        bed.network.conflist["cniVersion"] = if version.is_empty() { Value::Null } else { json!(version) };
        let a = bed.attach("a");
        // Without a version it is 0.1.0.
        let version = if version.is_empty() { "0.1.0" } else { version };
        assert_eq!(a.result["cniVersion"], version);
        if version < "0.3.0" {
            two_addresses(&a)
        } else {
            list_of_addresses(&a, version)
        }
        let check = bed.network.check(&a.container);
        assert_eq!(check.is_ok(), version >= "0.4.0", "{version}: {check:?}");
        for outcome in [bed.network.status(), bed.network.gc(&[&a.container])] {
            assert_eq!(outcome.map_err(|e| e.code), if version >= "1.1.0" { Ok(()) } else { Err(1) }, "{version}");
        }
        bed.end(&[&a]);
    }
}

/// 0.1.0 and 0.2.0: one object for each family.
fn two_addresses(pod: &Pod) {
    for (key, address, gateway, default) in
        [("ip4", "10.1.0.", "10.1.0.1", "0.0.0.0/0"), ("ip6", "fd00:1::", "fd00:1::1", "::/0")]
    {
        let given = &pod.result[key];
        assert!(text(given, "/ip").starts_with(address), "{given}");
        assert_eq!(text(given, "/gateway"), gateway);
        assert_eq!(given["routes"], json!([{"dst": default, "gw": gateway}]));
    }
    assert!(pod.result.get("interfaces").is_none());
}

/// 0.3.0 and newer: a list of addresses, with their family before 1.0.0, and (as the reference) an MTU of
/// interfaces since then.
fn list_of_addresses(pod: &Pod, version: &str) {
    for (number, family) in ["4", "6"].into_iter().enumerate() {
        let given = &pod.result["ips"][number];
        assert_eq!(given["interface"], 2);
        assert_eq!(given["version"], if version < "1.0.0" { json!(family) } else { Value::Null }, "{version}");
    }
    assert_eq!(pod.result["interfaces"][2]["mtu"].is_number(), version >= "1.0.0", "{version}");
    assert_eq!(pod.result["routes"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_dns_of_the_configuration_replaces_that_of_ipam() {
    let mut ipam = crate::scripted(&json!([{"address": "10.1.0.5/24"}]), &json!([]));
    ipam["add"]["dns"] = json!({"nameservers": ["192.0.2.53"], "search": ["ipam.example"]});
    let Some(bed) = crate::start(&json!({ "ipam": ipam })) else { return };
    let a = bed.attach("a");
    assert_eq!(a.result["dns"], ipam["add"]["dns"]);
    bed.end(&[&a]);
    let keys = json!({"ipam": ipam, "dns": {"nameservers": ["198.51.100.53"]}});
    let network = crate::second_network(&bed, "dns", &keys);
    let b = bed.attach_to(&network, bed.node.container("b"));
    assert_eq!(b.result["dns"], keys["dns"]);
    network.del(&b.container).expect("DEL");
}
