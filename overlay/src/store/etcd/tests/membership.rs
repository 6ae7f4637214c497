//! This node's own subnet.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::bed::{Etcd, PREFIX, network, network_of, on_runtime, registration};
use crate::metrics::Metrics;
use crate::store::News;
use crate::store::etcd::{self, EtcdConf};

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn net(text: &str) -> IpNet {
    text.parse().expect(text)
}

fn key(subnet: &IpNet) -> String {
    format!("subnets/{}-{}", subnet.network(), subnet.prefix_len())
}

#[test]
fn a_hundred_nodes_that_join_at_once_have_a_hundred_subnets() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let network = network_of(r#"{"Network": "10.5.0.0/17", "Backend": {"Type": "vxlan"}}"#);
        let nodes: Vec<_> =
            (1..=100).map(|n| etcd.node(&format!("node-{n}"), Ipv4Addr::new(192, 0, 2, n), &network)).collect();
        let mut subnets = Vec::new();
        for node in &nodes {
            subnets.extend(node.joined().await.0);
        }
        subnets.sort();
        subnets.dedup();
        assert_eq!(subnets.len(), 100);
        let all = admin.all().await;
        assert_eq!(all.kvs.len(), 100);
        assert!(all.kvs.iter().all(|kv| kv.lease != 0), "keys end with their node");
        // 127 subnets, and 28 nodes more want one.
        let late: Vec<_> =
            (101..=128).map(|n| etcd.node(&format!("node-{n}"), Ipv4Addr::new(192, 0, 2, n), &network)).collect();
        let mut without = 0;
        for node in &late {
            match node.news().await {
                News::Subnets(_) => {}
                News::Unreachable(why) => {
                    assert!(why.contains("no subnet is free in 10.5.0.0/17"), "{why}");
                    without += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(without, 1);
        assert_eq!(admin.all().await.kvs.len(), 127);
    });
}

#[test]
fn a_node_that_comes_again_has_its_subnet_and_writes_nothing() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let node = etcd.node("a", A, &network());
        let (subnets, _) = node.joined().await;
        node.kill().await;
        let before = admin.all().await;
        let node = etcd.node("another name", A, &network());
        assert_eq!(node.joined().await.0, subnets);
        let after = admin.all().await;
        assert_eq!((after.header.revision, after.kvs), (before.header.revision, before.kvs));
    });
}

#[test]
fn the_subnet_of_the_subnet_file_is_had_again_if_it_is_free_and_fits() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        etcd.admin().await.put("subnets/10.5.8.0-24", br#"{"PublicIP":"192.0.2.9"}"#, 0).await;
        for (wanted, address, granted) in [
            ("10.5.7.0/24", [192, 0, 2, 7], true),
            ("10.5.8.0/24", [192, 0, 2, 8], false),
            ("10.6.7.0/24", [192, 0, 2, 10], false),
            ("10.5.10.0/25", [192, 0, 2, 11], false),
        ] {
            let mut us = registration("n", address.into());
            us.wanted = vec![net(wanted)];
            let node = etcd.node_with(&etcd.conf, us, &network());
            let (subnets, _) = node.joined().await;
            assert_eq!(subnets == [net(wanted)], granted, "{wanted}: {subnets:?}");
        }
    });
}

#[test]
fn both_families_are_one_key_and_neither_is_given_twice() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let network = network_of(
            r#"{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}"#,
        );
        let admin = etcd.admin().await;
        let nodes: Vec<_> =
            (1..=20).map(|n| etcd.node(&format!("n{n}"), Ipv4Addr::new(192, 0, 2, n), &network)).collect();
        let mut subnets = Vec::new();
        for node in &nodes {
            let (mine, _) = node.joined().await;
            assert!(matches!(mine[..], [IpNet::V4(_), IpNet::V6(_)]), "{mine:?}");
            let key = format!("subnets/{}-24&{}-64", mine[0].network(), mine[1].network());
            assert!(admin.get(&key).await.is_some(), "{key}");
            subnets.extend(mine);
        }
        subnets.sort();
        subnets.dedup();
        assert_eq!(subnets.len(), 40);
    });
}

