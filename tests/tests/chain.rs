//! The chain that nodes run: bridge + host-local + portmap, two containers, real packets, with each firewall backend.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::net::{IpAddr, Ipv4Addr};

use ferrule_tests::{Answer, Container, Firewall, Network, Node, Service, fixture};
use serde_json::Value;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1));

/// The container's address in a result of version 0.3.0 or newer.
fn address(result: &Value) -> IpAddr {
    let text = result.pointer("/ips/0/address").and_then(Value::as_str).expect("an address");
    text.split('/').next().unwrap().parse().unwrap()
}

/// A container that publishes port 80 as 8080 and answers there.
struct Web {
    container: Container,
    address: IpAddr,
    _services: [Service; 2],
}

impl Web {
    fn start(node: &Node, network: &Network) -> Self {
        let container = node.container("web").publish("tcp", 8080, 80).publish("udp", 8080, 80);
        let address = address(&network.add(&container).expect("ADD of web"));
        let _services = [container.place.serve_tcp(80), container.place.serve_udp(80)];
        Self { container, address, _services }
    }
}

fn from_web(saw: IpAddr) -> Answer {
    Answer { from: "web".to_owned(), saw }
}

fn chain_works(firewall: Firewall) {
    let Some(node) = Node::start_with(firewall) else { return };
    let network = node.network(fixture("bridge-portmap.conflist"));
    let before = node.snapshot();
    let web = Web::start(&node, &network);
    let client = node.container("client");
    let client_address = address(&network.add(&client).expect("ADD of client"));
    assert_ne!(web.address, client_address);

    reach_each_other(&node, &web, &client, client_address);
    reach_the_published_port(&node, &web, &client, client_address);
    network.check(&web.container).expect("CHECK of web");
    network.check(&client).expect("CHECK of client");

    network.del(&client).expect("DEL of client");
    assert_eq!(node.outside.fetch_tcp(node.address(), 8080).unwrap().from, "web", "the other's DEL took nothing");
    network.del(&web.container).expect("DEL of web");
    assert!(client.place.find_link("eth0").is_none());
    assert!(node.outside.is_closed_tcp(node.address(), 8080));
    node.assert_nothing_left(&before, &[&web.container, &client]);

    network.del(&web.container).expect("DEL again");
    node.assert_nothing_left(&before, &[&web.container, &client]);
}

fn reach_each_other(node: &Node, web: &Web, client: &Container, client_address: IpAddr) {
    assert!(client.place.ping(web.address), "container to container");
    assert!(web.container.place.ping(client_address), "and back");
    assert!(node.host.ping(web.address), "host to container");
    assert!(client.place.ping(node.outside_address()), "container to outside: masqueraded");
    let service = node.outside.serve_tcp(7000);
    let answer = client.place.fetch_tcp(node.outside_address(), 7000).expect("outside");
    assert_eq!(answer, Answer { from: "outside".to_owned(), saw: node.address() });
    drop(service);
    let answer = client.place.fetch_tcp(web.address, 80).expect("web");
    assert_eq!(answer, from_web(client_address), "between containers nothing is masqueraded");
}

fn reach_the_published_port(node: &Node, web: &Web, client: &Container, client_address: IpAddr) {
    let outside = node.outside.fetch_tcp(node.address(), 8080).expect("outside to published port");
    assert_eq!(outside, from_web(node.outside_address()), "the client's address is kept");
    assert_eq!(node.outside.fetch_udp(node.address(), 8080).expect("the same by UDP").from, "web");
    assert_eq!(node.host.fetch_tcp(node.address(), 8080).expect("host to its own address").from, "web");
    let local = node.host.fetch_tcp(LOCALHOST, 8080).expect("host to 127.0.0.1");
    assert_eq!(local, from_web(GATEWAY), "127.0.0.1 is masqueraded");
    let other = client.place.fetch_tcp(node.address(), 8080).expect("another container");
    assert_eq!(other.from, "web");
    assert!([client_address, GATEWAY].contains(&other.saw), "{other:?}");
    let itself = web.container.place.fetch_tcp(node.address(), 8080).expect("hairpin");
    assert_eq!(itself, from_web(GATEWAY), "its own port: masqueraded");
}

#[test]
fn chain_works_with_nftables() {
    chain_works(Firewall::Nftables);
}

#[test]
fn chain_works_with_iptables_nft() {
    chain_works(Firewall::IptablesNft);
}

#[test]
fn chain_works_with_iptables_legacy() {
    chain_works(Firewall::IptablesLegacy);
}

#[test]
fn del_without_the_namespace_takes_the_published_port() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = node.network(fixture("bridge-portmap.conflist"));
        let before = node.snapshot();
        let web = node.container("web").publish("tcp", 8080, 80);
        network.add(&web).expect("ADD");
        let gone = web.clone().without_netns();
        node.kill(&web);
        network.del(&gone).expect("DEL");
        assert!(node.snapshot().since(&before).iter().all(|l| !l.contains("8080")), "the port is still published");
        network.del(&gone).expect("DEL again, as containerd does");
    }
}
