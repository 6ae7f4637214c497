//! What the delegate gets, field by field, and what comes of it.

use std::fs;
use std::path::Path;

use ferrule_tests::bed::{all, text};
use ferrule_tests::{Bed, Container, Node, Pod};
use serde_json::{Value, json};

use crate::{DUAL_STACK, SUBNET, cache, cache_dir, cached, plugin, start, write_subnet};

/// What the delegate of an attachment with these keys gets.
fn composed(subnet: &str, keys: &Value) -> Option<(Bed, Pod, Value)> {
    let bed = start(subnet, keys)?;
    let pod = bed.attach("a");
    let composed = cached(&bed.node, &pod.container);
    Some((bed, pod, composed))
}

#[test]
fn pods_reach_each_other_and_have_the_networks_route_and_mtu() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    assert_eq!(text(&a.result, "/ips/0/address"), "10.42.3.2/24");
    assert!(a.place().ping(b.ip(0)) && b.place().ping("10.42.3.1".parse().unwrap()));
    assert_eq!(a.interface()["mtu"], 1450);
    assert_eq!(bed.link("cni0")["mtu"], 1450);
    let routes = a.place().json("ip -j route show");
    let route =
        |dst: &str| routes.as_array().unwrap().iter().find(|route| route["dst"] == dst).cloned().unwrap_or_default();
    assert_eq!(route("10.42.0.0/16")["gateway"], "10.42.3.1", "{routes}");
    assert_eq!(route("default")["gateway"], "10.42.3.1", "isDefaultGateway of the delegate");
    bed.end(&[&a, &b]);
    assert_eq!(cache(&bed.node), [] as [&str; 0]);
}

#[test]
fn the_default_delegate_is_a_bridge_with_a_gateway_and_host_local() {
    let keys = json!({"delegate": {}, "ipam": null});
    // host-local then keeps the addresses in its default directory, which is the sandbox's.
    let Some((bed, a, composed)) = composed(SUBNET, &keys) else { return };
    assert_eq!(
        composed,
        json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "bridge", "isGateway": true, "ipMasq": false, "mtu": 1450,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.3.0/24"}]], "routes": [{"dst": "10.42.0.0/16"}]},
        })
    );
    let routes = a.place().json("ip -j route show");
    assert!(!all(&routes, "dst").contains(&"default".to_owned()), "flannel sets no default route: {routes}");
    bed.network.del(&a.container).expect("DEL");
}

#[test]
fn what_the_operator_says_wins() {
    let keys = json!({
        "delegate": {"MTU": 1300, "ipMasq": true, "isGateway": false, "bridge": "br7", "promiscMode": true, "cniVersion": "0.2.0"},
        "ipam": {"type": "host-local", "routes": [{"dst": "10.99.0.0/16", "gw": "10.42.3.9"}, {"dst": "10.98.0.0/16"}], "ranges": []},
    });
    let Some((bed, a, composed)) = composed(SUBNET, &keys) else { return };
    assert_eq!(
        composed,
        json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "bridge", "isGateway": false, "ipMasq": true, "MTU": 1300,
            "bridge": "br7", "promiscMode": true,
            "ipam": {
                "type": "host-local", "dataDir": bed.node.data_dir(), "ranges": [[{"subnet": "10.42.3.0/24"}]],
                "routes": [{"dst": "10.99.0.0/16", "gw": "10.42.3.9"}, {"dst": "10.98.0.0/16"}, {"dst": "10.42.0.0/16"}],
            },
        })
    );
    assert_eq!(a.interface()["mtu"], 1300);
    assert!(a.place().sh("ip route show 10.99.0.0/16").contains("via 10.42.3.9"));
    bed.end(&[&a]);
}

#[test]
fn both_families_are_ranges_and_routes() {
    let Some((bed, a, composed)) = composed(DUAL_STACK, &json!({})) else { return };
    assert_eq!(composed["ipam"]["ranges"], json!([[{"subnet": "10.42.3.0/24"}], [{"subnet": "fd42:0:0:3::/64"}]]));
    assert_eq!(composed["ipam"]["routes"], json!([{"dst": "10.42.0.0/16"}, {"dst": "fd42::/56"}]));
    let b = bed.attach("b");
    assert!(a.place().ping(b.ip(0)) && a.place().ping(b.ip(1)));
    assert!(a.place().sh("ip -6 route show fd42::/56").contains("via fd42:0:0:3::1"));
    bed.end(&[&a, &b]);
}

#[test]
fn several_networks_are_several_routes() {
    let subnet = SUBNET.replace("10.42.0.0/16", "10.42.0.0/16,10.43.0.0/16,10.42.0.0/16");
    let Some((bed, a, composed)) = composed(&subnet, &json!({})) else { return };
    assert_eq!(composed["ipam"]["routes"], json!([{"dst": "10.42.0.0/16"}, {"dst": "10.43.0.0/16"}]));
    bed.end(&[&a]);
}

