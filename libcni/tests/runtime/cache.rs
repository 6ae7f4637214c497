//! The result cache: foreign, broken and ambiguous entries.

use libcni::runtime::{CacheError, CachedAttachment};
use libcni::types::CniArgs;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::bed::{Bed, attachment, damaged, id, list, network, result};

/// As the Go libcni 1.3.1 writes it (with its cnitool and the reference's bridge).
const FROM_GO: &str = include_str!("../fixtures/go-libcni-1.3.1/cache-entry.json");

fn entry(network: &str, container: &str, ifname: &str) -> CachedAttachment {
    let mut attachment = attachment();
    attachment.id = id(container, ifname);
    let config = json!({"cniVersion": "1.0.0", "name": network, "plugins": [{"type": "first"}]});
    CachedAttachment {
        network: network.parse().unwrap(),
        attachment,
        config: list(&config).bytes().to_owned(),
        result: Some(result("1.0.0", "10.0.0.1/24")),
    }
}

#[test]
fn an_entry_of_the_go_libcni_is_read_whole() {
    let bed = Bed::new();
    bed.write("cache/results/a-cnitool-91c761e9aa179d96eabf-eth0", FROM_GO);
    let found = bed.runtime.cache.attachments().unwrap();
    assert_eq!(found.skipped, []);
    let entry = &found.attachments[0];
    assert_eq!(entry.network.as_str(), "a");
    assert_eq!(entry.attachment.id, id("cnitool-91c761e9aa179d96eabf", "eth0"));
    assert_eq!(entry.attachment.netns.as_deref(), Some("/run/netns/c2".as_ref()));
    assert_eq!(entry.attachment.args, CniArgs::parse("IgnoreUnknown=1;K=V").unwrap());
    assert_eq!(entry.attachment.capability_args["ips"], json!(["10.77.0.9/24"]));
    let list = entry.list().unwrap();
    assert_eq!(list.plugins.iter().map(|p| p.plugin_type.as_str()).collect::<Vec<_>>(), ["bridge", "loopback"]);
    assert_eq!(entry.result.as_ref().unwrap()["ips"][0]["address"], "10.77.0.9/24");
}

/// Older releases of the Go libcni, such as containerd 1.6's, do not write `netns`.
#[test]
fn the_namespace_of_an_old_entry_is_that_of_its_result() {
    let bed = Bed::new();
    let mut old: Value = serde_json::from_str(FROM_GO).unwrap();
    assert!(old.as_object_mut().unwrap().remove("netns").is_some());
    let name = "cache/results/a-cnitool-91c761e9aa179d96eabf-eth0";
    let netns = |entry: &Value| {
        bed.write(name, entry.to_string());
        bed.runtime.cache.attachments().unwrap().attachments.remove(0).attachment.netns
    };
    assert_eq!(netns(&old), Some("/run/netns/c2".into()));
    old["result"]["interfaces"] = json!([{"name": "cni0"}]);
    assert_eq!(netns(&old), None);
}

#[test]
fn entries_round_trip() {
    let bed = Bed::new();
    let written = entry("net", "box", "eth0");
    bed.runtime.cache.write(&written).unwrap();
    let read = bed.runtime.cache.read(&written.network, &written.attachment.id).unwrap().unwrap();
    assert_eq!(read.attachment, written.attachment);
    assert_eq!(read.config, written.config);
    assert_eq!(read.result, written.result);
}

#[test]
fn two_attachments_that_share_a_file_name_do_not_take_each_others_entry() {
    let bed = Bed::new();
    let cache = &bed.runtime.cache;
    let (one, two) = (entry("a-b", "c", "eth0"), entry("a", "b-c", "eth0"));
    cache.write(&one).unwrap();
    assert!(matches!(cache.read(&two.network, &two.attachment.id), Err(CacheError::Taken { .. })));
    let other = list(&json!({"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "first"}]}));
    let fault = bed.runtime.add(&other, &two.attachment).unwrap_err();
    assert!(libcni::error::causes(Some(&fault)).contains("belongs to c eth0 of network a-b"), "{fault:?}");
    assert_eq!(bed.called(), Vec::<String>::new());
    bed.runtime.del(&other, &two.attachment).unwrap();
    assert!(cache.read(&one.network, &one.attachment.id).unwrap().is_some());
}

#[test]
fn an_entry_under_another_networks_name_is_not_taken_for_its_own() {
    let bed = Bed::new();
    let cache = &bed.runtime.cache;
    let one = entry("one", "box", "eth0");
    cache.write(&one).unwrap();
    std::fs::rename(bed.cache_file("one"), bed.cache_file("net")).unwrap();
    let net = network("1.0.0", &["first"]);
    assert!(matches!(cache.read(&net.name, &attachment().id), Err(CacheError::Taken { .. })));
}

#[test]
fn a_missing_directory_is_an_empty_cache() {
    let bed = Bed::new();
    assert!(bed.runtime.cache.attachments().unwrap().attachments.is_empty());
    let list = network("1.0.0", &["first"]);
    assert!(bed.runtime.cache.read(&list.name, &attachment().id).unwrap().is_none());
}

proptest! {
    #[test]
    fn broken_and_foreign_files_never_hide_an_entry(
        files in prop::collection::vec(prop_oneof![damaged(FROM_GO), any::<Vec<u8>>()], 1..4),
    ) {
        let bed = Bed::new();
        for (i, bytes) in files.iter().enumerate() {
            bed.write(&format!("cache/results/net-{i}-eth0"), bytes);
        }
        let good = entry("net", "zz", "eth0");
        bed.runtime.cache.write(&good).unwrap();
        bed.write("cache/results/.net-tmp-eth0.1234", "half");
        let found = bed.runtime.cache.attachments().unwrap();
        prop_assert_eq!(found.attachments.len() + found.skipped.len(), files.len() + 1);
        prop_assert!(found.attachments.iter().any(|a| a.attachment.id == good.attachment.id));
        for i in 0..files.len() {
            // Whatever it holds, it is a fault or another's; never a panic.
            let _ = bed.runtime.cache.result(&good.network, &id(&i.to_string(), "eth0"), libcni::SpecVersion::LATEST);
        }
    }
}
