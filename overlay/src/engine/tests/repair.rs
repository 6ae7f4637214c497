//! What somebody else does to our objects.

use super::bed::*;
use crate::config::Programming;
use crate::store::News;

const BOTH: [Programming; 2] = [Programming::Neighbours, Programming::Auto];

#[test]
fn a_link_that_is_deleted_comes_back_with_all_that_was_on_it() {
    for programming in BOTH {
        let Some(bed) = Bed::new() else { return };
        let engine = bed.vxlan(programming);
        engine.begin((1..=50).map(node).collect());
        let before = bed.objects();
        let link = bed.run("ip -o link show dev flannel.1");
        bed.run("ip link delete flannel.1");
        engine.until(|status| status.drift_repaired > 0);
        bed.until("ip route show proto 79", |shown| shown.lines().count() == 50);
        engine.until_ready();
        assert_eq!(bed.objects(), before, "{programming:?}");
        let again = bed.run("ip -o link show dev flannel.1");
        let mac = |line: &str| line.split_once("link/ether ").unwrap().1.to_owned();
        assert_eq!(mac(&again), mac(&link));
        assert_eq!(engine.differences(), []);
    }
}

#[test]
fn what_is_removed_or_changed_is_put_right_and_strangers_go() {
    for programming in BOTH {
        let Some(bed) = Bed::new() else { return };
        let engine = bed.vxlan(programming);
        engine.begin(vec![node(1), node(2), node(3)]);
        let before = bed.objects();
        // Not ours: these stay.
        bed.run("ip route add 203.0.113.0/24 via 192.0.2.9");
        bed.run("ip nexthop add id 5 via 192.0.2.9 dev e0");
        bed.run("ip neigh add 192.0.2.9 lladdr 0a:00:00:00:00:99 dev e0 nud permanent");
        let foreign =
            || [bed.run("ip route show dev e0"), bed.run("ip nexthop show id 5"), bed.run("ip neigh show dev e0")];
        let theirs = foreign();
        for command in [
            "ip route delete 10.42.1.0/24",
            "ip neigh replace 10.42.2.0 lladdr 0a:00:00:00:00:98 dev flannel.1 nud permanent",
            "ip neigh delete 10.42.3.0 dev flannel.1",
            "ip neigh add 10.42.99.0 lladdr 0a:00:00:00:00:97 dev flannel.1 nud permanent",
            "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 203.0.113.5",
            "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 203.0.113.6",
            "ip route add 10.99.0.0/16 dev flannel.1",
            "ip route add 10.98.0.0/16 dev flannel.1 table 77",
            "ip route add 10.97.0.0/16 via 192.0.2.9 proto 79",
        ] {
            bed.show(command);
        }
        bed.until("ip route show table all proto 79", |shown| {
            shown.contains("10.42.1.0/24") && !shown.contains("10.97")
        });
        engine.until(|_| engine.differences().is_empty());
        assert_eq!(bed.objects(), before, "{programming:?}");
        assert!(!bed.run("ip route show table all").contains("10.98.0.0"));
        assert_eq!(foreign(), theirs);
        let repaired = engine.status().drift_repaired;
        assert!(repaired >= 8, "{repaired}");
        assert!(engine.metrics.text().unwrap().contains("overlayd_drift_repaired_total{kind=\"route\"}"));
    }
}

#[test]
fn the_links_own_settings_are_put_right_in_place() {
    let Some(bed) = Bed::new() else { return };
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1)]);
    let before = (bed.run("ip -o link show dev flannel.1"), bed.run("ip -o -4 address show dev flannel.1"));
    bed.run("ip link set flannel.1 address 0a:99:99:99:99:99");
    bed.run("ip link set flannel.1 mtu 1300");
    bed.run("ip address add 10.42.77.0/32 dev flannel.1");
    bed.run("ip address delete 10.42.0.0/32 dev flannel.1");
    bed.until("ip -o -4 address show dev flannel.1", |shown| shown == before.1);
    bed.until("ip -o link show dev flannel.1", |shown| shown == before.0);
    // Down, it loses its routes.
    bed.run("ip link set flannel.1 down");
    bed.until("ip route show proto 79", |shown| shown.contains("10.42.1.0/24"));
    assert_eq!(bed.run("ip -o link show dev flannel.1"), before.0);
    engine.until(|_| engine.differences().is_empty());
}

