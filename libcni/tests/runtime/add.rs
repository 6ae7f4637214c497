//! ADD and CHECK: what plugins are given, and what is left after a failure.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use libcni::runtime::{RuntimeError, TraceContext};
use libcni::types::CniArgs;
use libcni::{ErrorCode, store};
use serde_json::{Value, json};

use crate::bed::{Bed, attachment, list, network, result};

#[test]
fn each_plugin_gets_the_result_of_the_one_before() {
    let bed = Bed::new();
    bed.answer("first", "ADD", &result("1.1.0", "10.0.0.1/24"));
    bed.answer("second", "ADD", &result("1.1.0", "10.0.0.2/24"));
    let added = bed.runtime.add(&network("1.1.0", &["first", "second"]), &attachment()).unwrap();
    assert_eq!(added.wire, result("1.1.0", "10.0.0.2/24"));
    assert_eq!(added.result.ips[0].address.to_string(), "10.0.0.2/24");
    let calls = bed.calls();
    assert_eq!(calls[0].stdin(), json!({"cniVersion": "1.1.0", "name": "net", "type": "first"}));
    assert_eq!(calls[1].stdin()["prevResult"], result("1.1.0", "10.0.0.1/24"));
    assert_eq!(calls.len(), 2);
}

#[test]
fn the_environment_is_that_of_the_protocol_and_of_the_caller() {
    let bed = Bed::new();
    let mut attachment = attachment();
    attachment.args = CniArgs::parse("IgnoreUnknown=1;K8S_POD_NAME=web").unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = TraceContext::new(parent).unwrap().with_state("a=1").with_baggage("user=7");
    bed.runtime.traced(trace).add(&network("1.0.0", &["first"]), &attachment).unwrap();
    let call = &bed.calls()[0];
    for (key, value) in [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "box"),
        ("CNI_NETNS", "/run/netns/box"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web"),
        ("CNI_PATH", bed.path("bin").to_str().unwrap()),
        ("TRACEPARENT", parent),
        ("TRACESTATE", "a=1"),
        ("BAGGAGE", "user=7"),
        ("FAKE_DIR", bed.path("").to_str().unwrap().trim_end_matches('/')),
    ] {
        assert_eq!(call.env(key), Some(value), "{key}");
    }
}

#[test]
fn capabilities_become_runtime_config_of_those_that_declare_them() {
    let bed = Bed::new();
    let list = list(&json!({"cniVersion": "1.0.0", "name": "net", "plugins": [
        {"type": "first", "capabilities": {"portMappings": true, "bandwidth": false}, "runtimeConfig": {"old": 1}},
        {"type": "second", "Capabilities": {"other": true}, "runtimeConfig": {"static": 1}},
        {"type": "third"},
    ]}));
    let mut attachment = attachment();
    let ports = json!([{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp"}]);
    attachment.capability_args =
        json!({"portMappings": ports, "bandwidth": {}, "io.kubernetes.cri.pod-annotations": {}})
            .as_object()
            .unwrap()
            .clone();
    bed.runtime.add(&list, &attachment).unwrap();
    let stdins: Vec<Value> = bed.calls().iter().map(|call| call.stdin()).collect();
    assert_eq!(stdins[0]["runtimeConfig"], json!({"portMappings": ports}));
    assert_eq!(stdins[1]["runtimeConfig"], json!({"static": 1}), "a static one stays where there is nothing to say");
    assert_eq!(stdins[2].get("runtimeConfig"), None);
    for stdin in &stdins {
        assert!(stdin.as_object().unwrap().keys().all(|key| !key.eq_ignore_ascii_case("capabilities")));
    }
}

#[test]
fn values_travel_as_they_were_written() {
    let bed = Bed::new();
    let text = br#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "first", "Name": "mine",
        "CNIVersion": "0.3.1", "big": 9007199254740993, "bigger": 123456789012345678901234567890, "price": 1.10,
        "text": "\u003c>", "n": 1, "n": 2}]}"#;
    let list = libcni::runtime::NetworkList::from_bytes(text).unwrap();
    bed.runtime.add(&list, &attachment()).unwrap();
    let sent = &bed.calls()[0].text;
    assert_eq!(
        sent,
        "{\"big\":9007199254740993,\"bigger\":123456789012345678901234567890,\"cniVersion\":\"1.0.0\",\"n\":2,\
         \"name\":\"net\",\"price\":1.10,\"text\":\"\\u003c>\",\"type\":\"first\"}"
    );
}