#[test]
fn a_node_of_ipv6_alone_has_a_key_too() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let network = network_of(
            r#"{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}"#,
        );
        let admin = etcd.admin().await;
        let mut us = registration("six", A);
        us.claim.public_ip = None;
        us.claim.public_ipv6 = Some("2001:db8::1".parse().expect("an address"));
        let node = etcd.node_with(&etcd.conf, us.clone(), &network);
        let (subnets, _) = node.joined().await;
        node.kill().await;
        assert!(matches!(subnets[..], [IpNet::V6(_)]), "{subnets:?}");
        assert!(admin.get(&key(&subnets[0])).await.is_some());
        let node = etcd.node_with(&etcd.conf, us, &network);
        assert_eq!(node.joined().await.0, subnets, "found by its IPv6 address");
    });
}

#[test]
fn a_reservation_is_taken_and_never_ends() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        admin.put("subnets/10.5.52.0-24", br#"{"PublicIP":"192.0.2.1"}"#, 0).await;
        let node = etcd.node("a", A, &network());
        assert_eq!(node.joined().await.0, [net("10.5.52.0/24")]);
        let kv = admin.get("subnets/10.5.52.0-24").await.expect("a key");
        assert_eq!(kv.lease, 0);
        assert!(String::from_utf8_lossy(&kv.value).contains("VtepMAC"));
        node.kill().await;

        let left = etcd::leave(&etcd.conf, &metrics(), &registration("a", A).claim).await;
        assert_eq!(left.expect("left"), [net("10.5.52.0/24")]);
        let kv = admin.get("subnets/10.5.52.0-24").await.expect("still reserved");
        assert_eq!(String::from_utf8_lossy(&kv.value), r#"{"PublicIP":"192.0.2.1","PublicIPv6":null}"#);
    });
}

#[test]
fn a_node_that_leaves_gives_its_subnet_back() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let (a, b) = (etcd.node("a", A, &network()), etcd.node("b", B, &network()));
        let (of_a, of_b) = (a.joined().await.0, b.joined().await.0);
        a.kill().await;
        let metrics = metrics();
        let left = etcd::leave(&etcd.conf, &metrics, &registration("a", A).claim).await;
        assert_eq!(left.expect("left"), of_a);
        assert!(admin.get(&key(&of_a[0])).await.is_none());
        assert!(admin.get(&key(&of_b[0])).await.is_some());
        let left = etcd::leave(&etcd.conf, &metrics, &registration("a", A).claim).await;
        assert_eq!(left.expect("nothing to leave"), []);
    });
}

#[test]
fn a_lost_key_is_there_again_at_once() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let (a, b) = (etcd.node("a", A, &network()), etcd.node("b", B, &network()));
        let (subnets, _) = a.joined().await;
        b.joined().await;
        // Somebody deletes it; ends its lease; writes something else with its address.
        let kv = admin.get(&key(&subnets[0])).await.expect("a key");
        admin.delete(&key(&subnets[0])).await;
        eventually_has(&admin, &subnets[0], &kv.value).await;
        let kv = admin.get(&key(&subnets[0])).await.expect("a key");
        admin.ask("/v3/lease/revoke", serde_json::json!({ "ID": kv.lease.to_string() })).await;
        eventually_has(&admin, &subnets[0], &kv.value).await;
        let lease = admin.grant(100).await;
        admin.put(&key(&subnets[0]), br#"{"PublicIP":"192.0.2.1","BackendType":"nonsense"}"#, lease).await;
        eventually_has(&admin, &subnets[0], &kv.value).await;
        assert_eq!(a.news_within(Duration::from_millis(300)).await.filter(is_subnets), None, "they did not change");
    });
}

