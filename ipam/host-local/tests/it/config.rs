//! The configuration: what is taken from where, and what is said about faults.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Network;

/// An ADD with `ipam` fails with this code and these words, and makes nothing.
#[track_caller]
fn refused(ipam: Value, code: u64, words: &str) {
    let network = Network::new(ipam);
    network.call("ADD", "c1").fails_with(code, words);
    assert!(!network.data_dir().exists());
}

#[test]
fn faults_name_the_field_the_value_and_what_is_expected() {
    refused(json!({}), 7, "no IP ranges specified");
    refused(json!({"rangeStart": "10.1.0.1"}), 7, "no IP ranges specified");
    refused(json!({"ranges": [[]]}), 7, "invalid range set 0: ipam.ranges[0]: empty range set");
    refused(
        json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.2.0.0/16"}, {"subnet": "10.3.0.0"}]]}),
        7,
        "ipam.ranges[1][1].subnet: invalid value \"10.3.0.0\", expected a network such as 10.1.0.0/16",
    );
    refused(json!({"ranges": [[{"gateway": "10.1.0.1"}]]}), 7, "ipam.ranges[0][0].subnet: invalid value \"\"");
    refused(json!({"ranges": [{"subnet": "10.1.0.0/16"}]}), 7, "ipam.ranges[0]: invalid value {…}, expected a list");
    refused(
        json!({"subnet": "10.1.0.0/16", "rangeStart": "10.1.0.01"}),
        7,
        "ipam.rangeStart: invalid value \"10.1.0.01\", expected an address",
    );
    refused(
        json!({"subnet": "10.1.0.0/31"}),
        7,
        "invalid range set 0: ipam.subnet: Network 10.1.0.0/31 too small to allocate from",
    );
    refused(
        json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.2.0.1/16"}]]}),
        7,
        "invalid range set 1: ipam.ranges[1][0].subnet: Network has host bits set. For a subnet mask of length 16 \
         the network address is 10.2.0.0",
    );
    refused(
        json!({"ranges": [[{"subnet": "10.1.0.0/16", "rangeEnd": "10.2.0.1"}]]}),
        7,
        "invalid range set 0: ipam.ranges[0][0].rangeEnd: RangeEnd 10.2.0.1 not in network 10.1.0.0/16",
    );
    refused(
        json!({"ranges": [[{"subnet": "10.1.0.0/16"}, {"subnet": "fd00::/64"}]]}),
        7,
        "invalid range set 0: ipam.ranges[0]: mixed address families",
    );
    refused(
        json!({"subnet": "10.1.0.0/16", "ranges": [[{"subnet": "10.2.0.0/16"}], [{"subnet": "10.1.4.0/24"}]]}),
        7,
        "range set 0 overlaps with 2",
    );
    refused(json!({"subnet": 7}), 7, "ipam.subnet: invalid value 7, expected a string");
    refused(
        json!({"subnet": "10.1.0.0/16", "resolvConf": "/nonexistent"}),
        5,
        "cannot read ipam.resolvConf /nonexistent",
    );
    refused(json!({"subnet": "10.1.0.0/16", "routes": [{"dst": "10.0.0.0"}]}), 7, "ipam.routes[0].dst");
}

#[test]
fn without_ipam_nothing_is_done() {
    let mut network = Network::of_size(4);
    network.config.as_object_mut().unwrap().remove("ipam");
    for verb in ["ADD", "DEL", "CHECK", "STATUS"] {
        network.call(verb, "c1").fails_with(7, "IPAM config missing 'ipam' key");
    }
}

#[test]
fn one_address_per_family_before_0_3_0() {
    let mut network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.2.0.0/16"}]]}));
    network.config["cniVersion"] = "0.2.0".into();
    network.call("ADD", "c1").fails_with(7, "CNI version 0.2.0 does not support more than 1 address per family");
    network.config["cniVersion"] = "0.3.0".into();
    assert_eq!(network.call("ADD", "c1").ips(), ["10.1.0.2/16", "10.2.0.2/16"]);
}

#[test]
fn sets_come_from_the_runtime_then_the_old_keys_then_the_list() {
    let mut network = Network::new(json!({"SUBNET": "10.1.0.0/16", "ranges": [[{"subnet": "10.2.0.0/16"}]]}));
    network.config["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.3.0.0/16", "gateway": "10.3.9.9"}]]});
    let reply = network.call("ADD", "c1");
    assert_eq!(reply.ips(), ["10.3.0.1/16", "10.1.0.2/16", "10.2.0.2/16"]);
    assert_eq!(reply.json["ips"][0]["gateway"], "10.3.9.9");
    assert_eq!(network.read("last_reserved_ip.2"), "10.2.0.2");
}

#[test]
fn requested_addresses_come_from_three_places() {
    let mut network = Network::new(json!({"ranges": [
        [{"subnet": "10.1.0.0/16"}], [{"subnet": "10.2.0.0/16"}], [{"subnet": "fd00::/64"}], [{"subnet": "10.4.0.0/16"}],
    ]}));
    network.config["args"] = json!({"cni": {"ips": ["10.2.0.20/24"]}});
    network.config["runtimeConfig"] = json!({"ips": ["fd00:0::30", "10.2.0.20"]});
    let args = [("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.1.0.10")];
    let reply = network.call_with("ADD", "c1", "eth0", &args);
    assert_eq!(reply.ips(), ["10.1.0.10/16", "10.2.0.20/16", "fd00::30/64", "10.4.0.2/16"]);
    assert_eq!(network.read("last_reserved_ip.0"), "10.1.0.10");
}

