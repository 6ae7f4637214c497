//! Plugins replaced under running containers: what the Go plugins attached, ours check and detach, and back.
#![expect(clippy::expect_used, reason = "a test")]

use ferrule_tests::{Binaries, Firewall, Node, eventually, fixture};

/// Attaches by the Go plugins, checks and detaches by ours.
fn from_reference(firewall: Firewall) {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(node) = Node::start_with(firewall) else { return };
    let theirs = node.network_by(fixture("bridge-portmap.conflist"), &reference);
    let ours = theirs.served_by(&ours);
    let before = node.snapshot();
    let web = node.container("web").publish("tcp", 8080, 80).publish("udp", 8080, 80);
    let other = node.container("other").publish("tcp", 8081, 80);
    let gone = node.container("gone").publish("tcp", 8082, 80);
    for container in [&web, &other, &gone] {
        theirs.add(container).expect("ADD by the reference");
    }

    ours.check(&web).expect("CHECK by ours");
    ours.del(&web).expect("DEL by ours");
    assert!(node.outside.is_closed_tcp(node.address(), 8080));
    let service = other.place.serve_tcp(80);
    assert_eq!(node.outside.fetch_tcp(node.address(), 8081).expect("the other's port").from, "other");
    drop(service);

    // A third attachment by ours beside theirs; then everything goes in each of the ways.
    ours.add(&web).expect("ADD by ours beside theirs");
    node.kill(&gone);
    ours.del(&gone.clone().without_netns()).expect("DEL by ours without the namespace");
    ours.del(&other).expect("DEL by ours");
    ours.del(&web).expect("DEL by ours");
    node.assert_nothing_left(&before, &[&web, &other, &gone]);
}

/// Attaches by the Go plugins; our GC alone removes what is left when the namespace ended.
fn collected_from_reference(firewall: Firewall) {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(node) = Node::start_with(firewall) else { return };
    let mut conflist = fixture("bridge-portmap.conflist");
    // GC exists since 1.1.0.
    *conflist.pointer_mut("/cniVersion").expect("a version") = "1.1.0".into();
    let theirs = node.network_by(conflist, &reference);
    let ours = theirs.served_by(&ours);
    let before = node.snapshot();
    let (kept, gone) =
        (node.container("kept").publish("tcp", 8081, 80), node.container("gone").publish("tcp", 8082, 80));
    for container in [&kept, &gone] {
        theirs.add(container).expect("ADD by the reference");
    }
    node.kill(&gone);
    ours.gc(&[&kept]).expect("GC by ours");
    let now = node.snapshot();
    let mut left = now.since(&before);
    // The Go portmap's nf_tables rules name a container but no network: ours cannot know whether they belong to an
    // attachment to another network, which is not in the list and may be valid. They go with DEL, or when the port or
    // the address is used again.
    left.retain(|line| line.contains(&gone.id) && !line.starts_with("nft rule ip cni_hostport "));
    assert!(left.is_empty(), "{left:#?}");
    let service = kept.place.serve_tcp(80);
    assert_eq!(node.outside.fetch_tcp(node.address(), 8081).expect("the valid one's port").from, "kept");
    drop(service);
    ours.check(&kept).expect("CHECK of the valid one");
    ours.gc(&[]).expect("GC by ours of everything");
    for container in [&kept, &gone] {
        ours.del(container).expect("DEL by ours");
    }
    node.assert_nothing_left(&before, &[&kept, &gone]);
}

