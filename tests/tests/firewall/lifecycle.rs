//! CHECK, DEL and GC, on what ADD made and on what is left of it; what is refused; what is undone.

use ferrule_tests::{Container, Firewall, Node, eventually};
use serde_json::{Value, json};

use crate::{FIREWALL, auto, network, rules};

/// The lines of the host's firewall that are about the container, by its ID or one of its addresses.
fn lines_about(node: &Node, container: &Container, result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("ips");
    let ips: Vec<&str> = ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap()).collect();
    let is_meant = |line: &String| line.contains(&container.id) || ips.iter().any(|ip| line.contains(ip));
    rules(node).into_iter().filter(is_meant).collect()
}

#[test]
fn an_attachment_is_made_once_however_often_it_is_added() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = network(&node, 1, &json!({"ingressPolicy": "isolated"}));
        let web = node.container("web");
        let result = network.add(&web).expect("ADD");
        let before = rules(&node);
        assert!(!lines_about(&node, &web, &result).is_empty());
        let again =
            network.invocation("ADD", FIREWALL, Some(&web), &result).run(&node.host).reply().expect("ADD again");
        assert_eq!(again["ips"], result["ips"]);
        assert_eq!(rules(&node), before);
        network.check(&web).expect("CHECK");
    }
}

#[test]
fn del_needs_nothing_but_the_name() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = network(&node, 1, &json!({"ingressPolicy": "same-bridge"}));
        let before = node.snapshot();
        let web = node.container("web");
        let result = network.add(&web).expect("ADD");
        let del = |container: &Container, result: &Value| {
            network.invocation("DEL", FIREWALL, Some(container), result).run(&node.host).reply().expect("DEL");
            let left = lines_about(&node, &web, &json!({"ips": network.result(&web)["ips"]}));
            assert!(left.is_empty(), "{firewall:?}: {left:#?}");
        };
        let add = || network.invocation("ADD", FIREWALL, Some(&web), &result).run(&node.host).reply().expect("ADD");
        let nowhere = web.clone().without_netns();
        for (container, result) in [
            (&nowhere, &Value::Null),
            (&nowhere, &result),
            (&web, &Value::Null),
            (&web, &json!({"cniVersion": "1.1.0"})),
        ] {
            del(container, result);
            add();
        }
        // A configuration that is wrong by now, and a second DEL.
        let mut broken = network.clone();
        broken.conflist["plugins"][FIREWALL]["backend"] = json!("ipfw");
        for _ in 0..2 {
            broken.invocation("DEL", FIREWALL, Some(&web), &result).run(&node.host).reply().expect("DEL");
        }
        network.del(&web).expect("DEL");
        network.del(&nowhere).expect("DEL again");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn del_removes_elements_in_every_way_that_kernels_have() {
    for way in ["expire", "destroy", "delete"] {
        let Some(node) = Node::start() else { return };
        let network = network(&node, 1, &json!({"ingressPolicy": "isolated"}));
        let before = node.snapshot();
        let web = node.container("web");
        let result = network.add(&web).expect("ADD");
        for _ in 0..2 {
            let del = network.invocation("DEL", FIREWALL, Some(&web), &result).env("FERRULE_NFT_REMOVAL", way);
            del.run(&node.host).reply().expect("DEL");
            // At once, though the kernel may not have swept the elements away.
            network.invocation("ADD", FIREWALL, Some(&web), &result).run(&node.host).reply().expect("ADD");
            network.check(&web).expect("CHECK");
        }
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn another_backend_than_now_is_checked_and_removed() {
    for (then, now) in [("nftables", "iptables"), ("iptables", "nftables"), ("iptables", "")] {
        let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
        let with = |backend: &str| network(&node, 1, &json!({"backend": backend, "ingressPolicy": "isolated"}));
        let before = node.snapshot();
        let web = node.container("web");
        let result = with(then).add(&web).expect("ADD");
        let network = with(now);
        network.remember(&web, Some(result));
        network.check(&web).expect("CHECK");
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn gc_removes_what_is_not_valid_and_nothing_of_others() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let (network, other) = (network(&node, 1, &json!({})), network(&node, 2, &json!({})));
        let (live, dead, foreign) = (node.container("live"), node.container("dead"), node.container("foreign"));
        let kept = network.add(&live).expect("ADD");
        let gone = network.add(&dead).expect("ADD");
        other.add(&foreign).expect("ADD");
        let gc = |valid: Value| {
            let mut config = network.conflist["plugins"][FIREWALL].clone();
            config["name"] = json!("net1");
            config["cniVersion"] = json!("1.1.0");
            config["cni.dev/valid-attachments"] = valid;
            let gc = network.invocation("GC", FIREWALL, None, &Value::Null).config(&config);
            gc.run(&node.host).reply().expect("GC");
        };
        gc(json!([{"containerID": live.id, "ifname": "eth0"}]));
        network.check(&live).expect("the valid one stays");
        other.check(&foreign).expect("another network stays");
        assert!(network.check(&dead).is_err());
        eventually("the dead one is gone", || lines_about(&node, &dead, &gone).is_empty());
        gc(Value::Null);
        eventually("null: nothing is valid", || lines_about(&node, &live, &kept).is_empty());
        other.check(&foreign).expect("another network stays");
    }
}

#[test]
fn an_address_that_a_new_container_has_is_its_own() {
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = network(&node, 1, &json!({"ingressPolicy": "isolated"}));
        let before = node.snapshot();
        let (lost, heir) = (node.container("lost"), node.container("heir"));
        let result = network.add(&lost).expect("ADD");
        let run = |verb: &str, container: &Container| {
            network.invocation(verb, FIREWALL, Some(container), &result).run(&node.host).reply()
        };
        run("ADD", &heir).expect("ADD of the heir");
        assert!(run("CHECK", &lost).is_err() || firewall != Firewall::Nftables, "the address is another's");
        // A late DEL of the former holder takes nothing from the heir.
        run("DEL", &lost).expect("DEL");
        run("CHECK", &heir).expect("CHECK of the heir");
        run("DEL", &heir).expect("DEL");
        network.del(&lost).expect("DEL");
        node.assert_nothing_left(&before, &[&lost, &heir]);
    }
}

#[test]
fn check_tells_what_is_damaged() {
    let damages: &[(Firewall, &str, &str)] = &[
        (Firewall::Nftables, "nft flush set inet ferrule_firewall hosts4", "element 10.81.0.2 of set hosts4"),
        (Firewall::Nftables, "nft flush set inet ferrule_firewall hosts6", "element fd81::2 of set hosts6"),
        (Firewall::Nftables, "nft flush chain inet ferrule_firewall unmark", "a rule of chain unmark"),
        (Firewall::Nftables, "iptables-nft -F FORWARD", "the jump from FORWARD to CNI-FORWARD in table ip filter"),
        (Firewall::Nftables, "ip6tables-nft -F CNI-FORWARD", "that accepts by mark in table ip6 filter"),
        (Firewall::Nftables, "nft flush ruleset", "a rule of chain forward"),
        (Firewall::IptablesNft, "iptables-nft -F CNI-FORWARD", "-s 10.81.0.2/32 -j ACCEPT"),
        (Firewall::IptablesNft, "ip6tables-nft -F FORWARD", "the jump from FORWARD to CNI-FORWARD"),
        (Firewall::IptablesLegacy, "iptables-legacy -F CNI-FORWARD", "--ctstate RELATED,ESTABLISHED -j ACCEPT"),
    ];
    for (firewall, damage, told) in damages {
        let Some(node) = Node::start_with(*firewall) else { return };
        let network = network(&node, 1, &json!({}));
        let web = node.container("web");
        network.add(&web).expect("ADD");
        network.check(&web).expect("CHECK");
        node.host.sh(damage);
        let broken = rules(&node);
        let failure = network.check(&web).expect_err(damage);
        assert!(failure.msg.contains(told), "{damage}: {failure:?}");
        assert_eq!(rules(&node), broken, "CHECK changes nothing");
        network.del(&web).expect("DEL of what is damaged");
        let next = node.container("next");
        network.add(&next).expect("ADD repairs");
        network.check(&next).expect("CHECK");
    }
}

#[test]
fn a_failed_add_leaves_nothing() {
    for firewall in [Firewall::Nftables, Firewall::IptablesNft] {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = network(&node, 1, &json!({"ingressPolicy": "isolated"}));
        let web = node.container("web");
        let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
        // Each message to the kernel is refused in turn, until there are no more.
        let trace = node.dir().join("trace");
        for at in 1.. {
            let inject = format!("inject=sendto:error=ENOBUFS:when={at}");
            let traced = ["strace", "-qq", "-o", trace.to_str().unwrap(), "-e", "trace=sendto", "-e", &inject];
            let add = network.invocation("ADD", FIREWALL, Some(&web), &result).wrapped_in(&traced);
            let succeeded = add.run(&node.host).status.success();
            if !std::fs::read_to_string(&trace).unwrap().contains("(INJECTED)") {
                assert!(at > if firewall == Firewall::Nftables { 20 } else { 1 }, "{firewall:?}: {at}");
                break;
            }
            if succeeded {
                // What is only a warning, or has another way.
                network.invocation("DEL", FIREWALL, Some(&web), &result).run(&node.host).reply().expect("DEL");
            }
            let of_it = ["\"cni1\"", &web.id, "10.81.0.2", "fd81::2"];
            let is_left = || rules(&node).iter().any(|line| of_it.iter().any(|name| line.contains(name)));
            eventually(&format!("{firewall:?}: nothing left after message {at}"), || !is_left());
        }
    }
}

#[test]
fn the_second_add_and_every_del_start_no_program() {
    let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
    let trace = node.dir().join("started");
    let plain = auto(&node, 1);
    let traced = plain.wrapped_in(&["strace", "-f", "-qq", "-A", "-o", trace.to_str().unwrap(), "-e", "trace=execve"]);
    let web = node.container("web");
    traced.add(&web).expect("ADD, the first of this host");
    traced.check(&web).expect("CHECK");
    traced.del(&web).expect("DEL");
    traced.gc(&[]).expect("GC");
    traced.status().expect("STATUS");
    let text = std::fs::read_to_string(&trace).unwrap();
    let started = text.lines().filter(|line| line.ends_with("= 0")).filter_map(|line| line.split('"').nth(1));
    let started: Vec<&str> = started.map(|path| path.rsplit('/').next().unwrap()).collect();
    assert!(started.iter().all(|name| ["bridge", "firewall"].contains(name)), "{started:?}");
}

#[test]
fn an_attachment_without_addresses_is_let_be() {
    let Some(node) = Node::start() else { return };
    let network = auto(&node, 1);
    let web = node.container("web");
    let result = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "cni1"}]});
    for verb in ["ADD", "CHECK", "DEL"] {
        network.invocation(verb, FIREWALL, Some(&web), &result).run(&node.host).reply().expect(verb);
    }
    assert_eq!(node.host.sh("nft list ruleset"), "");
}
