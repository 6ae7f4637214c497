//! The container's MAC address, from its three sources.

use ferrule_tests::Container;
use serde_json::{Value, json};

use crate::{text, words};

const RUNTIME: &str = "02:00:00:00:00:01";
const CONFIG: &str = "02:00:00:00:00:02";
const ARGS: &str = "02:00:00:00:00:03";

/// ADD of a container with this runtime configuration and these arguments, on a network with these `args`.
fn add(config: &Value, with: impl FnOnce(Container) -> Container) -> Option<Result<String, String>> {
    let bed = crate::start(&json!({"args": {"cni": config}}))?;
    let container = with(bed.node.container("a"));
    let outcome = bed.network.add(&container).map_err(|failure| {
        assert!([4, 7].contains(&failure.code), "{failure:?}");
        assert!(bed.host().find_link("br0").is_none(), "nothing was done");
        words(&failure)
    });
    Some(outcome.map(|result| {
        let mac = text(&container.place.find_link("eth0").unwrap(), "/address");
        assert_eq!(text(&result, "/interfaces/2/mac"), mac);
        bed.network.check(&container).expect("CHECK");
        mac
    }))
}

#[test]
fn precedence_of_the_sources() {
    let all = |c: Container| c.with_capability("mac", json!(RUNTIME)).with_args(&format!("MAC={ARGS}"));
    let Some(mac) = add(&json!({"mac": CONFIG}), all) else { return };
    assert_eq!(mac.unwrap(), RUNTIME);
    let mac = add(&json!({"mac": CONFIG}), |c| c.with_args(&format!("MAC={ARGS}"))).unwrap();
    assert_eq!(mac.unwrap(), CONFIG);
    let mac = add(&json!({}), |c| c.with_args(&format!("IgnoreUnknown=1;K8S_POD_NAME=a;MAC={ARGS}"))).unwrap();
    assert_eq!(mac.unwrap(), ARGS);
}

#[test]
fn without_a_wish_it_is_random() {
    let Some(first) = add(&json!({}), |c| c) else { return };
    let second = add(&json!({}), |c| c).unwrap();
    assert_ne!(first.unwrap(), second.unwrap());
}

#[test]
fn bad_addresses_are_refused_by_name() {
    // Garbage, a multicast address, zero, and one that is too long.
    for bad in ["junk", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:00:00:01"] {
        let Some(refused) = add(&json!({"mac": bad}), |c| c) else { return };
        let message = refused.expect_err("a bad MAC address");
        assert!(message.contains("args.cni.mac") && message.contains(bad), "{message}");
    }
    let message = add(&json!({}), |c| c.with_args("MAC=junk")).unwrap().expect_err("a bad MAC address");
    assert!(message.contains("MAC in CNI_ARGS"), "{message}");
    let message = add(&json!({}), |c| c.with_capability("mac", json!("junk"))).unwrap().expect_err("a bad MAC address");
    assert!(message.contains("runtimeConfig.mac"), "{message}");
    let message = add(&json!({}), |c| c.with_args("COLOUR=red")).unwrap().expect_err("an unknown argument");
    assert!(message.contains("COLOUR"), "{message}");
}