/// Attaches by ours, checks and detaches by the Go plugins. Their DEL knows nothing of our nf_tables tables; what it
/// leaves there, our GC removes when the binaries come back.
fn to_reference(firewall: Firewall) {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(node) = Node::start_with(firewall) else { return };
    let mut conflist = fixture("bridge-portmap.conflist");
    *conflist.pointer_mut("/cniVersion").expect("a version") = "1.1.0".into();
    let ours = node.network_by(conflist, &ours);
    let theirs = ours.served_by(&reference);
    let before = node.snapshot();
    let web = node.container("web").publish("tcp", 8080, 80);
    ours.add(&web).expect("ADD by ours");
    if firewall != Firewall::Nftables {
        theirs.check(&web).expect("CHECK by the reference");
    }
    theirs.del(&web).expect("DEL by the reference");
    assert!(web.place.find_link("eth0").is_none());
    if firewall == Firewall::Nftables {
        let left = node.left_since(&before, &[&web]);
        assert!(left.iter().all(|line| line.contains("ferrule_")), "only in our tables: {left:#?}");
        ours.gc(&[]).expect("GC by ours");
    }
    node.assert_nothing_left(&before, &[&web]);
}

/// Back on a node that the Go plugins had first: of chains with the same priority the kernel asks the newer ones first, which are ours.
/// So a port of a former attachment of ours does not lead to the next container that has it, until our GC runs, which keeps
/// what lives of either.
#[test]
fn our_gc_frees_ports_for_the_reference_after_going_back() {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(node) = Node::start_with(Firewall::Nftables) else { return };
    let mut conflist = fixture("bridge-portmap.conflist");
    *conflist.pointer_mut("/cniVersion").expect("a version") = "1.1.0".into();
    let ours = node.network_by(conflist, &ours);
    let theirs = ours.served_by(&reference);
    let before = node.snapshot();
    let first = node.container("first").publish("tcp", 8080, 80);
    theirs.add(&first).expect("ADD by the reference");
    theirs.del(&first).expect("DEL by the reference");
    let former = node.container("former").publish("tcp", 8080, 80);
    let elder = node.container("elder").publish("tcp", 8081, 80);
    for container in [&former, &elder] {
        ours.add(container).expect("ADD by ours");
    }
    theirs.del(&former).expect("DEL by the reference");
    let next = node.container("next").publish("tcp", 8080, 80);
    theirs.add(&next).expect("ADD by the reference");
    let services = [elder.place.serve_tcp(80), next.place.serve_tcp(80)];
    assert!(node.outside.is_closed_tcp(node.address(), 8080), "the former container's port is in the way");

    ours.gc(&[&elder, &next]).expect("GC by ours");
    // An element lives on for a few milliseconds, and a connection that it leads astray for seconds.
    eventually("the former container's port is free", || {
        !node.host.sh("nft list map inet ferrule_portmap hostports4").contains("tcp . 8080 ")
    });
    assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("the port of theirs").from, "next");
    assert_eq!(node.outside.fetch_tcp(node.address(), 8081).expect("the port of ours").from, "elder");
    drop(services);
    for container in [&elder, &next] {
        theirs.del(container).expect("DEL by the reference");
    }
    ours.gc(&[]).expect("GC by ours");
    node.assert_nothing_left(&before, &[&first, &former, &elder, &next]);
}

#[test]
fn ours_detach_what_the_reference_attached_with_nftables() {
    from_reference(Firewall::Nftables);
}

#[test]
fn ours_detach_what_the_reference_attached_with_iptables_nft() {
    from_reference(Firewall::IptablesNft);
}

#[test]
fn ours_detach_what_the_reference_attached_with_iptables_legacy() {
    from_reference(Firewall::IptablesLegacy);
}

#[test]
fn ours_collect_what_the_reference_attached_with_nftables() {
    collected_from_reference(Firewall::Nftables);
}

#[test]
fn ours_collect_what_the_reference_attached_with_iptables_nft() {
    collected_from_reference(Firewall::IptablesNft);
}

#[test]
fn the_reference_detaches_what_ours_attached_with_nftables() {
    to_reference(Firewall::Nftables);
}

#[test]
fn the_reference_detaches_what_ours_attached_with_iptables_nft() {
    to_reference(Firewall::IptablesNft);
}

#[test]
fn the_reference_detaches_what_ours_attached_with_iptables_legacy() {
    to_reference(Firewall::IptablesLegacy);
}
