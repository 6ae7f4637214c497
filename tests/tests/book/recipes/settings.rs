//! What is chained behind an interface: limits, sysctls, routing tables.

use ferrule_tests::{Feature, Node, require};
use serde_json::{Value, json};

use super::{ON_LAN, OUTSIDE, Recipe, end, plug_eth1, reaches};

#[test]
fn bandwidth() {
    let Some(recipe) = Recipe::of("bandwidth") else { return };
    let limits = json!({"ingressRate": 10_000_000, "ingressBurst": 1_000_000, "egressRate": 5_000_000, "egressBurst": 1_000_000});
    let (web, free) = (recipe.attach_asking("web", "bandwidth", limits), recipe.attach("free"));
    let queues = recipe.node().host.json("tc -j qdisc show");
    let mut rates: Vec<&Value> =
        queues.as_array().unwrap().iter().filter(|q| q["kind"] == "tbf").map(|q| &q["options"]["rate"]).collect();
    rates.sort_by_key(|rate| rate.as_u64());
    // tc says bytes per second.
    assert_eq!(rates, [&json!(5_000_000 / 8), &json!(10_000_000 / 8)], "{queues}");
    assert!(free.place().ping(web.ip(0)));
    recipe.serve(&[&web, &free]);
}

#[test]
fn sysctls() {
    let Some(recipe) = Recipe::of("sysctls") else { return };
    let keys = ["net/core/somaxconn", "net/ipv4/tcp_keepalive_time", "net/ipv4/ip_local_port_range"];
    let container = recipe.node().container("web");
    let values = |place: &ferrule_tests::Place| {
        keys.map(|key| place.sysctl(key).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let (on_node, fresh) = (values(&recipe.node().host), values(&container.place));
    let web = recipe.bed.attach_to(&recipe.bed.network, container);
    assert_eq!(values(web.place()), ["4096", "600", "1024 65000"]);
    assert_eq!(web.place().sysctl("net/ipv4/conf/eth0/arp_announce"), "2");
    assert_eq!(web.interface()["txqlen"], 2000);
    assert_eq!(values(&recipe.node().host), on_node);
    recipe.bed.network.check(&web.container).expect("CHECK");
    recipe.bed.network.del(&web.container).expect("DEL");
    assert_eq!(values(web.place()), fresh, "set back");
    let web = recipe.bed.attach_to(&recipe.bed.network, web.container);
    recipe.serve(&[&web]);
}

#[test]
fn two_interfaces() {
    let prepare = |node: &Node| {
        plug_eth1(node);
        // Somebody behind the router of the LAN.
        node.outside.sh("ip address add 198.51.100.1/32 dev lo");
    };
    let Some(recipe) = Recipe::on("two-interfaces", prepare) else { return };
    let storage = recipe.network("storage");
    let web = recipe.attach("web");
    let second = recipe.bed.attach_to(&storage, web.container.clone().on("net1"));
    assert_eq!(second.ip(0).to_string(), "10.5.0.100");
    let way = |from: &str| web.place().sh(&format!("ip route get 198.51.100.1 {from}"));
    assert!(way("from 10.5.0.100").contains("via 10.5.0.254 dev net1"), "{}", way("from 10.5.0.100"));
    assert!(way("").contains("via 10.88.0.1 dev eth0"), "{}", way(""));
    let remote = recipe.node().outside.try_sh("ping -n -q -c 1 -W 3 -I 198.51.100.1 10.5.0.100");
    assert!(remote.is_ok(), "{remote:?}");
    assert!(reaches(web.place(), ON_LAN) && reaches(web.place(), OUTSIDE));
    end(&storage, &second.container);
    recipe.serve(&[&web]);
}

#[test]
fn vrf() {
    if !require(Feature::Vrf) {
        return;
    }
    let Some(recipe) = Recipe::of("vrf") else { return };
    let green = recipe.network("green");
    let red = recipe.attach("router");
    let second = recipe.bed.attach_to(&green, red.container.clone().on("net1"));
    let neighbour = recipe.bed.attach_to(&green, recipe.node().container("neighbour"));
    assert_eq!(red.ip(0), second.ip(0));
    assert_eq!(red.interface()["master"], "vrf-red");
    assert_eq!(second.interface()["master"], "vrf-green");
    let ping = |vrf: &str, to: &str| red.place().try_sh(&format!("ping -n -q -c 1 -W 2 -I {vrf} {to}"));
    ping("vrf-red", "10.92.0.1").expect("the gateway in red");
    ping("vrf-green", &neighbour.ip(0).to_string()).expect("the neighbour in green");
    assert!(ping("vrf-red", &neighbour.ip(0).to_string()).is_err(), "the neighbour is not in red");
    end(&green, &neighbour.container);
    end(&green, &second.container);
    recipe.serve(&[&red]);
}