#[test]
fn what_the_kernel_refuses_for_one_node_hinders_no_other() {
    let Some(bed) = Bed::new() else { return };
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1)]);
    // Somebody else's route has the place of ours.
    bed.run("ip route add 10.42.2.0/24 via 192.0.2.9");
    engine.hear(News::Changed(node(2)));
    engine.hear(News::Changed(node(3)));
    bed.until("ip route show proto 79", |shown| shown.contains("10.42.3.0/24"));
    let state = engine.state_of("n2");
    assert!(state.contains("somebody else made a route to it") && state.contains("next try in"), "{state}");
    assert_eq!((engine.status().failing, engine.state_of("n3").as_str()), (1, "ok"));
    let faults = engine.explain("10.42.2.7").faults;
    assert!(faults.iter().any(|fault| fault.starts_with("missing in the kernel: route 10.42.2.0/24")), "{faults:?}");
    assert!(bed.run("ip route show").contains("10.42.2.0/24 via 192.0.2.9 dev e0"), "it is left alone");
    assert!(engine.metrics.text().unwrap().contains("overlayd_errors_total{peer=\"n2\"}"));
    // Out of the way, it is tried again by itself.
    bed.run("ip route delete 10.42.2.0/24 via 192.0.2.9");
    bed.until("ip route show proto 79", |shown| shown.contains("10.42.2.0/24"));
    engine.until(|status| status.failing == 0);
    assert_eq!(engine.status().drift_repaired, 0);
    let explained = engine.explain("10.42.2.7");
    let expected = [
        "10.42.2.7 is in 10.42.2.0/24 of node n2, at 198.51.100.2",
        "neigh 10.42.2.0 lladdr 0a:00:00:00:00:02 dev flannel.1",
        "fdb 0a:00:00:00:00:02 dst 198.51.100.2 dev flannel.1",
        "route 10.42.2.0/24 via 10.42.2.0 dev flannel.1 onlink",
        "198.51.100.2 via 192.0.2.254 dev e0",
    ];
    assert_eq!((explained.steps, explained.faults), (expected.map(String::from).to_vec(), vec![]));
}

#[test]
fn a_neighbour_that_is_gone_already_delays_nobody() {
    // flanneld stood still for 51.8 s here.
    let Some(bed) = Bed::new() else { return };
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1), node(2)]);
    bed.run("ip neigh delete 10.42.1.0 dev flannel.1");
    let start = std::time::Instant::now();
    engine.hear(News::Gone("n1".into()));
    engine.hear(News::Changed(node(3)));
    bed.until("ip route show proto 79", |shown| shown.contains("10.42.3.0/24") && !shown.contains("10.42.1.0/24"));
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
    engine.until(|_| engine.differences().is_empty());
}

#[test]
fn one_change_of_ours_makes_no_checks_without_end() {
    let Some(bed) = Bed::new() else { return };
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1)]);
    engine.hear(News::Changed(node(2)));
    engine.until(|status| status.peers == 2);
    let checks = || {
        let text = engine.metrics.text().unwrap();
        let line = text.lines().find(|line| line.starts_with("overlayd_check_seconds_count")).unwrap().to_owned();
        line.split_once(' ').unwrap().1.parse::<u32>().unwrap()
    };
    // The echo of our forwarding entries leads to one check; that one changes nothing.
    bed.until("true", |_| checks() >= 2);
    let settled = checks();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(checks() <= settled + 1, "{settled} and then {}", checks());
}