#[test]
fn a_subnet_that_another_node_took_is_given_up() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let a = etcd.node("a", A, &network());
        let (subnets, _) = a.joined().await;
        admin.put(&key(&subnets[0]), br#"{"PublicIP":"192.0.2.99","BackendType":"vxlan"}"#, 0).await;
        // It may see its own new key before it has the answer that it is its own.
        let now = loop {
            match a.news().await {
                News::Subnets(now) => break now,
                News::Changed(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_ne!(now, subnets);
        let others = loop {
            match a.news().await {
                News::All(others) => break others,
                News::Changed(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(others.len(), 1, "whose subnet was ours: {others:?}");
        let kv = admin.get(&key(&subnets[0])).await.expect("the other's");
        assert!(String::from_utf8_lossy(&kv.value).contains("192.0.2.99"), "it was not written over");
    });
}

#[test]
fn what_a_node_says_of_itself_follows() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let (a, b) = (etcd.node("a", A, &network()), etcd.node("b", B, &network()));
        let (subnets, _) = a.joined().await;
        b.joined().await;
        let before = admin.get(&key(&subnets[0])).await.expect("a key");
        a.us.send_modify(|us| us.claim.public_ip = Some(Ipv4Addr::new(192, 0, 2, 77)));
        loop {
            if let News::Changed(record) = b.news().await
                && record.claim.as_ref().is_ok_and(|claim| claim.public_ip == Some(Ipv4Addr::new(192, 0, 2, 77)))
            {
                assert_eq!(record.claim.expect("a claim").subnets, subnets);
                break;
            }
        }
        let after = admin.get(&key(&subnets[0])).await.expect("a key");
        assert_eq!((before.lease, before.create_revision), (after.lease, after.create_revision));
    });
}

#[test]
fn a_lease_is_kept_alive_without_a_word_to_others_and_ends_with_its_node() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let conf = EtcdConf { lease_ttl: Duration::from_secs(5), ..etcd.conf.clone() };
        let admin = etcd.admin().await;
        let a = etcd.node_with(&conf, registration("a", A), &network());
        let (subnets, _) = a.joined().await;
        let before = admin.all().await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        let after = admin.all().await;
        assert_eq!((after.header.revision, after.kvs), (before.header.revision, before.kvs));

        let b = etcd.node_with(&conf, registration("b", B), &network());
        let name = key(&subnets[0]).replace("subnets/", "");
        assert_eq!(b.joined().await.1, std::slice::from_ref(&name));
        a.kill().await;
        assert_eq!(b.news().await, News::Gone(name));
    });
}

#[test]
fn the_network_is_waited_for() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let metrics = metrics();
        let (tell, told) = std::sync::mpsc::channel();
        let conf = etcd.conf.clone();
        let waiting = tokio::task::spawn(async move {
            etcd::network(&conf, &metrics, move |why| tell.send(why).expect("told")).await
        });
        for (value, expected) in [
            (None, format!("etcd has no key {PREFIX}/config")),
            (Some("{"), "config".to_owned()),
            (Some(r#"{"Network": "10.5.0.0/33"}"#), "Network".to_owned()),
        ] {
            if let Some(value) = value {
                admin.put("config", value.as_bytes(), 0).await;
            }
            let why = loop {
                match told.try_recv() {
                    Ok(why) => break why,
                    Err(_nothing) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            assert!(why.contains(&expected), "{why}");
        }
        let text = r#"{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}"#;
        admin.put("config", text.as_bytes(), 0).await;
        assert_eq!(waiting.await.expect("a network"), network());
    });
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new())
}

fn is_subnets(news: &News) -> bool {
    matches!(news, News::Subnets(_))
}

async fn eventually_has(admin: &super::bed::Admin, subnet: &IpNet, value: &[u8]) {
    for _ in 0..2000 {
        if admin.get(&key(subnet)).await.is_some_and(|kv| kv.value == value && kv.lease != 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{subnet} is not had again");
}
