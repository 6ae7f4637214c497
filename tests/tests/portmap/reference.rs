//! The Go plugin before and after ours, on running containers.

use ferrule_tests::{Binaries, Firewall, Node};
use serde_json::{Value, json};

use crate::{LAYOUTS, PORTMAP, dual_stack};

#[test]
fn what_the_go_plugin_attached_is_checked_and_removed() {
    let Some((ours, go)) = Binaries::both() else { return };
    for firewall in Firewall::ALL {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let web = node.container("web").publish("tcp", 8080, 80).publish_on("192.0.2.2", "udp", 53, 53);
        let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
        network.remember(&web, Some(result.clone()));
        let of = |binaries: &Binaries, verb: &str| {
            network.served_by(binaries).invocation(verb, PORTMAP, Some(&web), &result).run(&node.host).reply()
        };
        for del_knows_the_result in [true, false] {
            of(&go, "ADD").expect("ADD by Go");
            of(&ours, "CHECK").expect("CHECK by ours");
            if del_knows_the_result {
                of(&ours, "DEL").expect("DEL by ours");
            } else {
                network.invocation("DEL", PORTMAP, Some(&web), &Value::Null).run(&node.host).reply().expect("DEL");
            }
            assert!(node.snapshot().lines().iter().all(|line| !line.contains("8080") && !line.contains("10.88.0.2:")));
            assert!(of(&ours, "CHECK").is_err());
        }
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn check_tells_what_is_missing_of_the_go_plugins_rules() {
    let Some((_, go)) = Binaries::both() else { return };
    for (firewall, damage, told) in [
        (Firewall::Nftables, "nft flush chain ip cni_hostport hostports", "tcp 0.0.0.0:8080"),
        (Firewall::Nftables, "nft flush chain ip6 cni_hostport masquerading", "masquerade of fd88::2"),
    ] {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let web = node.container("web").publish("tcp", 8080, 80);
        let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
        network.served_by(&go).invocation("ADD", PORTMAP, Some(&web), &result).run(&node.host).reply().expect("Go");
        node.host.sh(damage);
        let failure =
            network.invocation("CHECK", PORTMAP, Some(&web), &result).run(&node.host).reply().expect_err(damage);
        assert!(failure.msg.contains(told), "{failure:?}");
    }
}

#[test]
fn the_go_plugin_checks_and_removes_ours_in_iptables() {
    let Some((ours, go)) = Binaries::both() else { return };
    for firewall in [Firewall::IptablesNft, Firewall::IptablesLegacy] {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let web = (1..=20).fold(node.container("web"), |c, i| c.publish("tcp", 8000 + i, 80)).publish("udp", 53, 53);
        let web = web.publish_on("192.0.2.2", "tcp", 9000, 80).publish_on("2001:db8::2", "tcp", 9001, 80);
        let result = network.add(&web).expect("ADD by ours");
        let of = |binaries: &Binaries, verb: &str| {
            network.served_by(binaries).invocation(verb, PORTMAP, Some(&web), &result).run(&node.host).reply()
        };
        of(&go, "CHECK").expect("CHECK by Go");
        of(&go, "DEL").expect("DEL by Go");
        assert!(of(&ours, "CHECK").is_err());
        network.del(&web).expect("DEL");
        node.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn both_write_the_same_iptables_rules() {
    let Some((ours, go)) = Binaries::both() else { return };
    for settings in [json!({}), json!({"masqAll": true}), json!({"snat": false})] {
        let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
        let mut network = dual_stack(&node);
        for (key, value) in settings.as_object().expect("settings") {
            network.conflist["plugins"][PORTMAP][key] = value.clone();
        }
        let web = (1..=20).fold(node.container("web"), |c, i| c.publish("tcp", 8000 + i, 80)).publish("udp", 53, 53);
        let web = web.publish_on("192.0.2.2", "tcp", 9000, 80).publish_on("::", "tcp", 9001, 80);
        let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
        let rules_of = |binaries: &Binaries| {
            let run = |verb| {
                let portmap = network.served_by(binaries).invocation(verb, PORTMAP, Some(&web), &result);
                portmap.run(&node.host).reply().expect(verb)
            };
            run("ADD");
            let saved = ["iptables-nft-save -t nat", "ip6tables-nft-save -t nat"].map(|line| node.host.sh(line));
            run("DEL");
            node.host.sh("nft flush ruleset");
            let rules =
                |text: &str| text.lines().filter(|l| l.starts_with("-A")).map(str::to_owned).collect::<Vec<_>>();
            saved.map(|text| {
                let mut rules = rules(&text);
                // The shared chains may be filled in another order.
                rules.sort_by_key(|rule| rule.split(' ').nth(1).map(str::to_owned));
                rules
            })
        };
        assert_eq!(rules_of(&ours), rules_of(&go));
    }
}

#[test]
fn a_port_that_the_go_plugin_published_is_refused() {
    let Some((_, go)) = Binaries::both() else { return };
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let old = node.container("old").publish("tcp", 8080, 80);
        network.served_by(&go).add(&old).expect("ADD by Go");
        for backend in ["nftables", "iptables"] {
            let mut network = network.clone();
            network.conflist["plugins"][PORTMAP]["backend"] = json!(backend);
            let new = node.container("new").publish("tcp", 8080, 80);
            let failure = network.add(&new).expect_err("the port is taken");
            assert_eq!(failure.code, 100, "{failure:?}");
            assert!(failure.msg.contains(&old.id), "{failure:?}");
            network.del(&new).expect("DEL");
        }
        network.check(&old).expect("CHECK of the old one");
    }
}

#[test]
fn what_the_go_plugin_left_for_our_address_gives_way() {
    let Some((_, go)) = Binaries::both() else { return };
    for firewall in LAYOUTS {
        let Some(node) = Node::start_with(firewall) else { return };
        let network = dual_stack(&node);
        let before = node.snapshot();
        let lost = node.container("lost").publish("tcp", 8080, 80);
        let result = network.served_by(&go).add(&lost).expect("ADD by Go");
        let heir = node.container("heir").publish("tcp", 8080, 81);
        let mut of_heir = result.clone();
        of_heir["interfaces"][2]["sandbox"] = json!(heir.netns);
        network.invocation("ADD", PORTMAP, Some(&heir), &of_heir).run(&node.host).reply().expect("ADD");
        let _service = lost.place.serve_tcp(81);
        assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("the new mapping").from, "lost");
        network.invocation("DEL", PORTMAP, Some(&heir), &of_heir).run(&node.host).reply().expect("DEL");
        network.remember(&lost, Some(result));
        network.del(&lost).expect("DEL");
        node.assert_nothing_left(&before, &[&lost, &heir]);
    }
}
