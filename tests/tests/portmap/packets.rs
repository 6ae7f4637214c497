//! Who answers, and whom they see.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use ferrule_tests::{Answer, Feature, Firewall, Node, Place, eventually, require};
use serde_json::json;

use crate::{GATEWAY, GATEWAY_V6, LAYOUTS, LOCALHOST, addresses, await_ipv6, dual_stack, dual_stack_with};

fn from_web(saw: IpAddr) -> Answer {
    Answer { from: "web".to_owned(), saw }
}

/// Whether the service saw an address of the host. (Which of its IPv6 addresses is the kernel's choice.)
#[track_caller]
fn assert_masqueraded(node: &Node, answer: &Answer) {
    assert_eq!(answer.from, "web");
    assert!([GATEWAY, GATEWAY_V6, node.address_v6()].contains(&answer.saw), "{answer:?}");
}

#[test]
fn ipv6_is_published_like_ipv4() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let web = node.container("web").publish("tcp", 8080, 80).publish("udp", 5353, 53);
        await_ipv6(&node, &network.add(&web).expect("ADD"));
        let _services = (web.place.serve_tcp(80), web.place.serve_udp(53));
        for (address, outside) in
            [(node.address(), node.outside_address()), (node.address_v6(), node.outside_address_v6())]
        {
            assert_eq!(
                node.outside.fetch_tcp(address, 8080).unwrap_or_else(|e| panic!("outside to {address}: {e}")),
                from_web(outside)
            );
            assert_eq!(node.outside.fetch_udp(address, 5353).expect("outside, UDP"), from_web(outside));
            assert_eq!(node.host.fetch_tcp(address, 8080).expect("host").from, "web");
            assert_masqueraded(&node, &web.place.fetch_tcp(address, 8080).expect("hairpin"));
        }
        network.check(&web).expect("CHECK");
        network.del(&web).expect("DEL");
        assert!(node.outside.is_closed_tcp(node.address_v6(), 8080));
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn a_neighbour_is_answered_without_bridge_netfilter() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            // Absent where the kernel has no bridge netfilter: then it is off.
            let _ = node.host.try_sh(&format!("sysctl -w net.bridge.{key}=0"));
        }
        let network = dual_stack(&node);
        let (web, client) = (node.container("web").publish("tcp", 8080, 80), node.container("client"));
        network.add(&client).expect("ADD");
        await_ipv6(&node, &network.add(&web).expect("ADD"));
        let _service = web.place.serve_tcp(80);
        for address in [node.address(), node.address_v6()] {
            assert_masqueraded(&node, &client.place.fetch_tcp(address, 8080).expect("neighbour"));
            assert_masqueraded(&node, &web.place.fetch_tcp(address, 8080).expect("itself"));
        }
    }
}

#[test]
fn one_host_ip_leads_to_one_container() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        node.host.sh("ip address add 192.0.2.3/24 dev uplink");
        let network = dual_stack(&node);
        let a = node.container("a").publish_on("192.0.2.2", "tcp", 8080, 80);
        let b = node.container("b").publish_on("192.0.2.3", "tcp", 8080, 80);
        network.add(&a).expect("ADD of a");
        network.add(&b).expect("ADD of b: another address");
        let _services = (a.place.serve_tcp(80), b.place.serve_tcp(80));
        assert_eq!(node.outside.fetch_tcp([192, 0, 2, 2].into(), 8080).expect("a").from, "a");
        assert_eq!(node.outside.fetch_tcp([192, 0, 2, 3].into(), 8080).expect("b").from, "b");
        assert!(node.outside.is_closed_tcp(node.address_v6(), 8080), "an IPv4 host IP publishes no IPv6");
        assert!(node.host.is_closed_tcp(LOCALHOST, 8080), "127.0.0.1 is another address");
        network.check(&b).expect("CHECK");
        network.del(&a).expect("DEL");
        assert!(node.outside.is_closed_tcp([192, 0, 2, 2].into(), 8080));
        assert_eq!(node.outside.fetch_tcp([192, 0, 2, 3].into(), 8080).expect("b stays").from, "b");
    }
}

