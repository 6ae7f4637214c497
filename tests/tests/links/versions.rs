//! Results and verbs in every version of the specification.

use serde_json::{Value, json};

use crate::{Kind, dual_stack, each};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn every_version_has_its_form() {
    each(&Kind::ALL, &dual_stack(), |_, bed| {
        for version in VERSIONS {
            bed.network.conflist["cniVersion"] = json!(version);
            let a = bed.attach("a");
            assert_eq!(a.result["cniVersion"], version);
            if version < "0.3.0" {
                assert!(a.result["ip4"]["ip"].is_string() && a.result["ip6"]["ip"].is_string(), "{}", a.result);
            } else {
                assert_eq!(a.result["interfaces"][0]["name"], "eth0");
                assert_eq!(a.result["interfaces"][0]["mtu"].is_number(), version >= "1.0.0", "{version}");
                let family = if version < "1.0.0" { json!("4") } else { Value::Null };
                assert_eq!(a.result["ips"][0]["version"], family, "{version}");
            }
            let check = bed.network.check(&a.container);
            assert_eq!(check.is_ok(), version >= "0.4.0", "{version}: {check:?}");
            for outcome in [bed.network.status(), bed.network.gc(&[&a.container])] {
                assert_eq!(outcome.map_err(|e| e.code), if version >= "1.1.0" { Ok(()) } else { Err(1) }, "{version}");
            }
            bed.end(&[&a]);
        }
    });
}
