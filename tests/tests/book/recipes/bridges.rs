//! Bridges, ptp, addresses and ports.

use ferrule_tests::{Feature, Pod, require};
use serde_json::json;

use super::{OUTSIDE, OUTSIDE_V6, Recipe, at, end, reaches};

/// An attached container with port 8080 of the node.
fn published(recipe: &Recipe, name: &str) -> Pod {
    recipe.bed.attach_to(&recipe.bed.network, recipe.node().container(name).publish("tcp", 8080, 80))
}

#[test]
fn pods_with_ports() {
    let Some(recipe) = Recipe::of("pods-with-ports") else { return };
    let (web, client) = (published(&recipe, "web"), recipe.attach("client"));
    let _service = web.place().serve_tcp(80);
    let _outer = recipe.node().outside.serve_tcp(80);
    assert_eq!(at(&web.result, "/ips/0"), json!({"address": "10.88.0.2/16", "gateway": "10.88.0.1", "interface": 2}));
    assert!(client.place().ping(web.ip(0)) && recipe.node().host.ping(web.ip(0)));
    let seen = client.place().fetch_tcp(recipe.node().outside_address(), 80).unwrap();
    assert_eq!(seen.saw, recipe.node().address(), "masqueraded");
    assert_eq!(recipe.node().outside.fetch_tcp(recipe.node().address(), 8080).unwrap().from, "web");
    recipe.bed.network.del(&web.container).expect("DEL");
    assert!(recipe.node().outside.is_closed_tcp(recipe.node().address(), 8080));
    let web = recipe.bed.attach_to(&recipe.bed.network, web.container);
    recipe.serve(&[&web, &client]);
}

#[test]
fn dual_stack() {
    let Some(recipe) = Recipe::of("dual-stack") else { return };
    let web = published(&recipe, "web");
    let _service = web.place().serve_tcp(80);
    let _outer = recipe.node().outside.serve_tcp(80);
    assert_eq!(
        (at(&web.result, "/ips/0/address"), at(&web.result, "/ips/1/address")),
        ("10.88.0.2/16".into(), "fd00:88::2/64".into())
    );
    let node = recipe.node();
    for (outside, address) in [(node.outside_address(), node.address()), (node.outside_address_v6(), node.address_v6())]
    {
        assert_eq!(web.place().fetch_tcp(outside, 80).unwrap().saw, address, "masqueraded");
        assert_eq!(node.outside.fetch_tcp(address, 8080).unwrap().from, "web");
    }
    recipe.serve(&[&web]);
}

#[test]
fn ipv6_only() {
    let route = |node: &ferrule_tests::Node| {
        node.outside.sh("ip -6 route add 2001:db8:88::/64 via 2001:db8::2");
    };
    let Some(recipe) = Recipe::on("ipv6-only", route) else { return };
    let web = recipe.attach("web");
    let _outer = recipe.node().outside.serve_tcp(80);
    assert_eq!(web.result["ips"].as_array().map(Vec::len), Some(1));
    assert!(web.place().sh("ip -4 route show").is_empty());
    assert!(recipe.node().outside.ping(web.ip(0)));
    let seen = web.place().fetch_tcp(recipe.node().outside_address_v6(), 80).unwrap();
    assert_eq!(seen.saw, web.ip(0), "its own address");
    assert_eq!(recipe.node().host.sysctl("net/ipv6/conf/all/forwarding"), "1");
    recipe.serve(&[&web]);
}

#[test]
fn routed_node() {
    let Some(recipe) = Recipe::of("routed-node") else { return };
    let (web, client) = (published(&recipe, "web"), recipe.attach("client"));
    let _service = web.place().serve_tcp(80);
    assert!(client.place().ping(web.ip(0)) && reaches(client.place(), OUTSIDE));
    let way = client.place().sh(&format!("ip route get {}", web.ip(0)));
    assert!(way.contains("via 10.89.0.1"), "{way}");
    assert!(recipe.node().host.sh(&format!("ip route show {}", web.ip(0))).contains("dev veth"));
    assert_eq!(recipe.node().outside.fetch_tcp(recipe.node().address(), 8080).unwrap().from, "web");
    recipe.serve(&[&web, &client]);
}

