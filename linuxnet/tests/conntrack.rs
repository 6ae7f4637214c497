//! Flows are forgotten: exactly those asked for.
#![allow(clippy::unwrap_used, reason = "a failure of a test's own values is a failed test")]

#[path = "support/router.rs"]
mod router;
mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use linuxnet::conntrack::{Flows, UDP};
use linuxnet::nft::{BaseChain, ChainKind, Hook, Nfnetlink, Policy, Removal, Rule, Table, Transaction, priority};
use router::{HOST, POD, Router, at};
use support::output;

/// Both ways: the kernel filters; and we list and remove one by one, as for kernels that do not filter.
const WAYS: [Removal; 2] = [Removal::Expire, Removal::Delete];

/// Another address of the host.
const OTHER: &str = "2001:db8::11";

/// The flows that the host knows, as `protocol address port`.
fn flows(router: &Router) -> BTreeSet<String> {
    let mut flows = BTreeSet::new();
    for family in ["ipv4", "ipv6"] {
        for line in output(router.host(), &format!("conntrack -L -f {family}")).lines() {
            let word = |prefix: &str| line.split_whitespace().find_map(|word| word.strip_prefix(prefix)).unwrap();
            let protocol = line.split_whitespace().next().unwrap();
            flows.insert(format!("{protocol} {} {}", word("dst="), word("dport=")));
        }
    }
    flows
}

fn all() -> BTreeSet<String> {
    let places = [HOST[0], HOST[1], OTHER, POD[0]];
    places.iter().flat_map(|to| [53, 5353].map(|port| format!("udp {to} {port}"))).collect()
}

/// Makes a flow to each of `all()`. A flow exists when its packet has passed, after the neighbours found each other.
fn begin_flows(router: &Router) {
    output(router.outside(), "ip route replace 10.1.0.0/24 via 192.0.2.1");
    output(router.host(), &format!("ip address replace {OTHER}/64 dev out nodad"));
    for (to, any) in [(HOST[0], "0.0.0.0"), (HOST[1], "::"), (OTHER, "::"), (POD[0], "0.0.0.0")] {
        let socket = router.outside().within(|| UdpSocket::bind(at(any, 0))).unwrap().unwrap();
        for port in [53, 5353] {
            socket.send_to(b"hello", at(to, port)).unwrap();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while flows(router) != all() {
        assert!(Instant::now() < deadline, "{:?}", flows(router));
    }
}

fn tracking(router: &Router) -> Nfnetlink {
    let mut nft = Nfnetlink::open_in(router.host()).unwrap();
    let table = Table::inet("tracking");
    let mut t = Transaction::new(table);
    t.ensure_table().create_base_chain(&BaseChain {
        name: "postrouting",
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: priority::SRCNAT,
        policy: Policy::Accept,
    });
    nft.commit(t.add_rule("postrouting", &Rule::new().was_dnat().masquerade())).unwrap();
    nft
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn exactly_the_flows_asked_for_are_forgotten() {
    let Some(router) = Router::new() else { return };
    let mut nft = tracking(&router);
    let to_dns = Flows { protocol: UDP, port: 53, address: None, answered_by: None };
    let cases: [(Flows, &[&str]); 10] = [
        (to_dns, &["udp 192.0.2.1 53", "udp 2001:db8::1 53", "udp 2001:db8::11 53", "udp 10.1.0.2 53"]),
        (Flows { address: address(HOST[0]), ..to_dns }, &["udp 192.0.2.1 53"]),
        (Flows { address: address(HOST[1]), ..to_dns }, &["udp 2001:db8::1 53"]),
        (Flows { address: address("192.0.2.77"), ..to_dns }, &[]),
        (Flows { address: address("2001:db8::77"), ..to_dns }, &[]),
        (Flows { answered_by: address(HOST[1]), ..to_dns }, &["udp 2001:db8::1 53"]),
        (Flows { answered_by: address(POD[0]), ..to_dns }, &["udp 10.1.0.2 53"]),
        (Flows { address: address(HOST[0]), answered_by: address(POD[0]), ..to_dns }, &[]),
        (Flows { port: 54, ..to_dns }, &[]),
        (Flows { protocol: 6, ..to_dns }, &[]),
    ];
    for way in WAYS {
        nft.set_removal(way);
        for (asked, forgotten) in cases {
            begin_flows(&router);
            nft.flush_flows(&asked).unwrap();
            let gone: BTreeSet<String> = all().difference(&flows(&router)).cloned().collect();
            assert_eq!(gone, forgotten.iter().map(ToString::to_string).collect(), "{way:?} {asked:?}");
            output(router.host(), "conntrack -F");
        }
        nft.flush_flows(&to_dns).unwrap(); // none there
    }
}
