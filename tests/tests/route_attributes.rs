//! The attributes that CNI 1.1 gives routes (`mtu`, `advmss`, `priority`, `table`, `scope`): every plugin that gives a
//! container an interface has the kernel take them, and reports what the kernel has made of them.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use ferrule_tests::{Feature, Node, Place, require};
use serde_json::{Value, json};

/// A link of the host for plugins that need one.
const MASTER: &str = "uplink";

/// Routes with everything, and what is to be reported of them: the kernel takes no MTU above 65520 and no segment
/// size above 65495, gives IPv6 routes a metric, and no scope but on the link; table 0 is the main one.
fn routes() -> [(Value, Value); 6] {
    let same = |route: Value| (route.clone(), route);
    [
        same(json!({
            "dst": "10.7.0.0/16", "gw": "10.1.0.1", "mtu": 1400, "advmss": 1360, "priority": 77, "table": 1234, "scope": 0
        })),
        same(json!({"dst": "10.8.0.0/16", "mtu": 1300, "advmss": 1260, "priority": 78, "table": 254, "scope": 253})),
        (
            json!({"dst": "10.9.0.0/16", "mtu": 70000, "advmss": 70000, "priority": 0, "table": 0, "scope": 254}),
            json!({"dst": "10.9.0.0/16", "mtu": 65520, "advmss": 65495, "priority": 0, "table": 254, "scope": 254}),
        ),
        same(json!({
            "dst": "fd07::/64", "gw": "fd00:1::1", "mtu": 1300, "advmss": 1240, "priority": 5, "table": 70000, "scope": 0
        })),
        same(json!({"dst": "fd08::/64", "mtu": 1280, "advmss": 1220, "priority": 6, "table": 254, "scope": 253})),
        (
            json!({"dst": "fd09::/64", "gw": "fd00:1::1", "mtu": 70000, "priority": 0, "table": 0, "scope": 200}),
            json!({"dst": "fd09::/64", "gw": "fd00:1::1", "mtu": 65520, "priority": 1024, "table": 254, "scope": 0}),
        ),
    ]
}

/// `static` with an address of each family, and these routes.
fn ipam(routes: &[Value]) -> Value {
    json!({
        "type": "static",
        "addresses": [
            {"address": "10.1.0.5/24", "gateway": "10.1.0.1"},
            {"address": "fd00:1::5/64", "gateway": "fd00:1::1"}
        ],
        "routes": routes
    })
}

/// The container's route to `destination`, as the kernel has it, in the words of the specification.
fn in_kernel(place: &Place, reported: &Value) -> Value {
    let destination = reported["dst"].as_str().unwrap();
    let family = if destination.contains(':') { "-6" } else { "-4" };
    let shown = place.json(&format!("ip -j -N {family} route show table all {destination}"));
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
    let is = &shown[0];
    assert_eq!(is["dev"], "eth0", "{shown}");
    let metric = |name: &str| is["metrics"][0][name].clone();
    let number = |key: &str, default: u64| is[key].as_str().map_or(default, |text| text.parse().unwrap());
    // `ip` leaves out what goes without saying, and the scope of IPv6 routes, which have none.
    let v6_on_link = family == "-6" && is["gateway"].is_null();
    let mut route = json!({
        "dst": destination, "gw": is["gateway"], "mtu": metric("mtu"), "advmss": metric("advmss"),
        "priority": is["metric"].as_u64().unwrap_or(0), "table": number("table", 254),
        "scope": if v6_on_link { 253 } else { number("scope", 0) }
    });
    route.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    route
}

/// The plugin with these keys does as it is told, and says what it did.
fn applies_and_reports(keys: &Value) {
    let Some(node) = Node::start() else { return };
    let (asked, expected): (Vec<Value>, Vec<Value>) = routes().into_iter().unzip();
    let mut plugin = keys.clone();
    plugin["ipam"] = ipam(&asked);
    let network = node.network_of("attributes", &plugin);
    let a = node.container("a");
    let result = network.add(&a).expect("ADD");
    let reported = result["routes"].as_array().expect("routes");
    for expected in &expected {
        assert!(reported.contains(expected), "{expected} is not in {reported:#?}");
        assert_eq!(in_kernel(&a.place, expected), *expected);
    }
    assert_eq!(reported.len(), expected.len(), "{reported:#?}");
    network.check(&a).expect("CHECK");
    network.del(&a).expect("DEL");
}

#[test]
fn bridge() {
    applies_and_reports(&json!({"type": "bridge", "bridge": "br0"}));
}

#[test]
fn ptp() {
    applies_and_reports(&json!({"type": "ptp"}));
}

#[test]
fn macvlan() {
    applies_and_reports(&json!({"type": "macvlan", "master": MASTER}));
}

#[test]
fn ipvlan() {
    if require(Feature::Ipvlan) {
        applies_and_reports(&json!({"type": "ipvlan", "master": MASTER}));
    }
}

#[test]
fn vlan() {
    if require(Feature::Vlan) {
        applies_and_reports(&json!({"type": "vlan", "master": MASTER, "vlanId": 7}));
    }
}

#[test]
fn dummy() {
    if require(Feature::Dummy) {
        applies_and_reports(&json!({"type": "dummy"}));
    }
}

#[test]
fn host_device() {
    // The host's uplink is as good as any.
    applies_and_reports(&json!({"type": "host-device", "device": MASTER}));
}

#[test]
fn tap() {
    applies_and_reports(&json!({"type": "tap"}));
}
