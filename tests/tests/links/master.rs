//! The master: named or that of the default route, on the host or in the container.

use ferrule_tests::bed::{text, words};
use ferrule_tests::{Bed, Container, Pod};
use serde_json::{Value, json};

use crate::{Kind, each};

/// Those that take the link of the default route where no master is named.
const BY_ROUTE: [Kind; 2] = [Kind::Macvlan, Kind::Ipvlan];

/// The name of the link that the pod's interface is on, on the host.
fn master_of(bed: &Bed, pod: &Pod) -> String {
    let index = pod.interface()["link_index"].as_u64().expect("an index");
    let links = bed.host().json("ip -j link show");
    let is_it = |link: &&Value| link["ifindex"].as_u64() == Some(index);
    text(links.as_array().unwrap().iter().find(is_it).expect("a link of the host"), "/ifname")
}

fn unnamed() -> Value {
    json!({ "master": null })
}

#[test]
fn the_master_is_on_the_host() {
    each(&Kind::UPPER, &json!({}), |_, bed| {
        let a = bed.attach("a");
        assert_eq!(master_of(bed, &a), "lan");
        bed.end(&[&a]);
    });
}

#[test]
fn without_a_name_it_is_the_link_of_the_best_default_route() {
    each(&BY_ROUTE, &unnamed(), |_, bed| {
        let by = |expected: &str| {
            let a = bed.attach("a");
            assert_eq!(master_of(bed, &a), expected);
            bed.network.check(&a.container).expect("CHECK");
            bed.network.status().expect("STATUS");
            bed.network.del(&a.container).expect("DEL");
        };
        by("uplink");
        bed.host().sh("ip route replace default via 192.0.2.1 metric 500");
        bed.host().sh("ip route del default metric 0");
        bed.host().sh("ip route add default dev lan metric 100");
        by("lan");
        // IPv6 alone.
        bed.host().sh("ip route flush exact 0.0.0.0/0");
        by("uplink");
    });
}

#[test]
fn without_a_name_and_a_default_route_there_is_none() {
    each(&BY_ROUTE, &unnamed(), |kind, bed| {
        let a = bed.attach("a");
        bed.host().sh("ip route flush exact 0.0.0.0/0");
        bed.host().sh("ip -6 route flush exact ::/0");
        bed.before = bed.node.snapshot();
        let failure = bed.refused(&bed.node.container("b"));
        assert!(words(&failure).contains("no default route interface found in the host"), "{failure:?}");
        if kind == Kind::Macvlan {
            assert_eq!(bed.network.status().map_err(|e| e.code), Err(50));
        }
        bed.network.check(&a.container).expect("what is attached stays right");
        bed.end(&[&a]);
    });
}

#[test]
fn a_master_that_is_not_there_is_named() {
    each(&Kind::UPPER, &json!({"master": "eth7"}), |_, bed| {
        let failure = bed.refused(&bed.node.container("a"));
        let expected = "failed to lookup master \"eth7\": the host has no such interface";
        assert!(words(&failure).contains(expected), "{failure:?}");
        let status = bed.network.status().expect_err("STATUS");
        assert!(status.code == 50 && status.msg.contains(expected), "{status:?}");
    });
}

/// A container with a link `inner` to the outside, which has the addresses of `lan` on its end.
fn with_inner_link(bed: &Bed) -> Container {
    let container = bed.node.container("a");
    let outside = bed.node.outside.netns.display();
    container.place.sh(&format!("ip link add inner type veth peer name inner netns {outside}"));
    bed.node.outside.sh("ip address flush dev lan");
    for command in ["link set inner up", "address add 10.5.0.254/24 dev inner"] {
        bed.node.outside.sh(&format!("ip {command}"));
    }
    container.place.sh("ip link set inner up");
    container
}

#[test]
fn the_master_may_be_in_the_container() {
    let keys =
        json!({"master": "inner", "linkInContainer": true, "ipam": ferrule_tests::bed::host_local(&["10.5.0.0/24"])});
    each(&Kind::UPPER, &keys, |kind, bed| {
        bed.network.status().expect("STATUS: it is not known what containers have");
        let container = with_inner_link(bed);
        let a = bed.attach_to(&bed.network, container);
        assert_eq!(text(&a.interface(), "/link"), "inner");
        if kind != Kind::Vlan {
            assert!(a.place().ping(crate::address("10.5.0.254")));
        }
        bed.network.check(&a.container).expect("CHECK");
        // DEL without what it was made on.
        a.place().sh("ip link del inner");
        bed.end(&[&a]);
        let failure = bed.refused(&bed.node.container("b"));
        let expected = "failed to lookup master \"inner\": the container has no such interface";
        assert!(words(&failure).contains(expected), "{failure:?}");
    });
}

#[test]
fn the_default_route_may_be_the_containers() {
    each(&BY_ROUTE, &json!({"master": "", "linkInContainer": true}), |_, bed| {
        let container = with_inner_link(bed);
        let failure = bed.network.add(&container).expect_err("ADD without a route");
        assert!(words(&failure).contains("no default route interface found in the container"), "{failure:?}");
        container.place.sh("ip route add default dev inner");
        let a = bed.attach_to(&bed.network, container);
        assert_eq!(text(&a.interface(), "/link"), "inner");
        bed.end(&[&a]);
    });
}

#[test]
fn the_container_may_use_a_name_that_the_host_has() {
    each(&Kind::ALL, &crate::dual_stack(), |_, bed| {
        let a = bed.attach_to(&bed.network, bed.node.container("a").on("uplink"));
        assert_eq!(text(&a.result, "/interfaces/0/name"), "uplink");
        bed.network.check(&a.container).expect("CHECK");
        assert!(bed.host().find_link("uplink").is_some());
        bed.end(&[&a]);
    });
}
