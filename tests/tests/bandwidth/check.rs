//! CHECK: each kind of difference, in words that tell it.

use ferrule_tests::bed::words;
use ferrule_tests::{Container, Network, Node};
use serde_json::{Value, json};

use crate::{BANDWIDTH, attach, both, host_end, ifbs, network};

/// What CHECK complains about after `change`, a command on the host.
fn complaint(change: &str, told: &[&str]) {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    attach(&network, &web);
    network.check(&web).expect("CHECK of what is as it was");
    let (end, ifb) = (host_end(&node, &web), ifbs(&node).remove(0));
    let named = |text: &str| text.replace("END", &end).replace("IFB", &ifb);
    node.host.sh(&named(change));
    let said = words(&network.check(&web).expect_err("CHECK must complain"));
    for told in told {
        assert!(said.contains(&named(told)), "{change}: {said}");
    }
    network.del(&web).expect("DEL of what differs");
}

#[test]
fn another_rate() {
    complaint(
        "tc qdisc replace dev END root handle 1: tbf rate 1mbit burst 100000 limit 225000",
        &["the rate of END is 1000000 bits/s instead of 40000000"],
    );
    complaint(
        "tc qdisc replace dev IFB root handle 1: tbf rate 40gbit burst 50000 limit 125000",
        &["the rate of IFB is 40000000000 bits/s instead of 24000000"],
    );
}

#[test]
fn another_burst() {
    complaint(
        "tc qdisc replace dev END root handle 1: tbf rate 40mbit burst 50000 limit 225000",
        &["the burst of END is 400000 bits instead of 800000"],
    );
}

#[test]
fn another_queue() {
    complaint(
        "tc qdisc replace dev IFB root handle 1: tbf rate 24mbit burst 50000 limit 60000",
        &["the queue of IFB holds 60000 bytes instead of 125000"],
    );
}

#[test]
fn no_limit_at_all() {
    complaint("tc qdisc del dev END root", &["END has no limit: its queueing discipline is noqueue instead of tbf"]);
    complaint(
        "tc qdisc replace dev IFB root handle 2: pfifo",
        &["IFB has no limit: its queueing discipline is pfifo instead of tbf"],
    );
}

#[test]
fn another_way() {
    complaint("tc filter del dev END ingress", &["what comes in by END is not redirected to IFB"]);
    complaint("tc qdisc del dev END ingress", &["what comes in by END is not redirected to IFB"]);
    complaint("ip link set IFB down", &["IFB is down"]);
    complaint("ip link del IFB", &["the ifb that limits what END brings from the container is gone"]);
}

#[test]
fn all_differences_are_told() {
    complaint("ip link set IFB down", &["IFB is down"]);
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    attach(&network, &web);
    let (end, ifb) = (host_end(&node, &web), ifbs(&node).remove(0));
    node.host.sh(&format!("tc qdisc del dev {end} root"));
    node.host.sh(&format!("ip link set {ifb} down"));
    let said = words(&network.check(&web).expect_err("CHECK"));
    assert!(said.contains(&format!("{end} has no limit")) && said.contains(&format!("{ifb} is down")), "{said}");
}

/// CHECK of bandwidth alone.
fn check(node: &Node, network: &Network, container: &Container, result: &Value) -> Result<(), String> {
    let reply = network.invocation("CHECK", BANDWIDTH, Some(container), result).run(&node.host).reply();
    reply.map(drop).map_err(|failure| words(&failure))
}

#[test]
fn what_others_do_is_no_difference() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    let result = attach(&network, &web);
    // udev gives the host's end another name; somebody captures packets.
    let end = host_end(&node, &web);
    node.host.sh(&format!("ip link set {end} down"));
    node.host.sh(&format!("ip link set {end} name ens99 up"));
    node.host.sh("ip link set ens99 promisc on");
    check(&node, &network, &web, &result).expect("CHECK");
    let other = json!({"cniVersion": "1.1.0", "interfaces": [], "ips": []});
    check(&node, &network, &web, &other).expect("CHECK without interfaces in the result");
    assert!(check(&node, &network, &web, &Value::Null).unwrap_err().contains("Required prevResult missing"));
    web.place.sh("ip link del eth0");
    assert!(check(&node, &network, &web, &result).unwrap_err().contains("interface eth0 is not in the container"));
}