/// One of the two masquerades, the daemon or the delegate. (Here is no daemon, so that only the delegate does.)
#[test]
fn the_delegate_masquerades_where_the_daemon_does_not() {
    for (daemon_does, reached) in [("true", false), ("false", true)] {
        let Some(bed) = start(&SUBNET.replace("IPMASQ=true", &format!("IPMASQ={daemon_does}")), &json!({})) else {
            return;
        };
        let a = bed.attach("a");
        assert_eq!(cached(&bed.node, &a.container)["ipMasq"], reached);
        assert_eq!(a.place().ping(bed.node.outside_address()), reached, "FLANNEL_IPMASQ={daemon_does}");
        bed.end(&[&a]);
    }
}

#[test]
fn another_delegate() {
    let default = json!({"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]});
    let keys = json!({"delegate": {"type": "ptp"}, "ipam": default});
    let Some((bed, a, composed)) = composed(DUAL_STACK, &keys) else { return };
    assert_eq!((&composed["type"], &composed["isGateway"]), (&json!("ptp"), &Value::Null));
    assert_eq!((&composed["mtu"], &composed["ipMasq"]), (&json!(1430), &json!(true)));
    let b = bed.attach("b");
    assert!(a.place().ping(b.ip(0)) && a.place().ping(bed.node.outside_address()));
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a, &b]);
}

#[test]
fn what_the_runtime_grants_reaches_the_delegate() {
    let Some(bed) = start(SUBNET, &json!({"capabilities": {"ips": true, "mac": true}})) else { return };
    let container = bed.node.container("a").with_capability("ips", json!(["10.42.3.77/24"]));
    let a = bed.attach_to(&bed.network, container.with_capability("mac", json!("02:00:00:00:00:77")));
    assert_eq!(text(&a.result, "/ips/0/address"), "10.42.3.77/24");
    assert_eq!(a.interface()["address"], "02:00:00:00:00:77");
    bed.end(&[&a]);
}

/// flannel's own conflist, with `flannel` as the type: a second name of the same file.
#[test]
fn as_flannel_in_front_of_portmap() {
    let Some(node) = Node::start() else { return };
    write_subnet(&node, DUAL_STACK);
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let plugins = [plugin(&node, "flannel", &json!({})), portmap];
    for version in ["0.3.1", "1.0.0", "1.1.0"] {
        let network = node.network(json!({"cniVersion": version, "name": "cbr0", "plugins": plugins}));
        let before = node.snapshot();
        let web = node.container("web").publish("tcp", 8080, 80);
        let result = network.add(&web).expect("ADD");
        assert_eq!(result["cniVersion"], version);
        let _service = web.place.serve_tcp(80);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("answer").from, "web");
        if version != "0.3.1" {
            network.check(&web).expect("CHECK");
        }
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

/// Delegate and IPAM are called in this process.
#[test]
fn no_process_is_started() {
    let Some(bed) = start(SUBNET, &json!({})) else { return };
    let trace = bed.node.dir().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", trace.to_str().unwrap()];
    let network = bed.network.wrapped_in(&strace);
    let a = bed.attach_to(&network, bed.node.container("a"));
    let started = fs::read_to_string(&trace).unwrap();
    assert_eq!(started.lines().filter(|line| line.contains("execve(")).count(), 1, "{started}");
    bed.end(&[&a]);
}

/// Both paths of a configuration that says nothing, which are flannel's.
#[test]
fn the_paths_are_flannels() {
    let Some(node) = Node::start() else { return };
    fs::create_dir_all("/run/flannel").unwrap();
    fs::write("/run/flannel/subnet.env", SUBNET).unwrap();
    let plugin = json!({"type": "flannel", "ipam": {"type": "host-local"}, "delegate": {"isDefaultGateway": true}});
    let network = node.network_of("cbr0", &plugin);
    let a = node.container("a");
    network.add(&a).expect("ADD");
    assert!(Path::new("/var/lib/cni/flannel").join(&a.id).exists());
    network.del(&a).expect("DEL");
    assert!(!Path::new("/var/lib/cni/flannel").join(&a.id).exists());
}

#[test]
fn two_interfaces_of_a_container() {
    let Some(bed) = start(SUBNET, &json!({"delegate": {}})) else { return };
    let container: Container = bed.node.container("a");
    let (eth0, net1) =
        (bed.attach_to(&bed.network, container.clone()), bed.attach_to(&bed.network, container.on("net1")));
    let id = &eth0.container.id;
    assert_eq!(cache(&bed.node), [id.clone(), format!("{id}:eth0"), format!("{id}:net1")]);
    bed.network.del(&net1.container).expect("DEL");
    bed.network.del(&net1.container).expect("DEL again");
    assert_eq!(cache(&bed.node), [id.clone(), format!("{id}:eth0")], "the other's is not touched");
    bed.network.check(&eth0.container).expect("CHECK of the other");
    bed.end(&[&eth0]);
    assert!(cache_dir(&bed.node).exists());
}
