//! Host ports that somebody has already.

use ferrule_tests::{Container, Firewall, Network, Node, eventually};
use serde_json::{Value, json};

use crate::{LAYOUTS, PORTMAP, dual_stack, other_network};

/// Whether ADD fails because of `holder`, and changes nothing.
#[track_caller]
fn assert_refused(node: &Node, network: &Network, container: &Container, holder: &Container) {
    // The bridge plugin's part first: of the rest nothing may stay.
    let result = network.invocation("ADD", 0, Some(container), &Value::Null).run(&node.host).reply().expect("bridge");
    let before = node.snapshot();
    let add = network.invocation("ADD", PORTMAP, Some(container), &result).run(&node.host).reply();
    let failure = add.expect_err("the port is taken");
    assert_eq!(failure.code, 100, "{failure:?}");
    assert!(failure.msg.contains(&holder.id) && failure.msg.contains("8080"), "{failure:?}");
    let after = node.snapshot();
    // Routes and link-local addresses appear when it pleases the kernel.
    let changed = after.since(&before).into_iter().chain(before.since(&after));
    let changed: Vec<_> = changed.filter(|line| line.starts_with("nft") || line.starts_with("iptables")).collect();
    assert!(changed.is_empty(), "{changed:?}");
    network.remember(container, Some(result));
    network.del(container).expect("DEL after a failed ADD");
}

#[test]
fn a_port_of_a_live_container_is_refused() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let first = node.container("first").publish("tcp", 8080, 80);
        network.add(&first).expect("ADD");
        let _service = first.place.serve_tcp(80);
        let second = node.container("second");
        assert_refused(&node, &network, &second.clone().publish("tcp", 8080, 80), &first);
        assert_refused(&node, &network, &second.clone().publish_on("192.0.2.2", "tcp", 8080, 80), &first);
        assert_refused(&node, &network, &second.clone().publish_on("2001:db8::2", "TCP", 8080, 80), &first);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("first").from, "first");
        let third = second.publish("udp", 8080, 80).publish("tcp", 8081, 80);
        network.add(&third).expect("another protocol and another port are free");
        network.del(&first).expect("DEL");
        let fourth = node.container("fourth").publish("tcp", 8080, 80);
        network.add(&fourth).expect("free again");
    }
}

#[test]
fn every_address_includes_one_that_is_held() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let first = node.container("first").publish_on("192.0.2.2", "tcp", 8080, 80);
        network.add(&first).expect("ADD");
        assert_refused(&node, &network, &node.container("b").publish("tcp", 8080, 80), &first);
        assert_refused(&node, &network, &node.container("c").publish_on("0.0.0.0", "tcp", 8080, 80), &first);
        let elsewhere = node.container("d").publish_on("::", "tcp", 8080, 80);
        network.add(&elsewhere).expect("IPv6 is free");
    }
}

#[test]
fn a_refusal_for_ipv6_undoes_ipv4() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        // What all attachments share is there already.
        network.add(&node.container("earlier").publish("tcp", 7000, 80)).expect("ADD");
        let first = node.container("first").publish_on("::", "tcp", 8080, 80);
        network.add(&first).expect("ADD");
        assert_refused(&node, &network, &node.container("second").publish("tcp", 8080, 80), &first);
    }
}

#[test]
fn a_port_is_refused_across_networks_and_backends() {
    for (firewall, other) in [("nftables", "iptables"), ("iptables", "nftables")] {
        let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
        let (mut network, mut second) = (dual_stack(&node), other_network(&node));
        network.conflist["plugins"][PORTMAP]["backend"] = json!(firewall);
        second.conflist["plugins"][PORTMAP]["backend"] = json!(other);
        let first = node.container("first").publish("tcp", 8080, 80);
        network.add(&first).expect("ADD");
        assert_refused(&node, &second, &node.container("second").publish("tcp", 8080, 80), &first);
    }
}

