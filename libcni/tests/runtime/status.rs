//! STATUS, VERSION and validation.

use libcni::ErrorCode;
use libcni::runtime::RuntimeError;
use serde_json::json;

use crate::bed::{Bed, list, network};

#[test]
fn status_asks_in_order_and_keeps_the_code() {
    let bed = Bed::new();
    let chain = network("1.1.0", &["first", "second", "third"]);
    bed.runtime.status(&chain).unwrap();
    let calls = bed.calls();
    assert_eq!(
        calls.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["STATUS first", "STATUS second", "STATUS third"]
    );
    assert_eq!(calls[0].stdin(), json!({"cniVersion": "1.1.0", "name": "net", "type": "first"}));
    bed.refuse("second", "STATUS", 50, "pool is full");
    assert_eq!(bed.runtime.status(&chain).unwrap_err().code(), ErrorCode::PLUGIN_NOT_AVAILABLE);
    assert_eq!(bed.called(), ["STATUS first", "STATUS second"]);
    bed.runtime.status(&network("1.0.0", &["second"])).unwrap();
    assert_eq!(bed.called(), Vec::<String>::new(), "lists before 1.1.0 have no STATUS");
}

#[test]
fn versions_of_plugins_of_any_age() {
    let bed = Bed::new();
    let versions = |plugin| bed.runtime.plugin_versions(plugin).map(|v| v.supported).map_err(|e| e.to_string());
    bed.answer("first", "VERSION", &json!({"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "9.0.0"]}));
    assert_eq!(versions("first").unwrap(), ["0.4.0", "9.0.0"]);
    let call = &bed.calls()[0];
    assert_eq!(call.stdin(), json!({"cniVersion": "1.1.0"}));
    assert_eq!(call.env("CNI_IFNAME"), Some("dummy"));
    bed.answer("first", "VERSION", &json!({"cniVersion": "0.2.0"}));
    assert_eq!(versions("first").unwrap(), ["0.1.0", "0.2.0"]);
    bed.answer("first", "VERSION", &json!({"cniVersion": "1.0.0"}));
    assert!(versions("first").unwrap_err().contains("missing field supportedVersions"));
    bed.answer("first", "VERSION", &json!({}));
    assert!(versions("first").unwrap_err().contains("missing field cniVersion"));
    bed.refuse("second", "VERSION", 4, "unknown CNI_COMMAND: VERSION");
    assert_eq!(versions("second").unwrap(), ["0.1.0"]);
}

#[test]
fn validation_reports_all_that_is_wrong() {
    let bed = Bed::new();
    for plugin in ["first", "second"] {
        bed.answer(plugin, "VERSION", &json!({"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0"]}));
    }
    let good = list(&json!({"cniVersion": "1.0.0", "name": "net", "plugins": [
        {"type": "first", "capabilities": {"ips": true, "mac": false}}, {"type": "second", "capabilities": {"mac": true}},
        {"type": "first"}]}));
    assert_eq!(bed.runtime.validate(&good).unwrap().into_iter().collect::<Vec<_>>(), ["ips", "mac"]);
    assert_eq!(bed.called(), ["VERSION first", "VERSION second"], "each is asked once");
    let fault = bed.runtime.validate(&network("1.1.0", &["first", "nothere"])).unwrap_err();
    assert!(matches!(&fault, RuntimeError::Several(all) if all.len() == 2), "{fault:?}");
    assert!(
        fault.to_string().starts_with("plugin first does not support config version \"1.1.0\", only 0.4.0, 1.0.0\n")
    );
}
