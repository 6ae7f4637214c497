//! A node on which flanneld was before.

use super::bed::*;
use crate::config::Programming;

#[test]
fn flannels_link_and_entries_are_taken_over() {
    let Some(bed) = Bed::new() else { return };
    for command in [
        "ip link add flannel.1 address 02:11:22:33:44:55 type vxlan id 1 local 192.0.2.1 dev e0 dstport 8472 nolearning",
        "ip address add 10.42.0.0/32 dev flannel.1",
        "ip link set flannel.1 up",
        // A node that is there, and one that left while flanneld was down.
        "ip neigh replace 10.42.1.0 lladdr 0a:00:00:00:00:01 dev flannel.1 nud permanent",
        "bridge fdb replace 0a:00:00:00:00:01 dev flannel.1 dst 198.51.100.1 self permanent",
        "ip route replace 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink",
        "ip neigh replace 10.42.8.0 lladdr 0a:00:00:00:00:08 dev flannel.1 nud permanent",
        "bridge fdb replace 0a:00:00:00:00:08 dev flannel.1 dst 198.51.100.8 self permanent",
        "ip route replace 10.42.8.0/24 via 10.42.8.0 dev flannel.1 onlink",
    ] {
        bed.run(command);
    }
    let index = |text: &str| text.split(':').next().unwrap().to_owned();
    let before = index(&bed.run("ip -o link show dev flannel.1"));
    let engine = bed.vxlan(Programming::Auto);
    engine.begin(vec![node(1)]);
    let after = bed.run("ip -o link show dev flannel.1");
    assert_eq!(index(&after), before, "the link is the same");
    assert!(!after.contains("02:11:22:33:44:55") && after.contains("mtu 1450"), "{after}");
    assert_eq!(engine.status().backend, "vxlan (neighbours)");
    let expected = "10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink
10.42.1.0 lladdr 0a:00:00:00:00:01 PERMANENT
0a:00:00:00:00:01 dst 198.51.100.1 self permanent
";
    assert_eq!(bed.objects(), expected);
    assert!(!bed.run("ip route show").contains("10.42.8.0"));
    assert_eq!(engine.differences(), []);
}

#[test]
fn a_link_of_another_network_is_made_anew_and_one_of_another_kind_is_not_touched() {
    let Some(bed) = Bed::new() else { return };
    bed.run("ip link add flannel.1 type vxlan id 9 local 192.0.2.1 dev e0 dstport 4789");
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1)]);
    assert!(bed.run("ip -d link show dev flannel.1").contains("vxlan id 1 local 192.0.2.1 dev e0"));
    engine.stop();
    bed.run("ip link delete flannel.1");
    bed.run("ip link add flannel.1 type veth peer name other");
    let engine = bed.vxlan(Programming::Neighbours);
    engine.hear(crate::store::News::Subnets(vec!["10.42.0.0/24".parse().unwrap()]));
    let status = engine.until(|status| status.not_ready.iter().any(|why| why.contains("flannel.1")));
    assert!(status.not_ready[0].contains("is no VXLAN link (it is veth)"), "{status:?}");
    assert!(bed.run("ip -d link show dev flannel.1").contains("veth"));
    // It is out of the way: the node goes on by itself.
    bed.run("ip link delete flannel.1");
    engine.hear(crate::store::News::All(vec![node(1)]));
    engine.until_ready();
    assert_eq!(engine.differences(), []);
}