#[test]
fn masq_all_hides_every_client() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack_with(&node, &[("masqAll", json!(true))]);
        let before = node.snapshot();
        let web = node.container("web").publish("tcp", 8080, 80);
        await_ipv6(&node, &network.add(&web).expect("ADD"));
        let _service = web.place.serve_tcp(80);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("outside"), from_web(GATEWAY));
        assert_masqueraded(&node, &node.outside.fetch_tcp(node.address_v6(), 8080).expect("IPv6"));
        assert_eq!(node.host.fetch_tcp(LOCALHOST, 8080).expect("127.0.0.1"), from_web(GATEWAY));
        network.check(&web).expect("CHECK");
        // The setting was changed meanwhile: DEL removes what the old one made.
        dual_stack(&node).invocation("DEL", 1, Some(&web), &network.result(&web)).run(&node.host).reply().expect("DEL");
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn without_snat_nothing_is_masqueraded() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack_with(&node, &[("snat", json!(false))]);
        let web = node.container("web").publish("tcp", 8080, 80);
        network.add(&web).expect("ADD");
        let _service = web.place.serve_tcp(80);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("outside"), from_web(node.outside_address()));
        assert!(node.host.is_closed_tcp(LOCALHOST, 8080));
        assert_eq!(node.host.sysctl("net/ipv4/conf/cni0/route_localnet"), "0");
        network.check(&web).expect("CHECK");
    }
}

#[test]
fn sctp_is_published() {
    if !require(Feature::Sctp) {
        return;
    }
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let web = node.container("web").publish("SCTP", 3868, 3868);
        network.add(&web).expect("ADD");
        let mut server = web.place.run(|| {
            std::process::Command::new("socat")
                .args(["SCTP-LISTEN:3868,fork", "SYSTEM:echo web"])
                .spawn()
                .expect("socat")
        });
        let ask = || node.outside.try_sh(&format!("socat -T 3 -u SCTP:{}:3868 -", node.address()));
        eventually("an answer by SCTP", || ask().is_ok_and(|answer| answer == "web\n"));
        server.kill().expect("kill socat");
        server.wait().expect("socat");
        network.check(&web).expect("CHECK");
        network.del(&web).expect("DEL");
    }
}

/// Asks from one and the same port, as a client does that keeps its flow.
fn ask(socket: &UdpSocket) -> Option<String> {
    socket.send(b"who?").ok()?;
    let mut buffer = [0; 128];
    let length = socket.recv(&mut buffer).ok()?;
    String::from_utf8_lossy(&buffer[..length]).split(' ').next().map(str::to_owned)
}

fn udp_client(place: &Place, host: IpAddr, port: u16) -> UdpSocket {
    place.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
        socket.connect((host, port)).expect("connect");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
        socket
    })
}

#[test]
fn a_udp_flow_moves_to_the_new_container() {
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let client = udp_client(&node.outside, node.address(), 5353);
        // Before anything is published the flow exists already, without translation.
        assert_eq!(ask(&client), None);
        for name in ["first", "second"] {
            let container = node.container(name).publish("udp", 5353, 53);
            network.add(&container).expect("ADD");
            let _service = container.place.serve_udp(53);
            eventually("the flow reaches the new container", || ask(&client).as_deref() == Some(name));
            network.del(&container).expect("DEL");
            assert_eq!(ask(&client), None, "after DEL the flow leads nowhere");
        }
    }
}

#[test]
fn del_forgets_the_flows_of_its_container_only() {
    let Some(node) = Node::start() else { return };
    let network = dual_stack(&node);
    let a = node.container("a").publish("udp", 5001, 53);
    let b = node.container("b").publish("udp", 5002, 53);
    network.add(&a).expect("ADD");
    let target = addresses(&network.add(&b).expect("ADD"))[0];
    let _services = (a.place.serve_udp(53), b.place.serve_udp(53));
    for port in [5001, 5002] {
        assert!(ask(&udp_client(&node.outside, node.address(), port)).is_some());
    }
    network.del(&a).expect("DEL");
    let flows = node.host.sh("conntrack -L -p udp");
    assert!(!flows.contains("dport=5001"), "{flows}");
    assert!(flows.contains("dport=5002") && flows.contains(&target.to_string()), "{flows}");
}