#[test]
fn separate_bridges() {
    let Some(recipe) = Recipe::of("separate-bridges") else { return };
    let bank = recipe.network("bank");
    let (web, client) = (recipe.attach("web"), recipe.attach("client"));
    let vault = recipe.bed.attach_to(&bank, recipe.node().container("vault"));
    assert!(client.place().ping(web.ip(0)));
    assert!(reaches(web.place(), OUTSIDE) && reaches(vault.place(), OUTSIDE));
    assert!(web.place().is_unreachable(vault.ip(0)) && vault.place().is_unreachable(web.ip(0)));
    end(&bank, &vault.container);
    recipe.serve(&[&web, &client]);
}

#[test]
fn vlans_on_a_bridge() {
    if !require(Feature::BridgeVlans) || !require(Feature::Vlan) {
        return;
    }
    let Some(recipe) = Recipe::of("vlans-on-a-bridge") else { return };
    let (green, trunk) = (recipe.network("green"), recipe.network("trunk"));
    let (web, db) = (recipe.attach("web"), recipe.attach("db"));
    let shop = recipe.bed.attach_to(&green, recipe.node().container("shop"));
    let router = recipe.bed.attach_to(&trunk, recipe.node().container("router"));
    assert!(web.place().ping(db.ip(0)));
    // `green` gave its first address, which is web's, too.
    assert_eq!(web.ip(0), shop.ip(0));
    assert!(shop.place().is_unreachable(db.ip(0)));
    for (vlan, neighbour) in [(100, "10.100.0.3"), (200, "10.100.0.2")] {
        router.place().sh(&format!("ip link add eth0.{vlan} link eth0 up type vlan id {vlan}"));
        router.place().sh(&format!("ip address add 10.100.0.254/24 dev eth0.{vlan}"));
        assert!(reaches(router.place(), neighbour), "VLAN {vlan}");
        router.place().sh(&format!("ip link delete eth0.{vlan}"));
    }
    end(&trunk, &router.container);
    end(&green, &shop.container);
    recipe.serve(&[&web, &db]);
}

#[test]
fn fixed_addresses() {
    let Some(recipe) = Recipe::of("fixed-addresses") else { return };
    let asking = recipe.node().container("web").with_capability("ips", json!(["10.88.0.77"]));
    let asking = asking.with_capability("mac", json!("0a:58:0a:58:00:4d"));
    let web = recipe.bed.attach_to(&recipe.bed.network, asking.clone());
    assert_eq!(at(&web.result, "/ips/0/address"), "10.88.0.77/16");
    assert_eq!(web.interface()["address"], "0a:58:0a:58:00:4d");
    let second = recipe.node().container("second").with_args("IgnoreUnknown=1;IP=10.88.0.77;MAC=0a:58:0a:58:00:4e");
    assert_eq!(recipe.bed.network.add(&second).expect_err("it is taken").code, 11);
    recipe.bed.end(&[&web]);
    let second = recipe.bed.attach_to(&recipe.bed.network, second);
    assert_eq!(at(&second.result, "/ips/0/address"), "10.88.0.77/16");
    assert_eq!(second.interface()["address"], "0a:58:0a:58:00:4e");
    let other = recipe.attach("other");
    assert_ne!(other.ip(0), second.ip(0));
    recipe.serve(&[&second, &other]);
}

#[test]
fn several_ranges() {
    let Some(recipe) = Recipe::of("several-ranges") else { return };
    let pods = ["a", "b", "c"].map(|name| recipe.attach(name));
    let addresses = pods.each_ref().map(|pod| at(&pod.result, "/ips/0/address"));
    assert_eq!(addresses, ["10.88.1.10/16", "10.88.1.11/16", "10.88.2.100/16"]);
    for pod in &pods {
        assert_eq!(pod.result["ips"].as_array().map(Vec::len), Some(2));
        assert!(reaches(pod.place(), "10.88.255.254"));
    }
    assert!(pods[0].place().ping(pods[2].ip(0)) && pods[0].place().ping(pods[2].ip(1)));
    let mut list = recipe.page.conflists().remove(0);
    list["plugins"][0]["ipam"]["ranges"][0] = json!([{"subnet": "10.99.0.0/24"}]);
    let elsewhere = recipe.node().container("elsewhere");
    let failure = recipe.node().network(list).add(&elsewhere).expect_err("another subnet");
    assert!(failure.code == 7 && failure.msg.contains("already has an IP address"), "{failure:?}");
    recipe.serve(&pods.each_ref());
}

