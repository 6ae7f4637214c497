//! GC: who is detached, with what, and what plugins are told.

use libcni::runtime::Attachment;
use libcni::types::CniArgs;
use serde_json::{Value, json};

use crate::bed::{Bed, attachment, id, list, network};

fn add(bed: &Bed, list: &libcni::runtime::NetworkList, container: &str) {
    let mut attachment = Attachment::new(id(container, "eth0"), format!("/run/netns/{container}"));
    attachment.args = CniArgs::parse(&format!("OF={container}")).unwrap();
    attachment.capability_args = json!({"ports": [container]}).as_object().unwrap().clone();
    bed.runtime.add(list, &attachment).unwrap();
    bed.calls();
}

#[test]
fn the_stale_are_detached_as_they_were_attached_and_the_plugins_told_who_is_valid() {
    let bed = Bed::new();
    let then = list(&json!({"cniVersion": "1.0.0", "name": "net",
        "plugins": [{"type": "first"}, {"type": "third", "capabilities": {"ports": true}}]}));
    let other = list(&json!({"cniVersion": "1.1.0", "name": "other", "plugins": [{"type": "first"}]}));
    add(&bed, &then, "gone");
    add(&bed, &then, "live");
    add(&bed, &other, "gone");
    let now = network("1.1.0", &["first", "second"]);
    let collected = bed.runtime.gc(&now, &[id("live", "eth0")]).unwrap();
    assert_eq!(collected.deleted, [id("gone", "eth0")]);
    let calls = bed.calls();
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["DEL third", "DEL first", "GC first", "GC second"]);
    assert_eq!(calls[0].env("CNI_CONTAINERID"), Some("gone"));
    assert_eq!(calls[0].env("CNI_ARGS"), Some("OF=gone"));
    assert_eq!(calls[0].env("CNI_NETNS"), Some("/run/netns/gone"));
    assert_eq!(calls[0].stdin()["runtimeConfig"], json!({"ports": ["gone"]}));
    assert_eq!(calls[0].stdin()["cniVersion"], "1.0.0");
    let valid = json!([{"containerID": "live", "ifname": "eth0"}]);
    for call in &calls[2..] {
        assert_eq!(call.stdin()["cni.dev/valid-attachments"], valid);
        assert_eq!(call.stdin()["cni.dev/attachments"], valid);
        assert_eq!(call.env("CNI_CONTAINERID"), Some(""));
        assert_eq!(call.env("CNI_IFNAME"), Some(""), "nothing of this process's own call shines through");
    }
    let left: Vec<String> =
        bed.runtime.cache.attachments().unwrap().attachments.iter().map(|a| format!("{}", a.network)).collect();
    assert_eq!(left, ["net", "other"]);
}

#[test]
fn nobody_valid_is_an_empty_list() {
    let bed = Bed::new();
    bed.runtime.gc(&network("1.1.0", &["first"]), &[]).unwrap();
    assert_eq!(bed.calls()[0].stdin()["cni.dev/valid-attachments"], json!([]));
}

#[test]
fn all_failures_are_reported_and_none_stops_it() {
    let bed = Bed::new();
    let list = network("1.1.0", &["first", "second"]);
    add(&bed, &list, "a");
    add(&bed, &list, "b");
    bed.refuse("second", "DEL", 5, "busy");
    bed.refuse("first", "GC", 999, "odd");
    let fault = bed.runtime.gc(&list, &[]).unwrap_err();
    let text = libcni::error::causes(Some(&fault));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].starts_with("failed to delete stale attachment a eth0: plugin type=\"second\" failed (delete): busy")
    );
    assert!(lines[2].starts_with("plugin type=\"first\" failed (gc): odd"), "{text}");
    assert_eq!(bed.called(), ["DEL second", "DEL second", "GC first", "GC second"]);
}

#[test]
fn older_lists_have_no_gc_verb_and_disabled_ones_no_gc_at_all() {
    let bed = Bed::new();
    let old = network("1.0.0", &["first"]);
    add(&bed, &old, "a");
    let mut value: Value = serde_json::from_slice(old.bytes()).unwrap();
    value["disableGC"] = "true".into();
    bed.runtime.gc(&list(&value), &[]).unwrap();
    assert_eq!(bed.called(), Vec::<String>::new());
    bed.runtime.gc(&old, &[]).unwrap();
    assert_eq!(bed.called(), ["DEL first"]);
}

#[test]
fn files_that_are_no_entries_stay_and_are_reported() {
    let bed = Bed::new();
    let list = network("1.1.0", &["first"]);
    add(&bed, &list, "a");
    let garbage = bed.write("cache/results/net-b-eth0", "garbage");
    let collected = bed.runtime.gc(&list, &[]).unwrap();
    assert_eq!(collected.deleted, [id("a", "eth0")]);
    assert_eq!(collected.skipped.len(), 1);
    assert_eq!(collected.skipped[0].path, garbage);
    assert!(garbage.exists());
}

#[test]
fn an_entry_of_the_go_libcni_without_its_drop_ins_is_detached_with_the_present_list() {
    let bed = Bed::new();
    bed.write(
        "net.d/1.conflist",
        json!({"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "first"}]}).to_string(),
    );
    let inline = network("1.1.0", &["first"]);
    bed.runtime.add(&inline, &attachment()).unwrap();
    bed.calls();
    bed.write("net.d/net/2.conf", json!({"type": "second"}).to_string());
    let list = libcni::runtime::find_network(&bed.path("net.d"), "net").unwrap().list;
    bed.runtime.gc(&list, &[]).unwrap();
    assert_eq!(bed.called()[..2], ["DEL second", "DEL first"]);
    // Ours has them.
    bed.runtime.add(&list, &attachment()).unwrap();
    bed.calls();
    std::fs::remove_file(bed.path("net.d/net/2.conf")).unwrap();
    let list = libcni::runtime::find_network(&bed.path("net.d"), "net").unwrap().list;
    bed.runtime.gc(&list, &[]).unwrap();
    assert_eq!(bed.called(), ["DEL second", "DEL first", "GC first"]);
}
