//! The plugin static through the whole protocol: which addresses count, what is compared, what is said about faults.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's leave for tests ends at the bodies of #[test] functions; helpers are tests too"
)]

use libcni::plugin::{Env, dispatch};
use serde_json::{Value, json};
use static_ipam::Static;

/// The reply of `verb`; `null` for an empty one.
fn call(verb: &str, config: &Value, cni_args: &str) -> Result<Value, Value> {
    let env: Env = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/nowhere"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/nowhere"),
        ("CNI_ARGS", cni_args),
    ]
    .into_iter()
    .collect();
    let mut whole = json!({"cniVersion": "1.1.0", "name": "net", "type": "static"});
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let (stdin, mut stdout, mut stderr) = (serde_json::to_vec(&whole).unwrap(), Vec::new(), Vec::new());
    let code = dispatch(&Static, &[&Static], &env, &mut &stdin[..], &mut stdout, &mut stderr);
    let reply = if stdout.is_empty() { Value::Null } else { serde_json::from_slice(&stdout).unwrap() };
    if code == 0 { Ok(reply) } else { Err(reply) }
}

/// `address via gateway` of each address that ADD returns.
fn given(config: &Value, cni_args: &str) -> Vec<String> {
    let reply = call("ADD", config, cni_args).unwrap_or_else(|e| panic!("{e}"));
    let shown = |ip: &Value| match ip["gateway"].as_str() {
        Some(gateway) => format!("{} via {gateway}", ip["address"].as_str().unwrap()),
        None => ip["address"].as_str().unwrap().to_owned(),
    };
    reply["ips"].as_array().unwrap().iter().map(shown).collect()
}

/// Two configured addresses, of which the first has a gateway.
fn configured() -> Value {
    json!({"ipam": {"type": "static", "addresses": [
        {"address": "10.1.0.5/16", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64"},
    ]}})
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

#[test]
fn the_configuration_is_returned() {
    let mut config = configured();
    config["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.1.0.9", "mtu": 1300}]);
    config["ipam"]["dns"] = json!({"nameservers": ["10.1.0.53"], "domain": "example.org", "search": ["a", "b"]});
    let reply = call("ADD", &config, "").unwrap();
    assert_eq!(
        reply,
        json!({
            "cniVersion": "1.1.0",
            "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64"}],
            "routes": config["ipam"]["routes"],
            "dns": config["ipam"]["dns"],
        })
    );
}

#[test]
fn keys_match_in_any_case() {
    let config = json!({"IPAM": {"Addresses": [{"Address": "10.1.0.5/16", "GATEWAY": "10.1.0.1"}]}});
    assert_eq!(given(&config, ""), ["10.1.0.5/16 via 10.1.0.1"]);
}

#[test]
fn addresses_of_cni_args_come_after_the_configured_ones() {
    let args = "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.2.0.7/24, 10.3.0.7/24;GATEWAY=10.2.0.1,10.1.0.254";
    assert_eq!(
        given(&configured(), args),
        ["10.1.0.5/16 via 10.1.0.254", "fd00:1::5/64", "10.2.0.7/24 via 10.2.0.1", "10.3.0.7/24"]
    );
}

#[test]
fn args_replace_the_configuration_and_the_runtime_replaces_args() {
    let args = with(configured(), "args", json!({"cni": {"ips": ["10.4.0.5/24"]}}));
    assert_eq!(given(&args, "IP=10.2.0.7/24"), ["10.4.0.5/24"]);
    let runtime = with(args, "runtimeConfig", json!({"ips": ["10.5.0.5/24", "fd00:5::5/64"]}));
    assert_eq!(given(&runtime, "IP=10.2.0.7/24"), ["10.5.0.5/24", "fd00:5::5/64"]);
    let empty = with(configured(), "runtimeConfig", json!({"ips": []}));
    assert_eq!(given(&empty, ""), ["10.1.0.5/16 via 10.1.0.1", "fd00:1::5/64"]);
}

/// The reference loses it: its pods have no default route then.
#[test]
fn an_address_that_is_asked_for_keeps_the_gateway_of_its_subnet() {
    let runtime = with(configured(), "runtimeConfig", json!({"ips": ["10.1.0.77/16", "10.5.0.5/24"]}));
    assert_eq!(given(&runtime, ""), ["10.1.0.77/16 via 10.1.0.1", "10.5.0.5/24"]);
    assert_eq!(given(&runtime, "GATEWAY=10.5.0.1"), ["10.1.0.77/16 via 10.1.0.1", "10.5.0.5/24 via 10.5.0.1"]);
    assert_eq!(given(&configured(), "IP=10.1.0.6/16")[2], "10.1.0.6/16 via 10.1.0.1");
}

