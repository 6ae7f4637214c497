use std::collections::BTreeMap;

use linuxnet::wireguard::PublicKey;
use proptest::prelude::*;
use serde_json::json;

use crate::claim::Claim;
use crate::network::{Backend, Pool, Vxlan, WireGuard};

use super::*;

pub(crate) fn network() -> Network {
    Network {
        v4: Some(Pool {
            network: "10.42.0.0/16".parse().unwrap(),
            subnet_len: 24,
            first: "10.42.1.0/24".parse().unwrap(),
            last: "10.42.255.0/24".parse().unwrap(),
        }),
        v6: Some(Pool {
            network: "fd42::/32".parse().unwrap(),
            subnet_len: 64,
            first: "fd42:0:0:1::/64".parse().unwrap(),
            last: "fd42:0:ffff:ffff::/64".parse().unwrap(),
        }),
        backend: Backend::Vxlan(Vxlan { vni: 1, port: 8472, gbp: false, direct_routing: false, mtu: None }),
    }
}

pub(crate) fn claim(subnet: &str, address: &str, mac: &str) -> Claim {
    Claim {
        subnets: vec![subnet.parse().unwrap()],
        public_ip: Some(address.parse().unwrap()),
        backend: "vxlan".into(),
        v4_data: Some(json!({"VNI": 1, "VtepMAC": mac})),
        ..Claim::default()
    }
}

fn record(name: &str, subnet: &str, address: u8, mac: u8) -> Record {
    let claim = claim(subnet, &format!("192.0.2.{address}"), &format!("0a:00:00:00:00:{mac:02x}"));
    Record { name: name.to_owned(), claim: Ok(claim) }
}

fn own() -> Own {
    Own {
        name: "us".into(),
        subnets: vec!["10.42.0.0/24".parse().unwrap()],
        addresses: vec!["192.0.2.100".parse().unwrap()],
        macs: vec!["0a:00:00:00:00:64".parse().unwrap()],
        public_key: Some(PublicKey([100; 32])),
    }
}

fn roster() -> Roster {
    Roster::new(network(), own())
}

/// Of a network in which the nodes are, too.
fn wide() -> Roster {
    let all = Pool { network: "0.0.0.0/0".parse().unwrap(), ..network().v4.unwrap() };
    Roster::new(Network { v4: Some(all), ..network() }, own())
}

fn names(roster: &Roster) -> Vec<&str> {
    roster.believed().map(|(name, _)| &**name).collect()
}

fn why(roster: &Roster, name: &str) -> String {
    roster.refused().find(|(refused, ..)| &***refused == name).map(|(.., why)| why.to_string()).unwrap_or_default()
}

#[test]
fn who_holds_a_subnet_stays_and_the_other_waits() {
    let mut roster = roster();
    roster.hear(News::Changed(record("b", "10.42.1.0/24", 1, 1)));
    assert_eq!(roster.hear(News::Changed(record("a", "10.42.1.128/25", 2, 2))), []);
    assert_eq!(names(&roster), ["b"]);
    assert_eq!(why(&roster, "a"), "its subnet 10.42.1.128/25 overlaps 10.42.1.0/24 of node b");
    let changes = roster.hear(News::Gone("b".into()));
    assert_eq!(changes.iter().map(|c| (&*c.name, c.peer.is_some())).collect::<Vec<_>>(), [("a", true), ("b", false)]);
    assert_eq!((names(&roster), roster.refused_count()), (vec!["a"], 0));
}

#[test]
fn of_a_full_list_the_first_by_name_wins_in_any_order() {
    let list = || ["c", "a", "b"].map(|name| record(name, "10.42.1.0/24", name.as_bytes()[0], name.as_bytes()[0]));
    let mut roster = roster();
    roster.hear(News::All(list().into()));
    assert_eq!((names(&roster), roster.refused_count()), (vec!["a"], 2));
    // Who holds it stays, whatever comes later.
    roster.hear(News::All(list().into_iter().filter(|record| record.name != "a").collect()));
    assert_eq!(names(&roster), ["b"]);
    roster.hear(News::All(list().into()));
    assert_eq!(names(&roster), ["b"]);
}

#[test]
fn nobody_is_what_this_node_is() {
    let mut roster = roster();
    roster.hear(News::All(vec![
        record("address", "10.42.1.0/24", 100, 1),
        record("mac", "10.42.2.0/24", 2, 100),
        record("subnet", "10.42.0.0/16", 3, 3),
        record("us", "10.42.0.0/24", 100, 100),
        record("10.42.0.0-24", "10.42.0.0/24", 100, 100),
        record("other", "10.42.3.0/24", 4, 4),
        Record { name: "broken".into(), claim: Err("no JSON: {".into()) },
    ]));
    assert_eq!((names(&roster), roster.refused_count()), (vec!["other"], 4));
    assert_eq!(why(&roster, "address"), "its address 192.0.2.100 is this node's");
    assert_eq!(why(&roster, "mac"), "its hardware address 0a:00:00:00:00:64 is this node's");
    assert_eq!(why(&roster, "subnet"), "its subnet 10.42.0.0/16 overlaps 10.42.0.0/24, which is this node's");
    assert_eq!(why(&roster, "broken"), "its record cannot be read: no JSON: {");
    // It gets the subnet of another, and another address than before.
    let own = Own {
        subnets: vec!["10.42.3.0/24".parse().unwrap()],
        addresses: vec!["192.0.2.101".parse().unwrap()],
        ..own()
    };
    roster.set_own(own);
    assert_eq!(names(&roster), ["10.42.0.0-24", "address"][1..]);
}

