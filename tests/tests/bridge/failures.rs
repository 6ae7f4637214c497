//! ADD that cannot work: an error that says why, and nothing left.

use serde_json::json;

use crate::{Bed, host_local, scripted, words};

fn bed() -> Option<Bed> {
    crate::start(&json!({"isGateway": true, "ipMasq": true, "ipam": host_local(&["10.1.0.0/24"])}))
}

#[test]
fn a_second_add_leaves_the_first_attachment_intact() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    let before = bed.node.snapshot();
    let failure = bed.network.add(&a.container).expect_err("ADD again");
    assert!(failure.msg.contains("the container has an interface eth0 already"), "{failure:?}");
    bed.assert_unchanged_since(&before);
    bed.network.check(&a.container).expect("CHECK of the first");
    assert!(bed.host().ping(a.ip(0)));
    bed.end(&[&a]);
}

#[test]
fn a_second_network_with_the_same_interface_name_leaves_the_first_intact() {
    let Some(bed) = bed() else { return };
    let a = bed.attach("a");
    let other = crate::second_network(
        &bed,
        "other",
        &json!({"bridge": "br1", "ipMasq": true, "ipam": host_local(&["10.2.0.0/24"])}),
    );
    let before = bed.node.snapshot();
    other.add(&a.container).expect_err("ADD");
    bed.assert_unchanged_since(&before);
    bed.network.check(&a.container).expect("CHECK of the first");
    bed.end(&[&a]);
}

#[test]
fn the_interface_name_is_taken() {
    let Some(bed) = bed() else { return };
    let container = bed.node.container("a");
    container.place.sh("ip link add eth0 type veth peer name other");
    let failure = bed.refused(&container);
    assert!(failure.msg.contains("the container has an interface eth0 already"), "{failure:?}");
    assert!(container.place.find_link("eth0").is_some(), "what was there stays");
}

#[test]
fn the_namespace_is_none() {
    let Some(bed) = bed() else { return };
    let mut container = bed.node.container("a");
    for (path, problem) in [
        ("/etc/passwd", "\"/etc/passwd\" is no network namespace"),
        ("/nowhere/at/all", "\"/nowhere/at/all\" does not exist"),
    ] {
        container.netns = path.into();
        let failure = bed.refused(&container);
        assert!(failure.code == 4 && words(&failure).contains(problem), "{failure:?}");
    }
    assert!(bed.host().find_link("br0").is_none(), "nothing was done");
}

#[test]
fn the_namespace_is_the_hosts() {
    let Some(bed) = bed() else { return };
    let mut container = bed.node.container("a").on("eth0");
    container.netns.clone_from(&bed.host().netns);
    let before = bed.node.snapshot();
    let failure = bed.network.add(&container).expect_err("ADD");
    assert_eq!(failure.code, 8);
    bed.assert_unchanged_since(&before);
}

#[test]
fn ipam_fails() {
    let mut ipam = scripted(&json!([]), &json!([]));
    ipam["errors"] = json!({"ADD": {"cniVersion": "1.1.0", "code": 123, "msg": "no", "details": "never"}});
    let Some(bed) = crate::start(&json!({ "ipam": ipam })) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert_eq!((failure.code, failure.msg.as_str(), failure.details.as_str()), (123, "no", "never"), "as it came");
}

#[test]
fn ipam_gives_no_address() {
    let Some(node) = ferrule_tests::Node::start() else { return };
    let log = node.dir().join("calls");
    let mut ipam = scripted(&json!([]), &json!([]));
    ipam["log"] = json!(log);
    let network = node.network_of("pods", &crate::plugin(&json!({ "ipam": ipam })));
    let failure = network.add(&node.container("a")).expect_err("ADD");
    assert!(failure.msg.contains("IPAM plugin \"scripted\" returned missing IP config"), "{failure:?}");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "ADD\nDEL\n", "what it may have given is given back");
}

#[test]
fn ipam_is_missing() {
    let Some(bed) = crate::start(&json!({"ipam": {"type": "no-such-ipam"}})) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert_eq!(failure.code, 7);
    assert!(failure.msg.contains("failed to find plugin \"no-such-ipam\" in path"), "{failure:?}");
}

#[test]
fn ipam_is_no_program() {
    // A file that CNI_PATH leads to, but which cannot be executed.
    let Some(bed) = crate::start(&json!({"ipam": {"type": "README"}})) else { return };
    let failure = bed.refused(&bed.node.container("a"));
    assert!(format!("{failure:?}").contains("README"), "{failure:?}");
}

#[test]
fn bad_values_are_refused_before_anything_is_done() {
    let cases = [
        (json!({"vlan": 4095}), "invalid VLAN ID 4095 (must be between 0 and 4094)"),
        (json!({"vlan": -1}), "vlan"),
        (json!({"vlanTrunk": [{"minID": 5, "maxID": 3}]}), "minID is greater than maxID in trunk parameter"),
        (json!({"vlanTrunk": [{"id": 4095}]}), "incorrect trunk id parameter"),
        (json!({"vlanTrunk": [{"minID": 5}]}), "maxID is missing"),
        (json!({"vlanTrunk": 7}), "vlanTrunk"),
        (json!({"bridge": "a/b"}), "bridge: invalid value \"a/b\""),
        (json!({"bridge": "a-name-that-is-too-long"}), "bridge: invalid value"),
        (json!({"isGateway": "yes"}), "isGateway"),
        (json!({"hairpinMode": 1}), "hairpinMode"),
    ];
    let Some(bed) = crate::start(&json!({})) else { return };
    for (keys, problem) in cases {
        let network = crate::second_network(&bed, "bad", &keys);
        let failure = network.add(&bed.node.container("a")).expect_err(problem);
        assert!([6, 7].contains(&failure.code) && words(&failure).contains(problem), "{failure:?}");
        assert_eq!(bed.node.snapshot(), bed.before, "nothing was done");
    }
}
