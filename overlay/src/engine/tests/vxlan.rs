use super::bed::*;
use crate::config::Programming;
use crate::store::News;

#[test]
fn nodes_come_change_and_go_as_neighbours() {
    let Some(bed) = Bed::new() else { return };
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1), node(2)]);
    assert_eq!(engine.status().backend, "vxlan (neighbours)");
    let expected = "10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink
10.42.2.0/24 via 10.42.2.0 dev flannel.1 onlink
10.42.1.0 lladdr 0a:00:00:00:00:01 PERMANENT
10.42.2.0 lladdr 0a:00:00:00:00:02 PERMANENT
0a:00:00:00:00:01 dst 198.51.100.1 self permanent
0a:00:00:00:00:02 dst 198.51.100.2 self permanent
";
    assert_eq!(bed.objects(), expected);
    // One gets another MAC address and another address, one comes, one goes.
    engine.hear(News::Changed(node_at(2, "198.51.100.22", 22)));
    engine.hear(News::Changed(node(3)));
    engine.hear(News::Gone("n1".into()));
    engine.until(|status| status.peers == 2);
    let expected = "10.42.2.0/24 via 10.42.2.0 dev flannel.1 onlink
10.42.3.0/24 via 10.42.3.0 dev flannel.1 onlink
10.42.2.0 lladdr 0a:00:00:00:00:16 PERMANENT
10.42.3.0 lladdr 0a:00:00:00:00:03 PERMANENT
0a:00:00:00:00:03 dst 198.51.100.3 self permanent
0a:00:00:00:00:16 dst 198.51.100.22 self permanent
";
    assert_eq!(bed.objects(), expected, "no entry of the old MAC address is left");
    assert_eq!(engine.differences(), []);
    // The link is as flannel's.
    let link = &parsed(&bed.run("ip -j -d link show dev flannel.1"))[0];
    let data = &link["linkinfo"]["info_data"];
    assert_eq!((link["mtu"].as_u64(), data["id"].as_u64(), data["port"].as_u64()), (Some(1450), Some(1), Some(8472)));
    assert_eq!((data["local"].as_str(), data["learning"].as_bool()), (Some("192.0.2.1"), Some(false)));
    let address = &parsed(&bed.run("ip -j -4 address show dev flannel.1"))[0]["addr_info"];
    assert_eq!((address[0]["local"].as_str(), address[0]["prefixlen"].as_u64()), (Some("10.42.0.0"), Some(32)));
}
