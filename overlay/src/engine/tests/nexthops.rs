use super::bed::*;
use crate::config::Programming;
use crate::store::News;

/// False, with SKIP printed, where the kernel lacks what next hop programming needs.
fn kernel_can(bed: &Bed) -> bool {
    let can = bed.can("ip link add probe type vxlan external vnifilter dstport 4 nolearning");
    bed.show("ip link delete probe");
    if !can {
        skip("this kernel has no VXLAN links with a filter of VNIs");
    }
    can
}

/// Whether `ip nexthop` shows that number with a tunnel to that address, by the base of node `n`.
fn is_by(shown: &str, id: u32, n: u8, address: &str) -> bool {
    let words = [format!("via 10.42.{n}.0 dev flannel.1"), format!("encap ip id 1 src 192.0.2.1 dst {address} ")];
    shown.lines().any(|line| line.starts_with(&format!("id {id} ")) && words.iter().all(|word| line.contains(word)))
}

#[test]
fn nodes_come_change_and_go_as_next_hops() {
    let Some(bed) = Bed::new() else { return };
    if !kernel_can(&bed) {
        return;
    }
    // Somebody else's next hop has the first number that we would take.
    bed.run("ip nexthop add id 79000000 via 192.0.2.77 dev e0");
    let engine = bed.vxlan(Programming::Nexthops);
    engine.begin(vec![node(1), node(2)]);
    assert_eq!(engine.status().backend, "vxlan (nexthop objects)");
    let shown = bed.objects();
    assert!(is_by(&shown, 79_000_001, 1, "198.51.100.1") && is_by(&shown, 79_000_002, 2, "198.51.100.2"), "{shown}");
    for route in
        ["10.42.1.0/24 nhid 79000001 ", "10.42.2.0/24 nhid 79000002 ", "10.42.1.0 lladdr 0a:00:00:00:00:01 PERMANENT"]
    {
        assert!(shown.contains(route), "{shown}");
    }
    assert!(!shown.contains(" self "), "no forwarding entries: {shown}");
    // Another address: the same number leads there.
    engine.hear(News::Changed(node_at(2, "198.51.100.22", 22)));
    let hops = bed.until("ip nexthop", |shown| shown.contains("dst 198.51.100.22"));
    assert!(is_by(&hops, 79_000_002, 2, "198.51.100.22"), "{hops}");
    engine.hear(News::Changed(node(3)));
    engine.hear(News::Gone("n1".into()));
    engine.until(|status| status.peers == 2);
    let hops = bed.run("ip nexthop show proto 79");
    assert!(hops.contains("id 79000003 ") && !hops.contains("id 79000001 "), "{hops}");
    assert_eq!(engine.differences(), []);
    // After a restart the numbers are the same.
    let before = bed.objects();
    engine.stop();
    let engine = bed.vxlan(Programming::Auto);
    engine.begin(vec![node(3), node_at(2, "198.51.100.22", 22)]);
    assert_eq!(bed.objects(), before);
    assert_eq!(engine.status().backend, "vxlan (nexthop objects)", "as the link says");
    assert!(bed.run("ip nexthop").contains("id 79000000 via 192.0.2.77 dev e0"), "what is not ours stays");
}

#[test]
fn auto_takes_next_hops_where_the_kernel_can() {
    let Some(bed) = Bed::new() else { return };
    if !kernel_can(&bed) {
        return;
    }
    let engine = bed.vxlan(Programming::Auto);
    engine.begin(vec![node(1)]);
    assert_eq!(engine.status().backend, "vxlan (nexthop objects)");
    assert_eq!(bed.run("ip nexthop").lines().count(), 1, "the trial is over: {}", bed.run("ip nexthop"));
}

#[test]
fn programming_is_switched_both_ways_and_nothing_of_the_other_stays() {
    let Some(bed) = Bed::new() else { return };
    if !kernel_can(&bed) {
        return;
    }
    let nodes = || vec![node(1), node(2)];
    let mut seen = Vec::new();
    for programming in [Programming::Neighbours, Programming::Nexthops, Programming::Neighbours] {
        let engine = bed.vxlan(programming);
        engine.begin(nodes());
        assert_eq!(engine.differences(), []);
        engine.stop();
        seen.push(bed.objects());
    }
    assert_eq!(seen[0], seen[2]);
    assert!(seen[1].contains("encap ip id 1") && !seen[0].contains("nhid"), "{seen:?}");
}

#[test]
fn a_number_that_somebody_takes_is_left_to_him() {
    let Some(bed) = Bed::new() else { return };
    if !kernel_can(&bed) {
        return;
    }
    let engine = bed.vxlan(Programming::Nexthops);
    engine.begin(vec![node(1)]);
    bed.run("ip nexthop add id 79000001 via 192.0.2.77 dev e0");
    engine.hear(News::Changed(node(2)));
    bed.until("ip nexthop", |shown| is_by(shown, 79_000_002, 2, "198.51.100.2"));
    engine.until(|status| status.failing == 0 && status.peers == 2);
    assert!(bed.run("ip nexthop").contains("id 79000001 via 192.0.2.77 dev e0"));
    bed.until("ip route", |shown| shown.contains("10.42.2.0/24 nhid 79000002"));
    assert_eq!(engine.differences(), []);
}
