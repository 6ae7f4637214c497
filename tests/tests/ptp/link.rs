//! The veth, what the result says of it, and ADDs that cannot work.

use ferrule_tests::bed::{host_local, scripted, text};
use serde_json::{Value, json};

use crate::{host_end, start};

#[test]
fn both_ends_are_as_the_result_says() {
    let Some(bed) = start(&json!({"mtu": 1400, "ipam": host_local(&["10.1.0.0/24"])})) else { return };
    let a = bed.attach("a");
    let (host, container) = (bed.link(&host_end(&a)), a.interface());
    for (number, link) in [(0, &host), (1, &container)] {
        let reported = &a.result["interfaces"][number];
        assert_eq!((&reported["name"], &reported["mac"]), (&link["ifname"], &link["address"]));
        assert_eq!((&reported["mtu"], &link["mtu"]), (&json!(1400), &json!(1400)));
        assert_eq!(link["linkinfo"]["info_kind"], "veth");
        assert_eq!(link["operstate"], "UP");
    }
    assert!(host_end(&a).starts_with("veth"));
    assert_eq!(text(&a.result, "/interfaces/1/sandbox"), a.container.netns.to_str().unwrap());
    assert!(a.result["interfaces"][0].get("sandbox").is_none());
    assert_eq!(a.result["ips"][0]["interface"], 1);
    assert_eq!(bed.host().sysctl(&format!("net/ipv6/conf/{}/accept_ra", host_end(&a))), "0");
    bed.end(&[&a]);
}

#[test]
fn without_ipam_there_is_a_link_and_nothing_else() {
    let Some(bed) = start(&json!({})) else { return };
    bed.network.status().expect("STATUS");
    let a = bed.attach("a");
    assert_eq!(a.result["interfaces"].as_array().map(Vec::len), Some(2));
    assert!(a.result.get("ips").is_none());
    a.place().sh("ip address add 10.9.0.2/24 dev eth0");
    bed.host().sh(&format!("ip address add 10.9.0.1/24 dev {}", host_end(&a)));
    assert!(a.place().ping("10.9.0.1".parse().unwrap()), "it carries packets");
    bed.network.check(&a.container).expect("CHECK");
    bed.network.gc(&[&a.container]).expect("GC");
    bed.end(&[&a]);
}

#[test]
fn every_version_has_its_form() {
    let Some(mut bed) = start(&json!({"ipam": host_local(&["10.1.0.0/24", "fd00:1::/64"])})) else { return };
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        bed.network.conflist["cniVersion"] = json!(version);
        let a = bed.attach("a");
        assert_eq!(a.result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(text(&a.result, "/ip4/gateway"), "10.1.0.1");
            assert_eq!(text(&a.result, "/ip6/gateway"), "fd00:1::1");
        } else {
            assert_eq!(a.result["ips"][1]["interface"], 1);
        }
        assert_eq!(bed.network.check(&a.container).is_ok(), version >= "0.4.0", "{version}");
        bed.end(&[&a]);
    }
}

#[test]
fn the_dns_of_the_configuration_replaces_that_of_ipam() {
    let mut ipam = scripted(&json!([{"address": "10.1.0.5/24"}]), &json!([]));
    ipam["add"]["dns"] = json!({"nameservers": ["192.0.2.53"]});
    let Some(bed) = start(&json!({ "ipam": ipam })) else { return };
    let a = bed.attach("a");
    assert_eq!(a.result["dns"], ipam["add"]["dns"]);
    bed.end(&[&a]);
    let Some(bed) = start(&json!({"ipam": ipam, "dns": {"search": ["pods.example"]}})) else { return };
    let a = bed.attach("a");
    assert_eq!(a.result["dns"], json!({"search": ["pods.example"]}));
    bed.end(&[&a]);
}

#[test]
fn a_second_add_leaves_the_first_attachment_intact() {
    let Some(bed) = start(&json!({"ipMasq": true, "ipam": host_local(&["10.1.0.0/24"])})) else { return };
    let a = bed.attach("a");
    let before = bed.node.snapshot();
    let failure = bed.network.add(&a.container).expect_err("ADD again");
    assert!(failure.msg.contains("the container has an interface eth0 already"), "{failure:?}");
    bed.assert_unchanged_since(&before);
    bed.network.check(&a.container).expect("CHECK of the first");
    bed.end(&[&a]);
}

#[test]
fn a_failed_add_leaves_nothing() {
    let refused = |ipam: &Value| {
        let bed = start(&json!({"ipMasq": true, "ipam": ipam}))?;
        let container = bed.node.container("a");
        let failure = bed.refused(&container);
        assert!(container.place.find_link("eth0").is_none());
        Some(failure)
    };
    let ips = json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]);
    let unreachable = scripted(&ips, &json!([{"dst": "10.7.0.0/16", "gw": "172.16.0.1"}]));
    let Some(failure) = refused(&unreachable) else { return };
    assert!(failure.msg.contains("cannot add route 10.7.0.0/16 via 172.16.0.1 dev eth0"), "{failure:?}");
    let Some(failure) = refused(&scripted(&json!([]), &json!([]))) else { return };
    assert_eq!(failure.msg, "IPAM plugin \"scripted\" returned missing IP config");
    let mut broken = host_local(&["10.1.0.0/24"]);
    broken["ranges"] = json!([[{"subnet": "10.1.0.0/33"}]]);
    let Some(failure) = refused(&broken) else { return };
    assert_eq!(failure.code, 7, "{failure:?}");
}

#[test]
fn an_add_that_cannot_forward_leaves_nothing() {
    let Some(bed) = start(&json!({"ipam": host_local(&["10.1.0.0/24"])})) else { return };
    let container = bed.node.container("a");
    let add = bed.network.invocation("ADD", 0, Some(&container), &Value::Null);
    let read_only = ["unshare", "-m", "sh", "-c", "mount --bind -o ro /proc/sys /proc/sys && exec \"$@\"", "sh"];
    let failure = add.wrapped_in(&read_only).run(bed.host()).reply().expect_err("ADD");
    assert_eq!(failure.msg, "cannot enable IP forwarding");
    assert!(failure.details.contains("net/ipv4/ip_forward"), "{failure:?}");
    bed.node.assert_nothing_left(&bed.before, &[&container]);
}
