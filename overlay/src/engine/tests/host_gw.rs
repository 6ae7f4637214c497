use super::bed::*;
use crate::store::News;

#[test]
fn nodes_of_the_segment_are_reached_by_plain_routes_and_others_not() {
    let Some(bed) = Bed::new() else { return };
    // A daemon before this one made the first route; the second is somebody else's.
    bed.run("ip route add 10.42.1.0/24 via 192.0.2.11 dev e0");
    bed.run("ip route add 10.42.9.0/24 via 192.0.2.99 dev e0");
    let engine = bed.start(bed.config(), host_gw());
    engine.begin(vec![host_gw_node(1, "192.0.2.11"), host_gw_node(2, "192.0.2.12"), host_gw_node(3, "198.51.100.3")]);
    let show = "ip route show proto 79";
    let expected = "10.42.1.0/24 via 192.0.2.11 dev e0 \n10.42.2.0/24 via 192.0.2.12 dev e0 \n";
    assert_eq!(bed.run(show), expected);
    assert!(engine.state_of("n3").starts_with("failing: its address 198.51.100.3 is not on this node's segment"));
    assert_eq!((engine.state_of("n1").as_str(), engine.status().failing), ("ok", 1));
    // It moves to the segment.
    engine.hear(News::Changed(host_gw_node(3, "192.0.2.13")));
    bed.until(show, |shown| shown.contains("10.42.3.0/24 via 192.0.2.13 dev e0"));
    assert_eq!((engine.state_of("n3").as_str(), engine.status().failing), ("ok", 0));
    engine.hear(News::All(Vec::new()));
    bed.until(show, str::is_empty);
    assert!(bed.run("ip route show").contains("10.42.9.0/24 via 192.0.2.99 dev e0"), "what is not ours stays");
    assert_eq!(
        std::fs::read_to_string(bed.path("run/subnet.env")).unwrap(),
        "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=false\n"
    );
}
