//! What is dummy's own: addresses that the container alone has.

use ferrule_tests::bed::{host_local, text};
use serde_json::json;

use crate::Kind;

#[test]
fn processes_of_the_container_reach_its_addresses() {
    if !Kind::Dummy.is_there() {
        return;
    }
    let Some(bed) = Kind::Dummy.bed(&json!({"ipam": host_local(&["10.5.0.0/24", "fd00:5::/64"])})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    for number in [0, 1] {
        assert!(a.place().ping(a.ip(number)));
        assert!(a.place().is_unreachable(b.ip(number)), "it leads nowhere");
    }
    assert_ne!(text(&a.result, "/interfaces/0/mac"), text(&b.result, "/interfaces/0/mac"));
    bed.end(&[&a, &b]);
}
