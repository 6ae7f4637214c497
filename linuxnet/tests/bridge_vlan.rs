//! VLANs of bridge ports, and neighbours, as `bridge -j` and `ip -j` see them.

mod support;

use linuxnet::link::{self, ALL_VLANS, Bridge, Dev, PortVlan, Veth};
use linuxnet::neigh;
use linuxnet::netlink::Batch;
use support::{Bed, json, skip};

#[test]
fn ports_are_access_and_trunk() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let (bridge, _) = host.ensure_bridge(&Bridge::new("cni0")).unwrap();
    let end =
        host.create_veth(&Veth { bridge: Some(Dev::from(&bridge)), ..Veth::new("eth0", &bed.container) }).unwrap();
    assert!(!bridge.bridge.unwrap().vlan_filtering);
    // On a bridge that exists already.
    match host.run(link::set_vlan_filtering(Dev::from(&bridge), true)) {
        Err(e) if e.errno().is_some_and(|errno| errno.desc().contains("not supported")) => {
            return skip("the kernel has no bridge VLAN filtering");
        }
        done => done.unwrap(),
    }
    assert!(host.find_link("cni0").unwrap().unwrap().bridge.unwrap().vlan_filtering);
    let port = Dev::from(&end);
    assert_eq!(host.port_vlans(port).unwrap(), [PortVlan::access(1)]);

    let batch: Batch = [
        link::remove_vlans(port, ALL_VLANS),
        link::add_vlan(port, PortVlan::access(100)),
        link::add_vlans(port, 10..=12),
        link::add_vlan(port, PortVlan::tagged(4094)),
    ]
    .into_iter()
    .collect();
    batch.send(&mut host).unwrap();
    let tagged = PortVlan::tagged;
    let expected = [tagged(10), tagged(11), tagged(12), PortVlan::access(100), tagged(4094)];
    assert_eq!(host.port_vlans(port).unwrap(), expected);
    let seen = json(&bed.host, &format!("bridge -j vlan show dev {}", end.name));
    let vlans = seen[0]["vlans"].as_array().unwrap();
    let hundred = vlans.iter().find(|v| v["vlan"] == 100).unwrap();
    assert_eq!(hundred["flags"], serde_json::json!(["PVID", "Egress Untagged"]));
    assert!(vlans.iter().any(|v| v["vlan"] == 4094 && v["flags"].is_null()));

    host.run(link::remove_vlans(port, 11..=11)).unwrap();
    assert_eq!(host.port_vlans(port).unwrap().len(), 4);
    // What is not there is no fault.
    host.run(link::remove_vlans(port, 11..=11)).unwrap();
    assert!(host.run(link::add_vlan(port, PortVlan::tagged(4095))).is_err());
}

#[test]
fn a_bridge_is_born_with_vlan_filtering() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    match host.ensure_bridge(&Bridge { vlan_filtering: true, ..Bridge::new("cni0") }) {
        Ok((bridge, new)) => assert!(new && bridge.bridge.unwrap().vlan_filtering),
        Err(e) => {
            assert!(std::error::Error::source(&e).unwrap().to_string().contains("not supported"), "{e}");
            skip("the kernel has no bridge VLAN filtering");
        }
    }
}

#[test]
fn neighbours_are_set_and_forgotten() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let (bridge, _) = host.ensure_bridge(&Bridge::new("cni0")).unwrap();
    let dev = Dev::from(&bridge);
    let (old, mac) = (link::random_mac().unwrap(), link::random_mac().unwrap());
    for ip in ["10.1.0.9", "fd00::9"] {
        let ip = ip.parse().unwrap();
        host.run(neigh::set(dev, ip, old)).unwrap();
        host.run(neigh::set(dev, ip, mac)).unwrap();
        let found = host.neighbours(dev).unwrap().into_iter().find(|n| n.ip == ip).unwrap();
        assert_eq!((found.link, found.mac, found.is_permanent), (bridge.index, Some(mac), true));
        let seen = json(&bed.host, &format!("ip -j neigh show {ip} dev cni0"));
        assert_eq!((&seen[0]["lladdr"], &seen[0]["state"][0]), (&mac.to_string().into(), &"PERMANENT".into()));
        host.run(neigh::remove(dev, ip)).unwrap();
        assert!(host.run(neigh::remove(dev, ip)).unwrap_err().is_not_found());
        assert!(!host.neighbours(dev).unwrap().iter().any(|n| n.ip == ip && n.is_permanent));
    }
}