#[test]
fn a_holder_whose_link_is_gone_gives_way() {
    let Some(node) = Node::start() else { return };
    let network = dual_stack(&node);
    for host_ip in ["", "192.0.2.2"] {
        let dead = node.container("dead").publish("tcp", 8080, 80);
        network.add(&dead).expect("ADD");
        let veth = network.result(&dead)["interfaces"][1]["name"].as_str().expect("host end").to_owned();
        node.kill(&dead);
        eventually("the link of the dead container is gone", || node.host.find_link(&veth).is_none());
        let heir = node.container("heir").publish_on(host_ip, "tcp", 8080, 80);
        network.add(&heir).expect("nobody is there");
        let _service = heir.place.serve_tcp(80);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("heir").from, "heir");
        assert!(!node.host.sh("nft list map inet ferrule_portmap hostports4").contains(&dead.id));
        network.check(&heir).expect("CHECK");
        // The late DEL of the dead takes nothing from the heir.
        network.del(&dead.without_netns()).expect("DEL");
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("heir").from, "heir");
        network.check(&heir).expect("CHECK");
        network.del(&heir).expect("DEL");
    }
}

#[test]
fn a_holder_that_leads_to_our_address_gives_way() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let lost = node.container("lost").publish("tcp", 8080, 80);
        let result = network.add(&lost).expect("ADD");
        // The runtime forgot it: the address was released, the mapping was not. (Another test has the link gone.)
        let heir = node.container("heir").publish("tcp", 8080, 81);
        let mut of_heir = result.clone();
        of_heir["interfaces"][2]["sandbox"] = json!(heir.netns);
        network.invocation("ADD", PORTMAP, Some(&heir), &of_heir).run(&node.host).reply().expect("ADD");
        let _service = lost.place.serve_tcp(81);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("the new mapping").from, "lost");
        network.invocation("CHECK", PORTMAP, Some(&heir), &of_heir).run(&node.host).reply().expect("CHECK");
        network.invocation("DEL", PORTMAP, Some(&heir), &of_heir).run(&node.host).reply().expect("DEL");
        network.del(&lost).expect("DEL");
        node.assert_nothing_left(&before, &[&lost, &heir]);
    }
}

#[test]
fn add_again_replaces_its_own() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let web = node.container("web").publish("tcp", 8080, 80);
        let result = network.add(&web).expect("ADD");
        let web = Container { capabilities: json!({}), ..web }.publish("tcp", 8080, 8000);
        network.invocation("ADD", PORTMAP, Some(&web), &result).run(&node.host).reply().expect("ADD again");
        let _service = web.place.serve_tcp(8000);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("the new port").from, "web");
        network.check(&web).expect("CHECK");
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn a_container_on_two_networks_keeps_its_port() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let (first, second) = (dual_stack(&node), other_network(&node));
        let before = node.snapshot();
        let web = node.container("web").publish("tcp", 8080, 80);
        let also = web.clone().on("eth1");
        first.add(&web).expect("ADD to the first network");
        second.add(&also).expect("ADD of the same port to the second");
        let _service = web.place.serve_tcp(80);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("either way").from, "web");
        first.check(&web).expect("CHECK");
        second.check(&also).expect("CHECK");
        second.del(&also).expect("DEL");
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("the first").from, "web");
        first.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn many_at_once_on_a_fresh_node_get_one_port_each() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let container = |i: u16| node.container(&format!("c{i}")).publish("tcp", 9000 + i / 2, 80);
        let containers: Vec<_> = (0..24).map(container).collect();
        // The bridge first, one by one: its own races are another plugin's tests.
        let bridged = |c| network.invocation("ADD", 0, Some(c), &Value::Null).run(&node.host).reply().expect("bridge");
        let results: Vec<Value> = containers.iter().map(bridged).collect();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let (network, host) = (&network, &node.host);
            let add = |(c, r)| scope.spawn(move || network.invocation("ADD", PORTMAP, Some(c), r).run(host).reply());
            let threads: Vec<_> = containers.iter().zip(&results).map(add).collect();
            threads.into_iter().map(|thread| thread.join().expect("ADD")).collect()
        });
        for (container, result) in containers.iter().zip(results) {
            network.remember(container, Some(result));
        }
        // Two want each port: one gets it, the other is told.
        for (pair, outcomes) in containers.chunks(2).zip(outcomes.chunks(2)) {
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
            assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|e| e.code == 100), "{outcomes:?}");
            for (container, outcome) in pair.iter().zip(outcomes) {
                assert_eq!(network.check(container).is_ok(), outcome.is_ok());
            }
        }
        std::thread::scope(|scope| {
            for container in &containers {
                scope.spawn(|| network.del(container).expect("DEL"));
            }
        });
        node.assert_nothing_left(&before, &containers.iter().collect::<Vec<_>>());
    }
}
