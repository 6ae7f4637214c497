//! `ipMasq` with each backend: whom the world outside, and other containers, see.

use ferrule_tests::Firewall;
use serde_json::json;

use crate::host_local;

fn hides_containers(firewall: Firewall) {
    let keys = json!({
        "isDefaultGateway": true, "ipMasq": true, "ipam": host_local(&["10.1.0.0/24", "fd00:1::/64", "10.2.0.0/24"])
    });
    let Some(bed) = crate::start_with(firewall, &keys) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    let outside = bed.node.outside.serve_udp(7000);
    let seen = |address| a.place().fetch_udp(address, 7000).expect("an answer").saw;
    assert_eq!(seen(bed.node.outside_address()), bed.node.address(), "outside");
    assert_eq!(seen(bed.node.outside_address_v6()), bed.node.address_v6(), "outside, IPv6");
    drop(outside);
    let inside = [b.place().serve_udp(7000), bed.node.host.serve_udp(7000)];
    for number in [0, 1, 2] {
        assert_eq!(seen(b.ip(number)), a.ip(number), "subnet {number}");
    }
    assert_eq!(seen(crate::address("10.1.0.1")), a.ip(0), "the gateway");
    drop(inside);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a, &b]);
}

#[test]
fn nftables() {
    hides_containers(Firewall::Nftables);
}

#[test]
fn iptables_nft() {
    hides_containers(Firewall::IptablesNft);
}

#[test]
fn iptables_legacy() {
    hides_containers(Firewall::IptablesLegacy);
}

#[test]
fn without_it_the_world_cannot_answer() {
    let keys = json!({"isDefaultGateway": true, "ipam": host_local(&["10.1.0.0/24"])});
    let Some(bed) = crate::start(&keys) else { return };
    let a = bed.attach("a");
    assert!(a.place().is_unreachable(bed.node.outside_address()));
    let rules = bed.host().sh("nft list ruleset");
    assert!(!rules.contains("masquerade"), "{rules}");
    bed.end(&[&a]);
}

#[test]
fn an_unknown_backend_is_refused_by_name() {
    let Some(bed) = crate::start(&json!({})) else { return };
    let keys = json!({"ipMasq": true, "ipam": host_local(&["10.1.0.0/24"])});
    let mut network = crate::second_network(&bed, "other", &keys);
    *network.conflist.pointer_mut("/plugins/0/ipMasqBackend").unwrap() = json!("ipfw");
    let failure = network.add(&bed.node.container("a")).expect_err("ADD");
    assert_eq!(failure.code, 7);
    assert!(crate::words(&failure).contains("unknown ipmasq backend \"ipfw\""), "{failure:?}");
    assert!(bed.host().find_link("br0").is_none(), "nothing was done");
}
