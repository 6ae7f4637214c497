//! Routes: those of IPAM with all their attributes, and the default route of `isDefaultGateway`.

use serde_json::{Value, json};

use crate::{Bed, Pod, all, scripted, text};

/// An address without a gateway, and these routes.
fn bed(routes: &Value, keys: &Value) -> Option<Bed> {
    let mut all_keys = json!({"ipam": scripted(&json!([{"address": "10.1.0.5/24"}]), routes)});
    crate::merge(&mut all_keys, keys);
    crate::start(&all_keys)
}

/// The container's routes to `destination`, of all tables.
fn routes(pod: &Pod, destination: &str) -> Vec<Value> {
    let shown = pod.place().json(&format!("ip -j -N route show table all {destination}"));
    shown.as_array().cloned().unwrap_or_default()
}

#[test]
fn a_gateway_alone_is_no_default_route() {
    let Some(bed) = bed(&json!([]), &json!({"isGateway": true})) else { return };
    let a = bed.attach("a");
    assert_eq!(routes(&a, "default"), [] as [Value; 0]);
    assert!(a.result.get("routes").is_none());
    assert_eq!(text(&a.result, "/ips/0/gateway"), "10.1.0.1");
    bed.end(&[&a]);
}

#[test]
fn a_default_gateway_is_a_default_route() {
    let Some(bed) = bed(&json!([]), &json!({"isDefaultGateway": true})) else { return };
    let a = bed.attach("a");
    assert_eq!(a.result["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]));
    assert_eq!(all(&json!(routes(&a, "default")), "gateway"), ["10.1.0.1"]);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_default_route_of_ipam_with_a_gateway_stays_the_only_one() {
    let of_ipam = json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.77"}]);
    let Some(bed) = bed(&of_ipam, &json!({"isDefaultGateway": true})) else { return };
    let a = bed.attach("a");
    assert_eq!(a.result["routes"], of_ipam);
    assert_eq!(all(&json!(routes(&a, "default")), "gateway"), ["10.1.0.77"]);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_default_route_of_ipam_without_a_gateway_goes_by_the_bridge() {
    let Some(bed) = bed(&json!([{"dst": "0.0.0.0/0"}]), &json!({"isDefaultGateway": true})) else { return };
    let a = bed.attach("a");
    assert_eq!(all(&json!(routes(&a, "default")), "gateway"), ["10.1.0.1"]);
    assert_eq!(a.result["routes"].as_array().map(Vec::len), Some(1), "{}", a.result);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_route_without_any_gateway_is_on_the_link() {
    let Some(bed) = bed(&json!([{"dst": "10.7.0.0/16"}]), &json!({})) else { return };
    let a = bed.attach("a");
    assert!(routes(&a, "10.7.0.0/16")[0]["gateway"].is_null());
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn attributes_are_in_the_kernel_and_in_the_result() {
    let of_ipam = json!([
        {"dst": "10.7.0.0/16", "gw": "10.1.0.9", "mtu": 1400, "advmss": 1360, "priority": 77, "table": 1234},
        {"dst": "10.8.0.0/16", "scope": 253},
        {"dst": "fd00:7::/64", "gw": "fd00:1::9", "mtu": 1300, "priority": 5}
    ]);
    let ips = json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64"}]);
    let Some(bed) = crate::start(&json!({"ipam": scripted(&ips, &of_ipam)})) else { return };
    let a = bed.attach("a");
    assert_eq!(a.result["routes"], of_ipam);
    let v4 = &routes(&a, "10.7.0.0/16")[0];
    assert_eq!((&v4["gateway"], &v4["metric"], &v4["table"]), (&json!("10.1.0.9"), &json!(77), &json!("1234")));
    assert_eq!((&v4["metrics"][0]["mtu"], &v4["metrics"][0]["advmss"]), (&json!(1400), &json!(1360)));
    let link = &routes(&a, "10.8.0.0/16")[0];
    assert_eq!((&link["gateway"], &link["scope"]), (&Value::Null, &json!("253")));
    let v6 = &a.place().json("ip -j -6 route show fd00:7::/64")[0];
    assert_eq!((&v6["gateway"], &v6["metric"]), (&json!("fd00:1::9"), &json!(5)));
    assert_eq!(v6["metrics"][0]["mtu"], json!(1300));
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn a_route_that_the_kernel_refuses_fails_the_add() {
    let Some(bed) = bed(&json!([{"dst": "10.7.0.0/16", "gw": "172.16.0.1"}]), &json!({})) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert!(failure.msg.contains("cannot add route 10.7.0.0/16 via 172.16.0.1 dev eth0"), "{failure:?}");
}
