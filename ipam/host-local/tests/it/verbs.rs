//! Every verb in every specification version, through the whole protocol.

use serde_json::{Value, json};

use crate::support::Network;

fn dual_stack() -> Network {
    Network::new(json!({
        "ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00:1::/64"}]],
        "routes": [
            {"dst": "0.0.0.0/0"},
            {"dst": "::/0", "gw": "fd00:1::99", "mtu": 1400, "advmss": 1340, "priority": 7, "table": 100, "scope": 0},
        ],
    }))
}

#[test]
fn add_returns_an_address_of_each_set_and_echoes_routes_and_dns() {
    let mut network = dual_stack();
    let resolv_conf = network.data_dir().with_file_name("resolv.conf");
    std::fs::File::create(&resolv_conf).unwrap();
    std::fs::copy("tests/fixtures/resolv.conf", &resolv_conf).unwrap();
    network.config["ipam"]["resolvConf"] = resolv_conf.to_str().unwrap().into();
    assert_eq!(
        network.call("ADD", "c1").json,
        json!({
            "cniVersion": "1.1.0",
            "ips": [
                {"address": "10.1.0.2/16", "gateway": "10.1.0.1"},
                {"address": "fd00:1::2/64", "gateway": "fd00:1::1"},
            ],
            "routes": [
                {"dst": "0.0.0.0/0"},
                {"dst": "::/0", "gw": "fd00:1::99", "mtu": 1400, "advmss": 1340, "priority": 7, "table": 100, "scope": 0},
            ],
            "dns": {"nameservers": ["10.0.0.10"], "domain": "example.org", "search": ["a", "b"], "options": ["ndots:5"]},
        })
    );
    assert_eq!(network.read("10.1.0.2"), "c1\r\neth0");
    assert_eq!(network.read("fd00:1::2"), "c1\r\neth0");
    assert_eq!(network.read("last_reserved_ip.0"), "10.1.0.2");
    assert_eq!(network.read("last_reserved_ip.1"), "fd00:1::2");
}

#[test]
fn every_verb_with_every_version() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let mut network = dual_stack();
        network.config["cniVersion"] = version.into();
        let added = network.call("ADD", "c1");
        added.ok();
        assert_eq!(added.json["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(added.json["ip4"]["ip"], "10.1.0.2/16");
            assert_eq!(added.json["ip4"]["gateway"], "10.1.0.1");
            assert_eq!(added.json["ip4"]["routes"], json!([{"dst": "0.0.0.0/0"}]));
            assert_eq!(added.json["ip6"]["ip"], "fd00:1::2/64");
        } else {
            assert_eq!(added.ips(), ["10.1.0.2/16", "fd00:1::2/64"]);
            let family = if version < "1.0.0" { json!("6") } else { Value::Null };
            assert_eq!(added.json["ips"][1]["version"], family);
        }
        network.config["prevResult"] = added.json;
        if version < "0.4.0" {
            network.call("CHECK", "c1").fails_with(1, "config version does not allow CHECK");
        } else {
            network.call("CHECK", "c1").ok();
        }
        if version < "1.1.0" {
            network.call("STATUS", "").fails_with(1, "config version does not allow STATUS");
            network.gc(&[]).fails_with(1, "config version does not allow GC");
        } else {
            network.call("STATUS", "").ok();
            network.gc(&[("c1", "eth0")]).ok();
        }
        assert_eq!(network.reserved().len(), 2);
        network.call("DEL", "c1").ok();
        assert!(network.reserved().is_empty());
        network.call("DEL", "c1").ok();
    }
}