#[test]
fn one_hardware_address_is_one_machine() {
    let mut roster = roster();
    roster.hear(News::Changed(record("a", "10.42.1.0/24", 1, 1)));
    // The same machine with another subnet, while its old lease lasts; another machine.
    roster.hear(News::Changed(record("a2", "10.42.2.0/24", 1, 1)));
    roster.hear(News::Changed(record("b", "10.42.3.0/24", 2, 1)));
    assert_eq!(names(&roster), ["a", "a2"]);
    assert_eq!(why(&roster, "b"), "its hardware address 0a:00:00:00:00:01 is that of node a");
    roster.hear(News::Gone("a".into()));
    assert_eq!(names(&roster), ["a2"]);
    assert!(roster.has_mac(true, "0a:00:00:00:00:01".parse().unwrap()));
    roster.hear(News::Gone("a2".into()));
    assert_eq!(names(&roster), ["b"]);
}

#[test]
fn thousands_that_want_the_same_are_no_burden() {
    let mut roster = roster();
    let names: Vec<_> = (0..5000).map(|n| format!("n{n:04}")).collect();
    let all = names.iter().map(|name| record(name, "10.42.1.0/24", 1, 1)).collect();
    roster.hear(News::All(all));
    assert_eq!(roster.refused_count(), 4999);
    for pair in names.windows(2) {
        assert_eq!(roster.hear(News::Gone(pair[0].clone())).len(), 2);
        assert_eq!(self::names(&roster).first(), Some(&&*pair[1]));
    }
}

#[test]
fn nobody_covers_the_address_of_another() {
    let mut roster = wide();
    roster.hear(News::Changed(record("a", "10.42.1.0/24", 1, 1)));
    roster.hear(News::Changed(record("covers us", "192.0.2.100/32", 2, 2)));
    roster.hear(News::Changed(record("covers a", "192.0.2.0/28", 22, 3)));
    roster.hear(News::Changed(record("covered", "10.42.3.0/24", 9, 4)));
    assert_eq!(names(&roster), ["a", "covered"]);
    assert_eq!(why(&roster, "covers us"), "its subnet 192.0.2.100/32 covers 192.0.2.100, which is this node's");
    assert_eq!(why(&roster, "covers a"), "its subnet 192.0.2.0/28 covers 192.0.2.1, the address of node a");
    roster.hear(News::Gone("a".into()));
    assert_eq!(why(&roster, "covers a"), "its subnet 192.0.2.0/28 covers 192.0.2.9, the address of node covered");
    roster.hear(News::Gone("covered".into()));
    roster.hear(News::Changed(record("covered", "10.42.3.0/24", 9, 4)));
    assert_eq!(names(&roster), ["covers a"]);
    assert_eq!(why(&roster, "covered"), "its address 192.0.2.9 is in 192.0.2.0/28 of node covers a");
    roster.hear(News::Gone("covers a".into()));
    assert_eq!(names(&roster), ["covered"]);
}

/// What a store may say: few names, subnets, addresses, so that they meet.
fn records() -> impl Strategy<Value = Record> {
    let subnet = (0u8..8, 22u8..=26).prop_map(|(n, len)| {
        // One in eight covers some nodes' addresses.
        let base = if n == 7 { [192, 0, 2, 96] } else { [10, 42, n / 2, (n % 2) * 128] };
        IpNet::new(base.into(), len + u8::from(n == 7) * 5).unwrap().trunc().to_string()
    });
    let name = prop::sample::select(vec!["a", "b", "c", "d", "e", "us"]);
    (name, subnet, 98u8..102, 98u8..102, prop::bool::weighted(0.9)).prop_map(|(name, subnet, address, mac, good)| {
        let mut record = record(name, &subnet, address, mac);
        if !good {
            record.claim = Err("unreadable".into());
        }
        record
    })
}

fn news() -> impl Strategy<Value = News> {
    prop_oneof![
        4 => records().prop_map(News::Changed),
        2 => prop::sample::select(vec!["a", "b", "c", "d", "e", "us"]).prop_map(|name| News::Gone(name.into())),
        1 => prop::collection::btree_map("[a-e]", records(), 0..6).prop_map(|map| {
            News::All(map.into_iter().map(|(name, record)| Record { name, ..record }).collect())
        }),
    ]
}

