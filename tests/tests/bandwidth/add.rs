//! ADD: what it sets, for whom, and what it leaves alone.

use ferrule_tests::Node;
use serde_json::{Value, json};

use crate::{BANDWIDTH, attach, both, host_end, ifbs, network, redirections, tbf};

/// Bytes per second, bytes, and 25 ms, which tc tells with a rounding error.
fn assert_limit(shown: &Value, rate: u64, burst: u64) {
    let close = |key: &str, wanted: u64, error: u64| shown[key].as_u64().unwrap().abs_diff(wanted) <= error;
    assert!(close("rate", rate, 0) && close("burst", burst, 10) && close("lat", 25_000, 2), "{shown}");
}

#[test]
fn both_ends_of_the_host_are_limited_and_the_ifb_is_in_the_result() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    let result = attach(&network, &web);
    let end = host_end(&node, &web);
    let [ifb] = ifbs(&node).try_into().expect("one ifb");
    assert_limit(&tbf(&node, &end).expect("a limit"), 5_000_000, 100_000);
    assert_limit(&tbf(&node, &ifb).expect("a limit"), 3_000_000, 50_000);
    assert_eq!(redirections(&node, &end), [ifb.as_str()]);
    let link = node.host.find_link(&ifb).unwrap();
    assert_eq!((&link["ifalias"], &link["mtu"]), (&json!(format!("pods {} eth0", web.id)), &json!(1500)));
    let listed = result["interfaces"].as_array().unwrap().last().unwrap();
    assert_eq!(listed, &json!({"name": ifb, "mac": link["address"], "mtu": 1500}));
    network.check(&web).expect("CHECK");
    network.status().expect("STATUS");
}

#[test]
fn the_mtu_of_the_ifb_is_the_links() {
    let Some(node) = Node::start() else { return };
    let mut network = network(&node, &both());
    network.conflist["plugins"][0]["mtu"] = json!(9000);
    attach(&network, &node.container("web"));
    assert_eq!(node.host.find_link(&ifbs(&node)[0]).unwrap()["mtu"], 9000);
}

#[test]
fn what_stands_in_the_list_goes_over_what_the_runtime_asks_for() {
    let Some(node) = Node::start() else { return };
    let asked = json!({"ingressRate": 8_000_000, "ingressBurst": 80_000});
    let own = json!({"EgressRate": 16_000_000, "EGRESSBURST": 160_000});
    let web = node.container("web").with_capability("bandwidth", asked);
    let network = network(&node, &own);
    attach(&network, &web);
    assert_eq!(tbf(&node, &host_end(&node, &web)), None);
    assert_eq!(tbf(&node, &ifbs(&node)[0]).unwrap()["rate"], 2_000_000);
    network.check(&web).expect("CHECK");
}

#[test]
fn without_limits_the_result_passes_and_the_kernel_is_not_asked() {
    let Some(node) = Node::start() else { return };
    let zero = json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0});
    for keys in [json!({}), zero] {
        let network = network(&node, &keys);
        let web = node.container("web");
        let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
        for verb in ["ADD", "CHECK"] {
            let trace = node.dir().join("trace");
            let strace = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", "trace=socket,setns,execve"];
            let invocation = network.invocation(verb, BANDWIDTH, Some(&web), &result).wrapped_in(&strace);
            let reply = invocation.run(&node.host).reply().expect(verb);
            assert_eq!(reply, if verb == "ADD" { result.clone() } else { Value::Null });
            let traced = std::fs::read_to_string(&trace).unwrap();
            assert_eq!(traced.lines().count(), 1, "the plugin's own start: {traced}");
        }
    }
}

#[test]
fn two_attachments_of_a_container_to_one_network_do_not_collide() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let before = node.snapshot();
    let first = node.container("web");
    let second = first.clone().on("eth1");
    for container in [&first, &second] {
        attach(&network, container);
    }
    let ends = [host_end(&node, &first), host_end(&node, &second)];
    let targets = ends.each_ref().map(|end| redirections(&node, end));
    assert_eq!((targets[0].len(), targets[1].len(), ifbs(&node).len()), (1, 1, 2), "{targets:?}");
    assert_ne!(targets[0], targets[1]);
    for container in [&first, &second] {
        network.check(container).expect("CHECK");
    }
    // In either order.
    network.del(&first).expect("DEL");
    network.check(&second).expect("CHECK of the other");
    attach(&network, &first);
    network.del(&second).expect("DEL");
    network.check(&first).expect("CHECK of the other");
    network.del(&first).expect("DEL");
    node.assert_nothing_left(&before, &[&first]);
}

#[test]
fn an_add_again_sets_the_same_again() {
    let Some(node) = Node::start() else { return };
    let mut network = network(&node, &both());
    let before = node.snapshot();
    let web = node.container("web");
    let result = attach(&network, &web);
    let again = || network.invocation("ADD", BANDWIDTH, Some(&web), &result).run(&node.host).reply().expect("ADD");
    assert_eq!(again(), result);
    network.conflist["plugins"][BANDWIDTH]["egressRate"] = json!(8_000_000);
    let again = network.invocation("ADD", BANDWIDTH, Some(&web), &result).run(&node.host).reply().expect("ADD");
    assert_eq!(again, result);
    let end = host_end(&node, &web);
    assert_eq!((redirections(&node, &end), ifbs(&node).len()), (ifbs(&node), 1));
    assert_eq!(tbf(&node, &ifbs(&node)[0]).unwrap()["rate"], 1_000_000);
    network.check(&web).expect("CHECK");
    network.del(&web).expect("DEL");
    node.assert_nothing_left(&before, &[&web]);
}

#[test]
fn every_version_since_0_3_0() {
    let Some(node) = Node::start() else { return };
    let mut network = network(&node, &both());
    let before = node.snapshot();
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        network.conflist["cniVersion"] = json!(version);
        let web = node.container("web");
        let result = attach(&network, &web);
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 4, "{result}");
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
    network.conflist["cniVersion"] = json!("0.2.0");
    let refused = network.invocation("ADD", BANDWIDTH, Some(&node.container("web")), &Value::Null).run(&node.host);
    assert_eq!(refused.reply().expect_err("too old").code, 1);
}
