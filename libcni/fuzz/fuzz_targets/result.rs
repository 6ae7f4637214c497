//! Any bytes as a result: read or refused, never a panic; and each version writes what it can read.
#![no_main]

use libcni::{SpecVersion, convert, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = json::parse(bytes) else { return };
    for fallback in SpecVersion::ALL {
        let _ = convert::prev_result(&value, fallback);
        let Ok(result) = convert::result(&value, fallback) else { continue };
        for version in SpecVersion::ALL {
            let Ok(wire) = convert::to_wire(&result, version) else { continue };
            let again = convert::result(&wire, version).expect("written by us");
            assert_eq!(convert::to_wire(&again, version).expect("written before"), wire);
            if version >= SpecVersion::V1_0_0 {
                assert_eq!(again, result);
            }
        }
    }
});