fn are_at_odds(a: &Peer, b: &Peer) -> bool {
    let (a, b) = (a.v4.as_ref().unwrap(), b.v4.as_ref().unwrap());
    let overlap = |x: &IpNet, y: &IpNet| x.contains(y) || y.contains(x);
    a.subnets.iter().any(|x| b.subnets.iter().any(|y| overlap(x, y)))
        || a.subnets.iter().any(|x| x.contains(&b.endpoint))
        || b.subnets.iter().any(|x| x.contains(&a.endpoint))
        || (a.mac() == b.mac() && a.endpoint != b.endpoint)
}

fn check(roster: &Roster) {
    let believed: Vec<_> = roster.believed().collect();
    for (i, (name, peer)) in believed.iter().enumerate() {
        for (other, that) in &believed[..i] {
            assert!(!are_at_odds(peer, that), "{name} and {other}");
        }
    }
    for (name, said, why) in roster.refused() {
        // Nobody is refused without a reason that is true now.
        let is_true = match (why, said) {
            (
                Refusal::Subnet { holder, .. }
                | Refusal::SameMac { holder, .. }
                | Refusal::Covers { holder, .. }
                | Refusal::Covered { holder, .. },
                Some(said),
            ) => believed.iter().any(|(other, peer)| *other == holder && are_at_odds(said, peer)),
            _ => true,
        };
        assert!(is_true, "{name}: {why}");
    }
    assert_eq!(roster.refused_count(), roster.refused().count());
    let queued: usize = roster.waiting.values().map(BTreeSet::len).sum();
    let waiting = roster.nodes.values().filter(|node| matches!(node.standing, Standing::Refused(_, Some(_)))).count();
    assert_eq!(queued, waiting);
}

proptest! {
    #[test]
    fn whatever_is_said_the_believed_agree_and_the_refused_have_a_reason(all in prop::collection::vec(news(), 1..24)) {
        let mut roster = wide();
        let mut mirror = BTreeMap::new();
        for news in all {
            for change in roster.hear(news.clone()) {
                match change.peer {
                    Some(peer) => mirror.insert(change.name, peer),
                    None => mirror.remove(&change.name),
                };
            }
            let believed: BTreeMap<_, _> = roster.believed().map(|(name, peer)| (name.clone(), peer.clone())).collect();
            prop_assert_eq!(&believed, &mirror);
            check(&roster);
            // Said again it is no news.
            prop_assert_eq!(roster.hear(news), []);
        }
    }

    #[test]
    fn the_order_of_a_list_does_not_matter(all in prop::collection::btree_map("[a-h]", records(), 0..8)) {
        let list: Vec<_> = all.into_iter().map(|(name, record)| Record { name, ..record }).collect();
        let (mut one, mut other) = (wide(), wide());
        one.hear(News::All(list.clone()));
        other.hear(News::All(list.into_iter().rev().collect()));
        prop_assert_eq!(names(&one), names(&other));
    }
}

#[test]
fn of_two_nodes_with_one_key_the_first_is_believed_until_it_goes() {
    let wireguard = WireGuard { port: 51820, port_v6: 51821, psk: None, keepalive: 0, mtu: None };
    let mut roster = Roster::new(Network { backend: Backend::WireGuard(wireguard), ..network() }, own());
    let node = |name: &str, number: u8, key: u8| {
        let mut claim = claim(&format!("10.42.{number}.0/24"), &format!("192.0.2.{number}"), "");
        claim.backend = "wireguard".into();
        claim.v4_data = Some(json!({"PublicKey": PublicKey([key; 32]).to_string()}));
        Record { name: name.to_owned(), claim: Ok(claim) }
    };
    let believed = |roster: &Roster| roster.believed().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    roster.hear(News::All(vec![node("a", 1, 1), node("b", 2, 2)]));
    // It says another's key, and this node's.
    roster.hear(News::Changed(node("c", 3, 1)));
    roster.hear(News::Changed(node("d", 4, 100)));
    assert_eq!(believed(&roster), ["a", "b"]);
    let whys: Vec<_> = roster.refused().map(|(_, _, why)| why.to_string()).collect();
    let [first, ours] = [1, 100].map(|key| PublicKey([key; 32]));
    assert_eq!(
        whys,
        [format!("its PublicKey {first} is that of node a"), format!("its PublicKey {ours} is this node's")]
    );
    // The holder changes its key, and later takes it back: now it is the other's.
    roster.hear(News::Changed(node("a", 1, 5)));
    assert_eq!(believed(&roster), ["a", "b", "c"]);
    roster.hear(News::Changed(node("a", 1, 1)));
    assert_eq!(believed(&roster), ["b", "c"]);
    roster.hear(News::Gone("c".into()));
    assert_eq!(believed(&roster), ["a", "b"]);
}