#[test]
fn the_attachment_is_remembered_as_the_go_libcni_does() {
    let bed = Bed::new();
    bed.answer("first", "ADD", &result("1.1.0", "10.0.0.1/24"));
    let mut attachment = attachment();
    attachment.args = CniArgs::parse("A=1").unwrap();
    attachment.capability_args = json!({"ips": ["10.0.0.1/24"]}).as_object().unwrap().clone();
    bed.runtime.add(&network("1.1.0", &["first"]), &attachment).unwrap();
    let path = bed.cache_file("net");
    let entry: Value = serde_json::from_slice(&store::read_if_present(&path).unwrap().unwrap()).unwrap();
    assert_eq!(
        entry,
        json!({
            "kind": "cniCacheV1",
            "containerId": "box",
            // {"cniVersion":"1.1.0","name":"net","plugins":[{"type":"first"}]}
            "config": "eyJjbmlWZXJzaW9uIjoiMS4xLjAiLCJuYW1lIjoibmV0IiwicGx1Z2lucyI6W3sidHlwZSI6ImZpcnN0In1dfQ==",
            "ifName": "eth0",
            "networkName": "net",
            "netns": "/run/netns/box",
            "cniArgs": [["A", "1"]],
            "capabilityArgs": {"ips": ["10.0.0.1/24"]},
            "result": result("1.1.0", "10.0.0.1/24"),
        })
    );
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn results_in_other_versions_are_converted_and_those_in_none_have_the_lists() {
    let bed = Bed::new();
    bed.answer("first", "ADD", &json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.1/24"}]}));
    bed.answer("second", "ADD", &json!({"ips": [{"address": "10.0.0.2/24"}], "own.key": 1}));
    let added = bed.runtime.add(&network("1.0.0", &["first", "second"]), &attachment()).unwrap();
    assert_eq!(bed.calls()[1].stdin()["prevResult"], result("1.0.0", "10.0.0.1/24"));
    assert_eq!(added.wire["cniVersion"], "1.0.0");
    assert_eq!(added.wire["own.key"], 1, "a result of the right version is not touched");
}

#[test]
fn a_failed_add_is_rolled_back_in_reverse() {
    let bed = Bed::new();
    bed.answer("second", "ADD", &result("1.1.0", "10.0.0.2/24"));
    bed.refuse("third", "ADD", 11, "later");
    let list = network("1.1.0", &["first", "second", "third"]);
    let fault = bed.runtime.add(&list, &attachment()).unwrap_err();
    assert_eq!(fault.to_string(), "plugin type=\"third\" failed (add)");
    assert_eq!(libcni::error::causes(Some(&fault)), "plugin type=\"third\" failed (add): later; why");
    assert_eq!(fault.code(), ErrorCode::TRY_AGAIN_LATER);
    assert_eq!(fault.reply().unwrap().details, "why");
    let calls = bed.calls();
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["ADD first", "ADD second", "ADD third", "DEL second", "DEL first"]);
    assert_eq!(calls[3].stdin()["prevResult"], result("1.1.0", "10.0.0.2/24"), "the last result there was");
    assert!(!bed.cache_file("net").exists());
}

#[test]
fn before_0_4_0_a_roll_back_gives_no_result() {
    let bed = Bed::new();
    bed.refuse("second", "ADD", 7, "no");
    assert!(bed.runtime.add(&network("0.3.1", &["first", "second"]), &attachment()).is_err());
    let calls = bed.calls();
    assert_eq!(calls[2].name, "DEL first");
    assert_eq!(calls[2].stdin().get("prevResult"), None);
}

#[test]
fn without_roll_back_everything_stays() {
    let mut bed = Bed::new();
    bed.runtime.roll_back = false;
    bed.refuse("second", "ADD", 7, "no");
    assert!(bed.runtime.add(&network("1.1.0", &["first", "second"]), &attachment()).is_err());
    assert_eq!(bed.called(), ["ADD first", "ADD second"]);
}

#[test]
fn a_roll_back_that_fails_is_told() {
    let bed = Bed::new();
    bed.refuse("second", "ADD", 7, "bad config");
    bed.refuse("first", "DEL", 5, "disk");
    let fault = bed.runtime.add(&network("1.1.0", &["first", "second"]), &attachment()).unwrap_err();
    let RuntimeError::RollBack { failures, .. } = &fault else { panic!("{fault:?}") };
    assert_eq!(failures.len(), 1);
    assert_eq!(fault.code(), ErrorCode::INVALID_CONFIG, "the cause, not the consequence");
    let text = libcni::error::causes(Some(&fault));
    assert!(text.contains("disk") && text.contains("bad config"), "{text}");
}

#[test]
fn a_plugin_whose_answer_is_of_no_use_did_its_work_and_is_undone_too() {
    for (answer, problem) in [
        (json!([1]), "expected an object"),
        (json!({"cniVersion": "9.9.9"}), "unsupported CNI result version"),
        (json!({"ips": [{"address": 7}]}), "ips[0].address"),
    ] {
        let bed = Bed::new();
        bed.answer("second", "ADD", &answer);
        let fault = bed.runtime.add(&network("1.1.0", &["first", "second"]), &attachment()).unwrap_err();
        let text = libcni::error::causes(Some(&fault));
        assert!(text.contains(problem), "{text}");
        assert_eq!(bed.called(), ["ADD first", "ADD second", "DEL second", "DEL first"]);
    }
    let bed = Bed::new();
    bed.write("answers/first.ADD", "");
    assert!(bed.runtime.add(&network("1.1.0", &["first"]), &attachment()).is_err(), "no answer at all");
}

#[test]
fn an_attachment_that_cannot_be_remembered_is_undone() {
    let bed = Bed::new();
    bed.script("first", "ADD", "rm -r \"$FAKE_DIR/cache/results\"; : >\"$FAKE_DIR/cache/results\"");
    let fault = bed.runtime.add(&network("1.1.0", &["first", "second"]), &attachment()).unwrap_err();
    assert!(matches!(fault, RuntimeError::Cache { .. }), "{fault:?}");
    assert_eq!(bed.called(), ["ADD first", "ADD second", "DEL second", "DEL first"]);
}

#[test]
fn what_can_be_known_before_is_known_before_any_plugin_runs() {
    let bed = Bed::new();
    std::fs::remove_dir(bed.path("cache")).unwrap();
    bed.write("cache", "");
    let fault = bed.runtime.add(&network("1.1.0", &["first"]), &attachment()).unwrap_err();
    assert_eq!(fault.code(), ErrorCode::IO);

    let bed = Bed::new();
    let mut long = attachment();
    long.id.container_id = "a".repeat(250).parse().unwrap();
    let fault = bed.runtime.add(&network("1.1.0", &["first"]), &long).unwrap_err();
    assert!(libcni::error::causes(Some(&fault)).contains("too long"), "{fault:?}");
    assert_eq!(bed.called(), Vec::<String>::new());
}

#[test]
fn missing_plugins_and_those_that_hang_are_named() {
    let mut bed = Bed::new();
    let fault = bed.runtime.add(&network("1.1.0", &["first", "nothere"]), &attachment()).unwrap_err();
    let text = libcni::error::causes(Some(&fault));
    assert!(text.starts_with("plugin type=\"nothere\" failed (add): failed to find plugin \"nothere\" in path"));
    assert_eq!(bed.called(), ["ADD first", "DEL first"]);

    bed.runtime.timeout = Some(Duration::from_millis(100));
    bed.script("first", "ADD", "exec sleep 60");
    let fault = bed.runtime.add(&network("1.1.0", &["first"]), &attachment()).unwrap_err();
    assert!(libcni::error::causes(Some(&fault)).contains("did not finish within 0.1 s"), "{fault:?}");
}

#[test]
fn check_gives_each_plugin_the_final_result() {
    let bed = Bed::new();
    let list = network("1.1.0", &["first", "second"]);
    bed.answer("second", "ADD", &result("1.1.0", "10.0.0.2/24"));
    bed.runtime.add(&list, &attachment()).unwrap();
    bed.calls();
    bed.runtime.check(&list, &attachment()).unwrap();
    let calls = bed.calls();
    assert_eq!(calls[0].name, "CHECK first");
    for call in &calls {
        assert_eq!(call.stdin()["prevResult"], result("1.1.0", "10.0.0.2/24"));
    }
    bed.refuse("first", "CHECK", 100, "address is gone");
    assert_eq!(bed.runtime.check(&list, &attachment()).unwrap_err().code(), ErrorCode(100));
    assert_eq!(bed.called(), ["CHECK first"], "stops there");
}

#[test]
fn check_is_not_sent_where_it_is_unknown_or_disabled() {
    let bed = Bed::new();
    let fault = bed.runtime.check(&network("0.3.1", &["first"]), &attachment()).unwrap_err();
    assert_eq!(fault.to_string(), "configuration version \"0.3.1\" does not support the CHECK command");
    for disabled in [json!(true), json!("True")] {
        let list = list(&json!({"cniVersion": "1.0.0", "name": "net", "disableCheck": disabled,
            "plugins": [{"type": "first"}]}));
        bed.runtime.check(&list, &attachment()).unwrap();
    }
    assert_eq!(bed.called(), Vec::<String>::new());
    bed.write("cache/results/net-box-eth0", "{");
    let fault = bed.runtime.check(&network("1.0.0", &["first"]), &attachment()).unwrap_err();
    assert_eq!(fault.to_string(), "failed to get network \"net\" cached result");
}
