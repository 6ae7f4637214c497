//! The whole chain: addresses, every verb, several containers, what CHECK sees.

use serde_json::json;

use crate::server::Server;
use crate::{Bed, words};

#[test]
fn a_container_has_an_address_from_add_to_del() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let _daemon = bed.daemon(&[]);
    bed.network.status().expect("STATUS");
    let pod = bed.attach("pod");
    assert_eq!(pod.address(), "10.7.0.100/24");
    assert_eq!(pod.result["ips"][0]["gateway"], "10.7.0.1");
    assert!(pod.place().ping("10.7.0.1".parse().unwrap()));
    bed.network.check(&pod.container).expect("CHECK");
    let other = bed.attach("other");
    assert!(other.place().ping(pod.ip().parse().unwrap()));
    bed.network.del(&other.container).expect("DEL");
    bed.end(&pod);
    bed.network.del(&pod.container).expect("DEL again");
    let released: Vec<String> = server.releases().iter().map(|said| said.ciaddr.to_string()).collect();
    assert_eq!(released, ["10.7.0.101", "10.7.0.100"]);
    // The identifier is the reference's.
    let id = format!("\0{}/lan/eth0", pod.container.id);
    assert_eq!(server.said()[0].option(61), Some(id.as_bytes()));
    assert!(bed.records().is_empty());
}

#[test]
fn an_add_again_gives_the_same_lease() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let _daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    let again = bed.call("ADD", &pod.container).expect("ADD");
    assert_eq!(again["ips"][0]["address"], pod.address());
    assert_eq!(server.said_of_kind(1).len(), 1, "one DISCOVER");
    // The same container and interface in another namespace is another client.
    let mut reborn = bed.node.container("reborn");
    reborn.id.clone_from(&pod.container.id);
    bed.node.host.sh(&format!("ip link add x type veth peer name eth0 netns {}", reborn.netns.display()));
    bed.node.host.sh("ip link set x master br0 up");
    bed.call("ADD", &reborn).expect("ADD");
    assert_eq!((server.said_of_kind(1).len(), server.releases().len()), (2, 1));
}

#[test]
fn what_is_asked_for_and_said_comes_from_the_configuration() {
    let ipam = json!({
        "request": [{"skipDefault": true}, {"option": "subnet-mask"}, {"option": "42"}],
        "provide": [
            {"option": "host-name", "value": "web"},
            {"option": "vendor-class-identifier", "fromArg": "K8S_POD_NAME"},
        ],
        "priority": 77,
    });
    let Some(bed) = Bed::start_with(&json!({"type": "bridge", "bridge": "br0"}), &ipam) else { return };
    let server = Server::start(&bed, 600);
    let _daemon = bed.daemon(&["-broadcast"]);
    let container = bed.node.container("pod").with_args("IgnoreUnknown=1;K8S_POD_NAME=web-0");
    let pod = bed.attach_container(container);
    for said in server.said() {
        assert_eq!(said.option(55), Some(&[1, 42][..]));
        assert_eq!(said.option(12), Some(&b"web"[..]));
        assert_eq!(said.option(60), Some(&b"web-0"[..]));
        assert!(said.wants_broadcast, "-broadcast");
    }
    assert_eq!(pod.result["routes"][0]["priority"], 77);
    let routes = pod.place().json("ip -j route show default");
    assert_eq!((&routes[0]["metric"], &routes[0]["gateway"]), (&json!(77), &json!("10.7.0.1")));
    bed.end(&pod);
}

#[test]
fn check_compares_and_never_acquires() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    let mut result = pod.result.clone();
    result["ips"][0]["address"] = json!("10.7.0.7/24");
    bed.network.remember(&pod.container, Some(result));
    let failure = bed.network.check(&pod.container).expect_err("another address");
    assert!(words(&failure).contains("the lease is of 10.7.0.100"), "{failure:?}");
    bed.network.remember(&pod.container, Some(pod.result.clone()));
    bed.network.check(&pod.container).expect("CHECK");

    let stranger = bed.node.container("stranger");
    let failure = bed.call("CHECK", &stranger).expect_err("no lease");
    assert!(words(&failure).contains("is known: nobody prolongs it"), "{failure:?}");
    assert_eq!(server.said_of_kind(1).len(), 1, "one DISCOVER: {}", daemon.log());
    bed.end(&pod);
}

#[test]
fn gc_releases_what_is_not_valid() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let _daemon = bed.daemon(&[]);
    let (kept, stale) = (bed.attach("kept"), bed.attach("stale"));
    bed.network.gc(&[&kept.container]).expect("GC");
    let released: Vec<String> = server.releases().iter().map(|said| said.ciaddr.to_string()).collect();
    assert_eq!(released, [stale.ip()]);
    bed.network.check(&kept.container).expect("CHECK");
    bed.end(&kept);
}

#[test]
fn macvlan() {
    let Some(bed) = Bed::start_with(&json!({"type": "macvlan", "master": "br0"}), &json!({})) else { return };
    if !ferrule_tests::Binaries::ours().unwrap().plugin("macvlan").exists() {
        return ferrule_tests::skip("there is no macvlan plugin among those under test");
    }
    let server = Server::start(&bed, 600);
    let _daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    assert_eq!(pod.address(), "10.7.0.100/24");
    assert!(pod.place().ping("10.7.0.1".parse().unwrap()));
    bed.network.check(&pod.container).expect("CHECK");
    bed.end(&pod);
    assert_eq!(server.releases().len(), 1);
}
