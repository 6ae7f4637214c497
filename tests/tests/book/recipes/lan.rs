//! Networks of the node's card `eth1`.

use std::process::{Command, Stdio};

use ferrule_tests::{Feature, Node, Process, eventually, require};
use serde_json::json;

use super::{ON_LAN, Recipe, at, plug_eth1, reaches};

/// A DHCP server on the LAN.
fn dhcp_server(node: &Node) -> Process {
    let mut command = Command::new("dnsmasq");
    command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=lan", "--bind-interfaces"]);
    command.args(["--user=root", "--no-ping", "--pid-file=", "--dhcp-range=10.5.0.50,10.5.0.59,255.255.255.0,1h"]);
    command.args(["--dhcp-option=option:router,10.5.0.254", "--dhcp-option=option:dns-server,10.5.0.253"]);
    command.arg(format!("--dhcp-leasefile={}", node.dir().join("leases").display()));
    let server = node.outside.run(|| Process::start("dnsmasq", command, node.dir().join("dnsmasq.log")));
    eventually("dnsmasq listens", || node.outside.sh("ss -Hlun sport = 67").contains(":67"));
    server
}

fn leases(node: &Node) -> usize {
    std::fs::read_to_string(node.dir().join("leases")).unwrap_or_default().lines().count()
}

#[test]
fn macvlan_dhcp() {
    let Some(mut recipe) = Recipe::on("macvlan-dhcp", plug_eth1) else { return };
    let node = recipe.node();
    let _server = dhcp_server(node);
    let socket = node.dir().join("dhcp.sock");
    let mut command = Command::new(ferrule_tests::Binaries::ours().unwrap().plugin("dhcp"));
    command.args(["daemon", "-socketpath"]).arg(&socket).stdin(Stdio::null());
    let daemon = node.host.run(|| Process::start("dhcp", command, node.dir().join("dhcp.log")));
    eventually("the daemon listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut list = recipe.page.conflists().remove(0);
    list["plugins"][0]["ipam"]["daemonSocketPath"] = json!(socket);
    recipe.bed.network = recipe.node().network(list);
    let web = recipe.attach("web");
    assert!(web.ip(0).to_string().starts_with("10.5.0.5"), "{}", web.result);
    assert_eq!(
        (at(&web.result, "/ips/0/gateway"), at(&web.result, "/dns/nameservers/0")),
        (ON_LAN.into(), "10.5.0.253".into())
    );
    assert!(reaches(web.place(), ON_LAN) && recipe.node().outside.ping(web.ip(0)));
    assert_eq!(leases(recipe.node()), 1);
    recipe.bed.network.check(&web.container).expect("CHECK");
    recipe.bed.end(&[&web]);
    eventually("the lease is given back", || leases(recipe.node()) == 0);
    assert_eq!(daemon.stop(), Some(0));
    recipe.at_the_terminal("");
}

#[test]
fn macvlan_static() {
    let Some(recipe) = Recipe::on("macvlan-static", plug_eth1) else { return };
    let asking = recipe.node().container("web").with_capability("ips", json!(["10.5.0.20/24"]));
    let asking = asking.with_capability("mac", json!("0a:58:0a:05:00:14"));
    let web = recipe.bed.attach_to(&recipe.bed.network, asking);
    assert_eq!(
        (web.ip(0).to_string().as_str(), &web.interface()["address"]),
        ("10.5.0.20", &json!("0a:58:0a:05:00:14"))
    );
    assert!(web.place().sh("ip route show default").contains("via 10.5.0.254"));
    assert!(reaches(web.place(), ON_LAN) && recipe.node().outside.ping(web.ip(0)));
    recipe.serve(&[&web]);
}

#[test]
fn ipvlan_l3() {
    if !require(Feature::Ipvlan) {
        return;
    }
    let prepare = |node: &Node| {
        plug_eth1(node);
        node.host.sh("ip address add 10.5.0.1/24 dev eth1");
        node.outside.sh("ip route add 10.7.0.0/24 via 10.5.0.1");
    };
    let Some(recipe) = Recipe::on("ipvlan-l3", prepare) else { return };
    let (web, client) = (recipe.attach("web"), recipe.attach("client"));
    let card = recipe.bed.link("eth1");
    assert_eq!((&web.interface()["address"], &client.interface()["address"]), (&card["address"], &card["address"]));
    assert!(client.place().ping(web.ip(0)));
    web.place().sh("ip route add default dev eth0");
    assert!(reaches(web.place(), ON_LAN) && recipe.node().outside.ping(web.ip(0)));
    recipe.serve(&[&web, &client]);
}

#[test]
fn vlan_of_a_card() {
    if !require(Feature::Vlan) {
        return;
    }
    let prepare = |node: &Node| {
        plug_eth1(node);
        node.outside.sh("ip link add lan.100 link lan up type vlan id 100");
        node.outside.sh("ip address add 10.100.0.254/24 dev lan.100");
    };
    let Some(recipe) = Recipe::on("vlan-of-a-card", prepare) else { return };
    let web = recipe.attach("web");
    assert_eq!(web.ip(0).to_string(), "10.100.0.10");
    assert!(web.place().sh("ip route show default").contains("via 10.100.0.254"));
    assert!(reaches(web.place(), "10.100.0.254"));
    recipe.serve(&[&web]);
}

#[test]
fn host_device() {
    let prepare = |node: &Node| {
        // No link-local address when it comes back: the kernel forgets the device's own setting.
        node.host.sh("sysctl -q -w net.ipv6.conf.default.addr_gen_mode=1");
        plug_eth1(node);
    };
    let Some(recipe) = Recipe::on("host-device", prepare) else { return };
    let card = recipe.bed.link("eth1");
    let web = recipe.attach("web");
    assert_eq!(web.interface()["address"], card["address"]);
    assert!(recipe.bed.host().find_link("eth1").is_none());
    assert!(web.place().sh("ip route show default").contains("via 10.5.0.254"));
    assert!(reaches(web.place(), ON_LAN));
    recipe.bed.end(&[&web]);
    let back = recipe.bed.link("eth1");
    assert_eq!((&back["address"], &back["mtu"], &back["operstate"]), (&card["address"], &card["mtu"], &json!("UP")));
    recipe.at_the_terminal("");
}
