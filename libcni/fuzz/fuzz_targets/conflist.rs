//! Any bytes as a network: read or refused, never a panic; and what the cache keeps of it is the same network.
#![no_main]

use libcni::runtime::NetworkList;
use libfuzzer_sys::fuzz_target;

fn types(list: &NetworkList) -> Vec<&str> {
    list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect()
}

fuzz_target!(|bytes: &[u8]| {
    for list in [NetworkList::from_bytes(bytes), NetworkList::from_plugin_bytes(bytes)].into_iter().flatten() {
        let again = NetworkList::from_bytes(list.bytes()).expect("kept for the cache");
        assert_eq!((&again.name, again.cni_version), (&list.name, list.cni_version));
        assert_eq!(types(&again), types(&list));
    }
});