#[test]
fn host_ports() {
    let Some(recipe) = Recipe::of("host-ports") else { return };
    let (web, client) = (published(&recipe, "web"), recipe.attach("client"));
    let _service = web.place().serve_tcp(80);
    let node = recipe.node();
    let seen = node.outside.fetch_tcp(node.address(), 8080).unwrap();
    assert_eq!((seen.from.as_str(), seen.saw), ("web", node.outside_address()));
    for place in [&*node.host, web.place(), client.place()] {
        assert_eq!(place.fetch_tcp(node.address(), 8080).unwrap().from, "web", "from {}", place.name);
    }
    assert_eq!(node.host.fetch_tcp([127, 0, 0, 1].into(), 8080).unwrap().from, "web");
    let late = node.container("late").publish("tcp", 8080, 80);
    let failure = recipe.bed.network.add(&late).expect_err("it is taken");
    assert!(failure.code == 100 && ferrule_tests::bed::words(&failure).contains("pods"), "{failure:?}");
    recipe.bed.network.del(&late).expect("DEL");
    recipe.bed.network.del(&web.container).expect("DEL");
    let narrow = node.container("narrow").publish_on("192.0.2.2", "tcp", 8080, 80);
    let narrow = recipe.bed.attach_to(&recipe.bed.network, narrow);
    let _service = narrow.place().serve_tcp(80);
    assert_eq!(node.outside.fetch_tcp(node.address(), 8080).unwrap().from, "narrow");
    assert!(node.host.is_closed_tcp([127, 0, 0, 1].into(), 8080));
    recipe.serve(&[&narrow, &client]);
}

#[test]
fn dns() {
    let Some(recipe) = Recipe::of("dns") else { return };
    let web = recipe.attach("web");
    assert_eq!(web.result["dns"], recipe.page.conflists()[0]["plugins"][0]["dns"]);
    recipe.serve(&[&web]);
}

#[test]
fn old_runtime() {
    let Some(recipe) = Recipe::of("old-runtime") else { return };
    let web = published(&recipe, "web");
    let _service = web.place().serve_tcp(80);
    assert_eq!((at(&web.result, "/cniVersion"), at(&web.result, "/ips/0/version")), ("0.4.0".into(), "4".into()));
    assert!(reaches(web.place(), OUTSIDE));
    assert_eq!(recipe.node().outside.fetch_tcp(recipe.node().address(), 8080).unwrap().from, "web");
    recipe.serve(&[&web]);
}

#[test]
fn overlay_pods() {
    let Some(mut recipe) = Recipe::of("overlay-pods") else { return };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/subnet.env");
    let mut list = recipe.page.conflists().remove(0);
    list["plugins"][0]["subnetFile"] = json!("/nowhere/subnet.env");
    list["plugins"][0]["dataDir"] = json!(recipe.node().data_dir().join("flannel"));
    list["plugins"][0]["overlaydSocket"] = json!("/nowhere/overlayd.sock");
    list["plugins"][0]["ipam"] = json!({"dataDir": recipe.node().data_dir()});
    list["cniVersion"] = json!("1.1.0");
    assert_eq!(recipe.node().network(list.clone()).status().expect_err("no subnet").code, 50);
    list["plugins"][0]["subnetFile"] = json!(file);
    for name in ["vxlan-delegate", "flannel"] {
        list["plugins"][0]["type"] = json!(name);
        recipe.bed.network = recipe.node().network(list.clone());
        let web = recipe.attach("web");
        assert!(web.ip(0).to_string().starts_with("10.42.3."), "{}", web.result);
        assert_eq!(web.interface()["mtu"], 1450);
        assert!(web.place().sh("ip route show 10.42.0.0/16").contains("via 10.42.3.1"));
        assert!(reaches(web.place(), "10.42.3.1"));
        recipe.bed.end(&[&web]);
    }
    recipe.at_the_terminal(&format!("cp {file} /run/flannel/subnet.env"));
}

#[test]
fn the_outside_of_ipv6_is_what_the_pages_say() {
    let Some(recipe) = Recipe::of("dual-stack") else { return };
    assert_eq!(recipe.node().outside_address().to_string(), OUTSIDE);
    assert_eq!(recipe.node().outside_address_v6().to_string(), OUTSIDE_V6);
}
