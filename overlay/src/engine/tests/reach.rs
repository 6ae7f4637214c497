//! Packets from one node's container addresses to another's.

use super::bed::*;
use crate::config::Programming;
use crate::network::{Backend, Network};
use crate::roster::tests::network;
use crate::store::{News, Record};

/// Two nodes that know of each other; their containers' addresses are on lo.
fn two(network: &Network, programming: [Programming; 2]) -> Option<([Bed; 2], [Running; 2])> {
    let beds = Bed::pair()?;
    let mut engines = [1, 2].into_iter().zip(&beds).zip(programming).map(|((n, bed), programming)| {
        let mut config = bed.config();
        config.kernel.programming = programming;
        config.kernel.blackhole = true;
        let engine = bed.start_as(config, network.clone(), n);
        let subnets = subnets(network, n);
        for subnet in &subnets {
            bed.run(&format!("ip address add {}/{} dev lo", address(subnet), subnet.max_prefix_len()));
        }
        engine.hear(News::Subnets(subnets));
        engine
    });
    let engines = [engines.next()?, engines.next()?];
    for (n, engine) in [2, 1].into_iter().zip(&engines) {
        let other = &engines[usize::from(n) - 1];
        let mut claim = other.registration.borrow().claim.clone();
        claim.subnets = subnets(network, n);
        engine.hear(News::All(vec![Record { name: format!("n{n}"), claim: Ok(claim) }]));
        engine.until_ready();
        engine.until(|status| status.peers == 1 && status.failing == 0);
    }
    Some((beds, engines))
}

fn subnets(network: &Network, n: u8) -> Vec<ipnet::IpNet> {
    let v4 = network.v4.map(|_| format!("10.42.{n}.0/24").parse().unwrap());
    let v6 = network.v6.map(|_| format!("fd42:0:0:{n}::/64").parse().unwrap());
    v4.into_iter().chain(v6).collect()
}

/// A container's.
fn address(subnet: &ipnet::IpNet) -> std::net::IpAddr {
    subnet.hosts().nth(4).unwrap()
}

fn ping(beds: &[Bed; 2], network: &Network) {
    for (from, bed, to) in [(1, &beds[0], 2), (2, &beds[1], 1)] {
        for (from, to) in subnets(network, from).iter().zip(subnets(network, to)) {
            let command = format!("ping -c 1 -W 5 -M do -s 1300 -I {} {}", address(from), address(&to));
            // The first packet may wait for the underlay's neighbour.
            bed.until(&command, |shown| shown.contains(" 0% packet loss"));
        }
    }
}

#[test]
fn nodes_that_are_programmed_differently_reach_each_other() {
    use Programming::{Auto, Neighbours};
    let v6_alone = Network { v4: None, ..network() };
    for (network, programming) in [
        (v4_network(), [Neighbours, Neighbours]),
        (v4_network(), [Neighbours, Auto]),
        (v4_network(), [Auto, Auto]),
        (v6_alone.clone(), [Neighbours, Auto]),
        (v6_alone, [Auto, Auto]),
        (network(), [Auto, Auto]),
    ] {
        let Some((beds, engines)) = two(&network, programming) else { return };
        ping(&beds, &network);
        let is_dual = network.v4.is_some() && network.v6.is_some();
        let mtu = if network.v6.is_some() { 1430 } else { 1450 };
        for engine in &engines {
            let status = engine.status();
            assert_eq!(engine.differences(), [], "{status:?}");
            assert_eq!(status.mtu, mtu);
            // Two families have two links, which next hop objects cannot serve.
            assert!(!is_dual || status.backend == "vxlan (neighbours)", "{status:?}");
        }
        assert!(
            beds[0].run("ip route show table all proto 79").contains("blackhole 10.42.0.0/16") == network.v4.is_some()
        );
    }
}

#[test]
fn nodes_of_one_segment_need_no_tunnel_with_direct_routing() {
    let mut network = network();
    if let Backend::Vxlan(vxlan) = &mut network.backend {
        vxlan.direct_routing = true;
    }
    let Some((beds, engines)) = two(&network, [Programming::Auto; 2]) else { return };
    ping(&beds, &network);
    let routes = beds[0].run("ip route show table all proto 79");
    assert!(routes.contains("10.42.2.0/24 via 192.0.2.2 dev e0"), "{routes}");
    assert!(routes.contains("fd42:0:0:2::/64 via fd00::2 dev e0"), "{routes}");
    assert_eq!(engines[0].peers()[0].how, "vxlan direct direct");
    assert_eq!(engines[0].differences(), []);
}