#[test]
fn requests_that_cannot_be_met_take_nothing() {
    let network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.2.0.0/24"}]]}));
    let add = |args: &str| network.call_with("ADD", "c1", "eth0", &[("CNI_ARGS", args)]);
    add("IP=10.9.0.1").fails_with(7, "failed to allocate all requested IPs: 10.9.0.1");
    add("IP=10.2.0.1").fails_with(7, "failed to allocate for range 1: requested ip 10.2.0.1 is subnet's gateway");
    add("IP=ten").fails_with(4, "cannot understand ip: \"ten\" in CNI_ARGS");
    add("IP=10.2.0.9;X=1").fails_with(4, "ARGS: unknown args [\"X=1\"]");
    network.call_with("ADD", "c2", "eth0", &[("CNI_ARGS", "IP=10.2.0.9")]).ok();
    add("IP=10.2.0.9").fails_with(
        11,
        "failed to allocate for range 1: requested IP address 10.2.0.9 is not available in range set 10.2.0.1-10.2.0.254",
    );
    assert_eq!(network.reserved().len(), 2, "c2's own");
}

#[test]
fn a_failure_in_the_second_set_frees_the_first() {
    let network = Network::new(json!({"ranges": [
        [{"subnet": "10.1.0.0/16"}], [{"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.7", "rangeEnd": "10.2.0.7"}],
    ]}));
    network.call("ADD", "c1").ok();
    network
        .call("ADD", "c2")
        .fails_with(11, "failed to allocate for range 1: no IP addresses available in range set: 10.2.0.7-10.2.0.7");
    assert_eq!(network.reserved().len(), 2);
    // An ADD that fails because the attachment exists must not take away what it has.
    network.call("ADD", "c1").fails_with(999, "10.1.0.2 has been allocated to c1 eth0");
    network.call("CHECK", "c1").ok();
}

#[test]
fn attachments_of_one_container_are_apart() {
    let network = Network::of_size(4);
    network.call_with("ADD", "c1", "eth0", &[]).ok();
    network.call_with("ADD", "c1", "eth1", &[]).ok();
    network.call_with("DEL", "c1", "eth0", &[]).ok();
    network.call_with("CHECK", "c1", "eth1", &[]).ok();
    network.call_with("CHECK", "c1", "eth0", &[]).fails_with(999, "Failed to find address added by container c1 eth0");
}

#[test]
fn check_compares_with_prev_result_and_sets() {
    let mut network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00::/64"}]]}));
    network.config["prevResult"] = network.call("ADD", "c1").json;
    network.call("CHECK", "c1").ok();
    std::fs::remove_file(network.path().join("fd00::2")).unwrap();
    let (_, text) = network.call("CHECK", "c1").error();
    assert!(text.contains("none is reserved in range set fd00::1-fd00::ffff:ffff:ffff:ffff"), "{text}");
    assert!(text.contains("fd00::2 is in prevResult and not reserved"), "{text}");
    assert!(!text.contains("10.1.0.2"), "{text}");
}

#[test]
fn status_tells_what_add_would_meet() {
    let mut network = Network::of_size(1);
    network.call("STATUS", "").ok();
    network.call("ADD", "c1").ok();
    network
        .call("STATUS", "")
        .fails_with(50, "no IP addresses available in range set: 10.1.0.2-10.1.0.2 (network net: 1 of 1 in use)");
    // Below a file there is no directory.
    network.config["ipam"]["dataDir"] = network.path().join("lock/below").to_str().unwrap().into();
    network.call("STATUS", "").fails_with(50, "net/lock/below/net; Not a directory");
    network.call("ADD", "c2").fails_with(5, "Not a directory");
    network.call("DEL", "c2").ok();
    network.config["ipam"]["subnet"] = "10.1.0.0/99".into();
    network.call("STATUS", "").fails_with(7, "ipam.subnet");
}

#[test]
fn a_huge_range_is_not_walked() {
    let network = Network::new(json!({"subnet": "fd00::/8"}));
    for i in 0..20 {
        network.call("ADD", &format!("c{i}")).ok();
    }
    network.call("STATUS", "").ok();
}

proptest! {
    #[test]
    fn any_range_gives_an_address_in_it_or_an_error_with_a_path(
        subnet in "(10\\.[0-9]{1,3}\\.0\\.0/[0-9]{1,2})|(fd00:[0-9a-f]{0,4}::/[0-9]{1,3})|.{0,12}",
        start in prop::option::of("(10\\.[0-9]{1,2}\\.0\\.[0-9]{1,3})|.{0,8}"),
        end in prop::option::of("(10\\.[0-9]{1,2}\\.[0-9]\\.[0-9]{1,3})|.{0,8}"),
        gateway in prop::option::of("10\\.1\\.0\\.[0-9]{1,3}"),
    ) {
        let network = Network::new(json!({
            "ranges": [[{"subnet": subnet, "rangeStart": start, "rangeEnd": end, "gateway": gateway}]],
        }));
        let reply = network.call("ADD", "c1");
        if reply.success {
            let net: ipnet::IpNet = subnet.parse().unwrap();
            prop_assert!(net.contains(&reply.ip()));
            prop_assert_ne!(reply.json["ips"][0]["gateway"].as_str().unwrap(), reply.ip().to_string());
            network.call("DEL", "c1").ok();
            prop_assert!(network.reserved().is_empty());
        } else {
            let (code, text) = reply.error();
            // A range of its gateway alone has nothing to give.
            let empty = code == 11 && text.contains("no IP addresses available");
            prop_assert!(empty || (code == 7 && text.contains("ipam.ranges[0][0]")), "{} {}", code, text);
        }
    }
}
