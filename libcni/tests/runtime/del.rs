//! DEL: order, what is remembered, and what to do without.

use libcni::ErrorCode;
use libcni::runtime::{CacheError, RuntimeError};
use serde_json::json;

use crate::bed::{Bed, attachment, network, result};

#[test]
fn plugins_are_called_in_reverse_with_the_final_result() {
    let bed = Bed::new();
    let list = network("1.0.0", &["first", "second"]);
    bed.answer("first", "ADD", &result("1.0.0", "10.0.0.1/24"));
    bed.answer("second", "ADD", &result("1.0.0", "10.0.0.2/24"));
    bed.runtime.add(&list, &attachment()).unwrap();
    bed.calls();
    assert!(bed.runtime.del(&list, &attachment()).unwrap().bad_cache.is_none());
    let calls = bed.calls();
    assert_eq!(calls[0].name, "DEL second");
    assert_eq!(calls[1].name, "DEL first");
    for call in &calls {
        assert_eq!(call.stdin()["prevResult"], result("1.0.0", "10.0.0.2/24"));
        assert_eq!(call.env("CNI_NETNS"), Some("/run/netns/box"));
    }
    assert!(!bed.cache_file("net").exists());
    let mut gone = attachment();
    gone.netns = None;
    bed.runtime.del(&list, &gone).unwrap();
    let calls = bed.calls();
    assert_eq!(calls[0].env("CNI_NETNS"), Some(""), "a second DEL, as containerd sends it");
    assert_eq!(calls[0].stdin().get("prevResult"), None);
}

#[test]
fn results_are_given_in_the_version_of_the_list_and_not_before_0_4_0() {
    let bed = Bed::new();
    bed.answer("first", "ADD", &result("1.0.0", "10.0.0.1/24"));
    for (version, expected) in [
        ("0.4.0", Some(json!({"cniVersion": "0.4.0", "dns": {}, "ips": [{"version": "4", "address": "10.0.0.1/24"}]}))),
        ("0.3.1", None),
    ] {
        bed.runtime.add(&network("1.0.0", &["first"]), &attachment()).unwrap();
        bed.calls();
        bed.runtime.del(&network(version, &["first"]), &attachment()).unwrap();
        assert_eq!(bed.calls()[0].stdin().get("prevResult"), expected.as_ref(), "{version}");
    }
}

#[test]
fn the_first_failure_stops_it_unless_told_otherwise() {
    let mut bed = Bed::new();
    let list = network("1.0.0", &["first", "second", "third"]);
    bed.runtime.add(&list, &attachment()).unwrap();
    bed.calls();
    bed.refuse("third", "DEL", 5, "busy");
    bed.refuse("second", "DEL", 999, "odd");
    let fault = bed.runtime.del(&list, &attachment()).unwrap_err();
    assert_eq!(libcni::error::causes(Some(&fault)), "plugin type=\"third\" failed (delete): busy; why");
    assert_eq!(bed.called(), ["DEL third"]);
    assert!(bed.cache_file("net").exists(), "remembered for another try");

    bed.runtime.stop_at_failed_del = false;
    let fault = bed.runtime.del(&list, &attachment()).unwrap_err();
    assert!(matches!(&fault, RuntimeError::Several(all) if all.len() == 2), "{fault:?}");
    assert_eq!(fault.code(), ErrorCode::IO);
    assert!(fault.to_string().contains("busy; why\nplugin type=\"second\" failed (delete): odd"), "{fault}");
    assert_eq!(bed.called(), ["DEL third", "DEL second", "DEL first"]);
    assert!(bed.cache_file("net").exists());
}

#[test]
fn a_bad_cache_entry_does_not_stop_it() {
    let bed = Bed::new();
    let bad = [
        "",
        "{",
        "null",
        "{\"kind\": \"other\", \"ips\": []}",
        "{\"kind\": \"cniCacheV1\"}",
        "{\"kind\": \"cniCacheV1\", \"containerId\": \"box\", \"config\": \"e30=\", \"ifName\": \"eth0\", \
         \"networkName\": \"net\", \"result\": {\"cniVersion\": \"9.9.9\"}}",
    ];
    for text in bad {
        let path = bed.write("cache/results/net-box-eth0", text);
        let deleted = bed.runtime.del(&network("1.0.0", &["first"]), &attachment()).unwrap();
        assert!(matches!(deleted.bad_cache, Some(CacheError::Invalid { .. })), "{text}");
        assert_eq!(bed.calls()[0].stdin().get("prevResult"), None);
        assert!(!path.exists(), "{text}");
    }
}

#[test]
fn a_bare_result_of_an_old_libcni_is_a_result() {
    let bed = Bed::new();
    let path = bed.write("cache/results/net-box-eth0", result("1.0.0", "10.0.0.9/24").to_string());
    let deleted = bed.runtime.del(&network("1.0.0", &["first"]), &attachment()).unwrap();
    assert!(deleted.bad_cache.is_none());
    assert_eq!(bed.calls()[0].stdin()["prevResult"], result("1.0.0", "10.0.0.9/24"));
    assert!(!path.exists());
}
