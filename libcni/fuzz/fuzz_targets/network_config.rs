//! Any bytes on stdin: read or refused, never a panic; and what was read is the same when read again.
#![no_main]

use libcni::types::{NetworkConfig, Route};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = NetworkConfig::parse(bytes) {
        assert_eq!(NetworkConfig::parse(config.raw.to_string().as_bytes()).expect("read before"), config);
        let _ = config.decode::<Route>();
    }
});
