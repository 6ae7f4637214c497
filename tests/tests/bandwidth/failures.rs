//! ADDs that cannot be: what they say, and that they leave nothing.

use ferrule_tests::bed::words;
use ferrule_tests::{Container, Network, Node};
use serde_json::{Value, json};

use crate::{BANDWIDTH, attach, both, host_end, ifbs, network, redirections, tbf};

/// What the ADD of bandwidth alone says, with a result that has nothing of use.
fn refusal(node: &Node, network: &Network, container: &Container) -> (u64, String) {
    let before = node.snapshot();
    let result = json!({"cniVersion": "1.1.0", "interfaces": [], "ips": []});
    let failure = network.invocation("ADD", BANDWIDTH, Some(container), &result).run(&node.host).reply();
    let failure = failure.expect_err("ADD must fail");
    node.assert_nothing_left(&before, &[container]);
    (failure.code, words(&failure))
}

#[test]
fn what_is_no_veth_of_this_host_is_refused_in_clear_words() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    let (code, said) = refusal(&node, &network, &web);
    assert_eq!(code, 7);
    assert!(said.contains("interface eth0 is not in the container (hint: put bandwidth after"), "{said}");

    web.place.sh("ip link add eth0 type bridge");
    let (code, said) = refusal(&node, &network, &web);
    assert_eq!(code, 7);
    assert!(said.contains("container interface eth0 has no veth peer: it is bridge (hint:"), "{said}");

    // Its other end is in the outside, where a link of the host has the same number.
    let other = node.container("other");
    let outside = node.outside.netns.display();
    other.place.sh(&format!("ip link add eth0 type veth peer name peer0 netns {outside}"));
    let (code, said) = refusal(&node, &network, &other);
    assert_eq!(code, 999);
    assert!(said.contains("veth peer of container interface eth0 is not in host ns (hint:"), "{said}");
}

#[test]
fn taken_names_are_told() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    attach(&network, &web);
    let second = web.clone().on("eth1");
    attach(&network, &second);
    let names = ifbs(&node);
    network.del(&web).expect("DEL");
    network.del(&second).expect("DEL");
    // Both names that eth1 could take.
    for name in &names {
        node.host.sh(&format!("ip link add {name} type bridge"));
    }
    let before = node.snapshot();
    let failure = network.add(&second).expect_err("the names are taken");
    assert!(failure.msg.contains("the host has a link of this name that is not this attachment's"), "{failure:?}");
    network.del(&second).expect("DEL");
    node.assert_nothing_left(&before, &[&second]);
}

#[test]
fn a_queue_of_somebody_else_is_not_replaced() {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let web = node.container("web");
    let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
    let end = host_end(&node, &web);
    for handle in ["1:", "7:"] {
        node.host.sh(&format!("tc qdisc add dev {end} root handle {handle} pfifo"));
        let failure =
            network.invocation("ADD", BANDWIDTH, Some(&web), &result).run(&node.host).reply().expect_err("ADD");
        let told = format!(
            "cannot limit {end}: it has a queueing discipline pfifo already (hint: tc qdisc del dev {end} root"
        );
        assert!(failure.msg.starts_with(&told), "{failure:?}");
        assert_eq!((ifbs(&node).len(), redirections(&node, &end).len()), (0, 0));
        assert_eq!(node.host.json(&format!("tc -j qdisc show dev {end} root"))[0]["kind"], "pfifo");
        node.host.sh(&format!("tc qdisc del dev {end} root"));
    }
}

/// Runs each verb so that its request number 1, then 2, … fails, until there is none so far.
fn fails_at_each_request(syscalls: &str, fault: &str) {
    let Some(node) = Node::start() else { return };
    let network = network(&node, &both());
    let before = node.snapshot();
    for which in 1.. {
        assert!(which < 100, "there is no end of requests");
        let web = node.container("web");
        let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
        let end = host_end(&node, &web);
        let invocation = network.invocation("ADD", BANDWIDTH, Some(&web), &result);
        let (output, was_injected) = invocation.with_fault(&node, syscalls, fault, which);
        let at = format!("{fault} at request {which}");
        match output.reply() {
            Ok(result) => network.remember(&web, Some(result)),
            Err(failure) => {
                assert!(was_injected, "{failure:?}");
                let left = (tbf(&node, &end), redirections(&node, &end).len(), ifbs(&node).len());
                assert_eq!(left, (None, 0, 0), "{at} leaves something");
                network.remember(&web, Some(attach_again(&node, &network, &web, &result)));
            }
        }
        network.check(&web).unwrap_or_else(|e| panic!("{at}: success, but CHECK says {e:?}"));

        let result = network.result(&web);
        let invocation = network.invocation("DEL", BANDWIDTH, Some(&web), &result);
        let (output, del_was_injected) = invocation.with_fault(&node, syscalls, fault, which);
        if let Err(failure) = output.reply() {
            assert!(del_was_injected, "{failure:?}");
            network.invocation("DEL", BANDWIDTH, Some(&web), &result).run(&node.host).reply().expect("DEL again");
        }
        let left = (tbf(&node, &end), redirections(&node, &end).len(), ifbs(&node).len());
        assert_eq!(left, (None, 0, 0), "DEL with {at} leaves something");
        network.del(&web).expect("DEL of the rest");
        node.assert_nothing_left(&before, &[&web]);
        if !was_injected && !del_was_injected {
            assert!(which > 2, "nothing was injected: strace does not work here");
            return;
        }
    }
}

fn attach_again(node: &Node, network: &Network, container: &Container, result: &Value) -> Value {
    network.invocation("ADD", BANDWIDTH, Some(container), result).run(&node.host).reply().expect("ADD again")
}

#[test]
fn no_buffers_for_any_request() {
    fails_at_each_request("sendto,sendmsg", "error=ENOBUFS");
}

#[test]
fn no_memory_for_any_answer() {
    fails_at_each_request("recvfrom,recvmsg", "error=ENOMEM");
}

#[test]
fn no_socket() {
    fails_at_each_request("socket", "error=EMFILE");
}