#[test]
fn what_is_replaced_need_not_be_right() {
    let config = json!({"ipam": {"addresses": [{"address": "to be set"}]}, "runtimeConfig": {"ips": ["10.1.0.5/16"]}});
    assert_eq!(given(&config, ""), ["10.1.0.5/16"]);
}

#[test]
fn check_compares_what_is_configured_with_prev_result() {
    let check = |prev_result: Value| call("CHECK", &with(configured(), "prevResult", prev_result), "");
    let ips = |list: Value| json!({"cniVersion": "1.1.0", "ips": list});
    let (v4, v6) = (json!({"address": "10.1.0.5/16", "gateway": "10.1.0.1"}), json!({"address": "fd00:1::5/64"}));
    check(ips(json!([{"address": "10.9.0.9/24"}, v4, v6]))).unwrap();
    let found = json!({"address": "fd00:1::5/64", "gateway": "fd00:1::1"});
    check(ips(json!([v4, found]))).unwrap();
    let said = |prev_result: Value| check(prev_result).unwrap_err()["msg"].as_str().unwrap().to_owned();
    assert_eq!(said(ips(json!([v4]))), "static: Failed to match addr: fd00:1::5/64 is not in prevResult");
    let other_prefix = json!({"address": "10.1.0.5/24", "gateway": "10.1.0.1"});
    assert!(said(ips(json!([other_prefix, v6]))).ends_with("10.1.0.5/16 is not in prevResult"));
    let other_gateway = json!({"address": "10.1.0.5/16", "gateway": "10.1.0.2"});
    assert!(
        said(ips(json!([other_gateway, v6])))
            .ends_with("the gateway of 10.1.0.5/16 in prevResult is 10.1.0.2, not 10.1.0.1")
    );
    let both = said(ips(json!([])));
    assert!(both.contains("10.1.0.5/16") && both.contains("fd00:1::5/64"), "{both}");
}

#[test]
fn check_knows_the_addresses_of_the_runtime() {
    let mut config = with(configured(), "runtimeConfig", json!({"ips": ["10.1.0.77/16"]}));
    config["prevResult"] = json!({"ips": [{"address": "10.1.0.77/16", "gateway": "10.1.0.1"}]});
    call("CHECK", &config, "").unwrap();
    config["runtimeConfig"]["ips"] = json!(["10.1.0.78/16"]);
    call("CHECK", &config, "").unwrap_err();
}

#[test]
fn nothing_is_kept_so_nothing_can_fail_to_go() {
    let broken = json!({"ipam": {"addresses": 7}});
    assert_eq!(call("DEL", &broken, "A=B"), Ok(Value::Null));
    assert_eq!(call("GC", &with(broken, "cni.dev/valid-attachments", json!([])), ""), Ok(Value::Null));
}

#[test]
fn status_is_about_the_configuration() {
    assert_eq!(call("STATUS", &configured(), ""), Ok(Value::Null));
    assert_eq!(call("STATUS", &json!({"ipam": {"type": "static"}}), ""), Ok(Value::Null), "the runtime may name them");
    let wrong = json!({"ipam": {"addresses": [{"address": "10.1.0.5"}]}});
    assert_eq!(call("STATUS", &wrong, "").unwrap_err()["code"], 7);
}

#[test]
fn every_version_gets_its_form_and_old_ones_one_address_of_each_family() {
    for version in ["0.1.0", "0.2.0"] {
        let config = with(configured(), "cniVersion", json!(version));
        let reply = call("ADD", &config, "").unwrap();
        assert_eq!(reply["ip4"], json!({"ip": "10.1.0.5/16", "gateway": "10.1.0.1"}));
        assert_eq!(reply["ip6"]["ip"], "fd00:1::5/64");
        let twice = call("ADD", &config, "IP=10.2.0.7/24").unwrap_err();
        assert!(twice["msg"].as_str().unwrap().contains("does not support more than 1 address per family"), "{twice}");
    }
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let config = with(configured(), "cniVersion", json!(version));
        let reply = call("ADD", &config, "IP=10.2.0.7/24").unwrap();
        assert_eq!((&reply["cniVersion"], reply["ips"].as_array().unwrap().len()), (&json!(version), 3));
    }
}
