//! The external interface changes.

use super::bed::*;
use crate::config::Programming;

#[test]
fn address_and_mtu_of_the_external_interface_are_followed() {
    for programming in [Programming::Neighbours, Programming::Auto] {
        let Some(bed) = Bed::new() else { return };
        let mut engine = bed.vxlan(programming);
        engine.begin(vec![node(1), node(2)]);
        let subnet_file = || std::fs::read_to_string(bed.path("run/subnet.env")).unwrap();
        assert!(subnet_file().contains("FLANNEL_MTU=1450"));
        bed.run("ip link set e0 mtu 1400");
        bed.until("ip -o link show dev flannel.1", |shown| shown.contains("mtu 1350"));
        bed.until("true", |_| subnet_file().contains("FLANNEL_MTU=1350"));
        assert_eq!(engine.registration.borrow_and_update().claim.mtu, Some(1350));
        bed.run("ip address delete 192.0.2.1/24 dev e0");
        bed.run("ip address add 192.0.2.2/24 dev e0");
        bed.run("ip route replace default via 192.0.2.254");
        bed.until("true", |_| engine.registration.borrow().claim.public_ip == Some([192, 0, 2, 2].into()));
        let show = match engine.status().backend.as_str() {
            "vxlan (nexthop objects)" => "ip nexthop show dev flannel.1",
            _ => "ip -d link show dev flannel.1",
        };
        bed.until(show, |shown| shown.contains("192.0.2.2") && !shown.contains("192.0.2.1 "));
        engine.until_ready();
        engine.until(|_| engine.differences().is_empty());
        bed.until("ip route show proto 79", |shown| shown.lines().count() == 2);
    }
}

#[test]
fn the_external_interface_goes_and_comes_back() {
    for programming in [Programming::Neighbours, Programming::Auto] {
        let Some(bed) = Bed::new() else { return };
        let engine = bed.vxlan(programming);
        engine.begin(vec![node(1), node(2)]);
        bed.run("ip link delete e0");
        engine.until(|status| status.not_ready.iter().any(|why| why.contains("e0")));
        bed.lay();
        engine.until_ready();
        bed.until("ip route show proto 79", |shown| shown.lines().count() == 2);
        engine.until(|_| engine.differences().is_empty());
    }
}
