//! What is macvlan's own: modes, and the queue of broadcasts.

use ferrule_tests::bed::{host_local, merge, text, words};
use ferrule_tests::{Bed, Pod};
use serde_json::{Value, json};

use crate::{Kind, address, dual_stack};

const OUTSIDE: [&str; 2] = ["10.5.0.254", "fd00:5::fe"];

fn bed(keys: &Value) -> Option<Bed> {
    let mut all = dual_stack();
    merge(&mut all, keys);
    Kind::Macvlan.bed(&all)
}

fn mode(pod: &Pod) -> String {
    text(&pod.interface(), "/linkinfo/info_data/mode")
}

#[track_caller]
fn assert_reaches_outside(pod: &Pod) {
    for ip in OUTSIDE {
        assert!(pod.place().ping(address(ip)), "{ip}");
    }
}

#[test]
fn bridge_is_the_default_and_containers_reach_each_other() {
    let Some(bed) = bed(&json!({})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    assert_eq!((mode(&a), mode(&b)), ("bridge".into(), "bridge".into()));
    for number in [0, 1] {
        assert!(a.place().ping(b.ip(number)) && b.place().ping(a.ip(number)), "address {number}");
        assert!(bed.node.outside.ping(a.ip(number)), "from outside to address {number}");
    }
    assert_reaches_outside(&a);
    bed.end(&[&a, &b]);
}

#[test]
fn private_and_vepa_keep_containers_apart() {
    for wanted in ["private", "vepa"] {
        let Some(bed) = bed(&json!({ "mode": wanted })) else { return };
        let (a, b) = (bed.attach("a"), bed.attach("b"));
        assert_eq!(mode(&a), wanted);
        assert_reaches_outside(&a);
        assert_reaches_outside(&b);
        // The outside is no switch that sends frames back.
        assert!(a.place().is_unreachable(b.ip(0)), "{wanted}");
        bed.network.check(&a.container).expect("CHECK");
        bed.end(&[&a, &b]);
    }
}

#[test]
fn passthru_has_the_master_for_itself() {
    let Some(bed) = bed(&json!({"mode": "passthru"})) else { return };
    let a = bed.attach("a");
    assert_eq!(mode(&a), "passthru");
    let lan = bed.link("lan");
    assert_eq!(text(&a.result, "/interfaces/0/mac"), text(&lan, "/address"), "it has the master's address");
    assert_reaches_outside(&a);
    bed.network.check(&a.container).expect("CHECK");
    let during = bed.node.snapshot();
    let failure = bed.network.add(&bed.node.container("b")).expect_err("a second one");
    assert!(words(&failure).contains("master lan takes no macvlan in mode passthru (hint: "), "{failure:?}");
    bed.assert_unchanged_since(&during);
    let other = Kind::Macvlan.network(&bed, "other", &json!({}));
    let failure = other.add(&bed.node.container("c")).expect_err("one in another mode");
    assert!(words(&failure).contains("takes no macvlan in mode bridge"), "{failure:?}");
    bed.end(&[&a]);
}

#[test]
fn passthru_with_an_address_changes_the_masters_and_gives_it_back() {
    let mac = "0a:58:0a:05:00:77";
    let Some(bed) = bed(&json!({"mode": "passthru", "mac": mac})) else { return };
    let own = text(&bed.link("lan"), "/address");
    let a = bed.attach("a");
    assert_eq!((text(&a.result, "/interfaces/0/mac"), text(&a.interface(), "/address")), (mac.into(), mac.into()));
    assert_eq!(text(&bed.link("lan"), "/address"), mac);
    assert_reaches_outside(&a);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
    assert_eq!(text(&bed.link("lan"), "/address"), own);
}

#[test]
fn the_queue_of_broadcasts_is_as_long_as_wished() {
    let Some(bed) = bed(&json!({"bcqueuelen": 321})) else { return };
    let a = bed.attach("a");
    assert_eq!(a.interface()["linkinfo"]["info_data"]["bcqueuelen"], 321);
    bed.end(&[&a]);
    let network = Kind::Macvlan.network(&bed, "usual", &json!({"bcqueuelen": 0}));
    let b = bed.attach_to(&network, bed.node.container("b"));
    assert_eq!(b.interface()["linkinfo"]["info_data"]["bcqueuelen"], 1000, "the kernel's default");
    network.del(&b.container).expect("DEL");
}

#[test]
fn a_port_of_a_bridge_is_no_master() {
    let Some(mut bed) = bed(&json!({})) else { return };
    bed.host().sh("ip link add br0 type bridge");
    bed.host().sh("ip link set lan master br0");
    bed.before = bed.node.snapshot();
    let failure = bed.refused(&bed.node.container("a"));
    assert!(words(&failure).contains("cannot create macvlan eth0: lan is in use (hint: "), "{failure:?}");
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let Some(bed) = bed(&json!({"ipam": host_local(&["10.5.0.0/24"])})) else { return };
    let containers: Vec<_> = (0..8).map(|number| bed.node.container(&format!("c{number}"))).collect();
    std::thread::scope(|scope| {
        for container in &containers {
            scope.spawn(|| bed.network.add(container).expect("ADD"));
        }
    });
    for container in &containers {
        bed.network.check(container).expect("CHECK");
        assert!(container.place.ping(address(OUTSIDE[0])));
    }
    std::thread::scope(|scope| {
        for container in &containers {
            scope.spawn(|| bed.network.del(container).expect("DEL"));
        }
    });
    bed.node.assert_nothing_left(&bed.before, &containers.iter().collect::<Vec<_>>());
}
