//! The other nodes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libcni::base64;
use serde_json::json;

use super::bed::{Admin, Etcd, PREFIX, free_ports, network, network_of, on_runtime, registration};
use crate::store::News;
use crate::store::etcd::EtcdConf;

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VALUE: &[u8] =
    br#"{"PublicIP":"192.0.2.50","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0a:00:00:00:00:02"}}"#;

#[test]
fn nodes_come_change_and_go() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        admin.put("subnets/10.5.50.0-24", VALUE, 0).await;
        let node = etcd.node("a", A, &network());
        assert_eq!(node.joined().await.1, ["10.5.50.0-24"]);
        admin.put("subnets/10.5.51.0-24&fd00::-64", VALUE, 0).await;
        admin.put("subnets/10.5.50.0-24", b"{\"PublicIP\":\"192.0.2.51\"}", 0).await;
        admin.delete("subnets/10.5.51.0-24&fd00::-64").await;
        for expected in ["10.5.51.0-24&fd00::-64", "10.5.50.0-24"] {
            let News::Changed(record) = node.news().await else { panic!("a change") };
            assert_eq!(record.name, expected);
            record.claim.expect("a claim");
        }
        assert_eq!(node.news().await, News::Gone("10.5.51.0-24&fd00::-64".into()));
        // Outside of the subnets nothing is watched.
        admin.put("subnetsandmore", b"x", 0).await;
        assert_eq!(node.news_within(Duration::from_millis(200)).await, None);
    });
}

#[test]
fn what_cannot_be_read_is_one_node_s_fault() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let huge = [b"{\"PublicIP\":\"192.0.2.9\",\"x\":\"".as_slice(), &vec![b'x'; 1 << 20], b"\"}"].concat();
        for (name, value) in
            [("10.5.50.0-24", &huge[..]), ("10.5.51.0-24", b"\xff\x00"), ("no-subnet", VALUE), ("10.5.52.0-24", VALUE)]
        {
            admin.put(&format!("subnets/{name}"), value, 0).await;
        }
        let node = etcd.node("a", A, &network());
        let News::Subnets(_) = node.news().await else { panic!("subnets") };
        let News::All(records) = node.news().await else { panic!("all") };
        let good: Vec<_> =
            records.iter().filter(|record| record.claim.is_ok()).map(|record| record.name.as_str()).collect();
        assert_eq!((records.len(), good), (4, vec!["10.5.52.0-24"]));
        admin.put("subnets/10.5.53.0-24", &huge, 0).await;
        let News::Changed(record) = node.news().await else { panic!("a change") };
        let refusal = record.claim.expect_err("too large");
        assert!(refusal.contains("bytes") && refusal.len() < 300, "{refusal}");
    });
}

#[test]
fn after_compaction_all_is_told_again() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::start(&etcd.conf.endpoints[0]);
    on_runtime(async {
        let admin = etcd.admin().await;
        let conf = EtcdConf { endpoints: vec![proxy.url.clone()], ..etcd.conf.clone() };
        let node = etcd.node_with(&conf, registration("a", A), &network());
        node.joined().await;
        proxy.refuse(true);
        assert!(matches!(node.news().await, News::Unreachable(_)));
        for n in 50..60 {
            admin.put(&format!("subnets/10.5.{n}.0-24"), VALUE, 0).await;
        }
        admin.delete("subnets/10.5.50.0-24").await;
        admin.compact().await;
        assert_eq!(node.news_within(Duration::from_secs(1)).await, None, "it is told once that nothing is reachable");
        proxy.refuse(false);
        let mut told = None;
        let mut reachable = false;
        while told.is_none() || !reachable {
            match node.news().await {
                News::All(records) => told = Some(records.len()),
                News::Reachable => reachable = true,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, Some(9));
        admin.put("subnets/10.5.70.0-24", VALUE, 0).await;
        assert!(matches!(node.news().await, News::Changed(record) if record.name == "10.5.70.0-24"));
    });
}

#[test]
fn a_store_that_was_away_is_followed_from_where_it_was() {
    let Some(mut etcd) = Etcd::start() else { return };
    on_runtime(async {
        etcd.admin().await;
        let node = etcd.node("a", A, &network());
        node.joined().await;
        for round in 50..52 {
            etcd.stop();
            let News::Unreachable(why) = node.news().await else { panic!("it is away") };
            assert!(why.contains("cannot be reached"), "{why}");
            etcd.resume();
            let admin = etcd.admin().await;
            admin.put(&format!("subnets/10.5.{round}.0-24"), VALUE, 0).await;
            let mut news = [node.news().await, node.news().await];
            news.sort_by_key(|news| matches!(news, News::Reachable));
            let [News::Changed(record), News::Reachable] = news else { panic!("{news:?}") };
            assert_eq!(record.name, format!("10.5.{round}.0-24"));
        }
    });
}

#[test]
fn a_store_that_was_made_anew_is_joined_anew() {
    let Some(mut etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        for n in 50..60 {
            admin.put(&format!("subnets/10.5.{n}.0-24"), VALUE, 0).await;
        }
        let node = etcd.node("a", A, &network());
        let (subnets, others) = node.joined().await;
        assert_eq!(others.len(), 10);
        etcd.stop();
        std::fs::remove_dir_all(etcd.directory().join("data")).expect("its data");
        assert!(matches!(node.news().await, News::Unreachable(_)));
        etcd.resume();
        let News::All(records) = node.news().await else { panic!("all again") };
        assert_eq!(records, []);
        let admin = etcd.admin().await;
        let key = format!("subnets/{}-24", subnets[0].network());
        for _ in 0..1000 {
            if admin.get(&key).await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it has not its subnet in the new store");
    });
}

#[test]
fn one_server_of_several_is_enough() {
    let Some(etcd) = Etcd::start() else { return };
    let proxies = [(); 2].map(|()| Proxy::start(&etcd.conf.endpoints[0]));
    on_runtime(async {
        let admin = etcd.admin().await;
        let dead = format!("http://127.0.0.1:{}", free_ports()[0]);
        let endpoints = vec![dead, proxies[0].url.clone(), proxies[1].url.clone()];
        let node = etcd.node_with(&EtcdConf { endpoints, ..etcd.conf.clone() }, registration("a", A), &network());
        node.joined().await;
        for (round, away) in [(50, 0), (51, 1), (52, 0)] {
            proxies[away].refuse(true);
            proxies[1 - away].refuse(false);
            admin.put(&format!("subnets/10.5.{round}.0-24"), VALUE, 0).await;
            loop {
                match node.news().await {
                    News::Changed(record) if record.name == format!("10.5.{round}.0-24") => break,
                    News::Unreachable(_) | News::Reachable | News::Changed(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    });
}

#[test]
fn a_server_that_is_silent_is_noticed() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::start(&etcd.conf.endpoints[0]);
    on_runtime(async {
        let admin = etcd.admin().await;
        let conf = EtcdConf { endpoints: vec![proxy.url.clone()], ..etcd.conf.clone() };
        let node = etcd.node_with(&conf, registration("a", A), &network());
        node.joined().await;
        proxy.silence(true);
        let News::Unreachable(why) = node.news().await else { panic!("it is silent") };
        assert!(why.contains("does not answer within"), "{why}");
        admin.put("subnets/10.5.50.0-24", VALUE, 0).await;
        proxy.silence(false);
        let mut news = [node.news().await, node.news().await];
        news.sort_by_key(|news| matches!(news, News::Reachable));
        assert!(matches!(&news[0], News::Changed(record) if record.name == "10.5.50.0-24"), "{news:?}");
    });
}

#[test]
fn a_start_among_5000_nodes_is_a_handful_of_requests() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::start(&etcd.conf.endpoints[0]);
    on_runtime(async {
        let admin = etcd.admin().await;
        fill(&admin, 5000).await;
        let network = network_of(r#"{"Network": "10.0.0.0/8", "Backend": {"Type": "vxlan"}}"#);
        let conf = EtcdConf { endpoints: vec![proxy.url.clone()], ..etcd.conf.clone() };
        let node = etcd.node_with(&conf, registration("a", A), &network);
        assert_eq!(node.joined().await.1.len(), 5000);
        admin.put("subnets/10.99.0.0-24", VALUE, 0).await;
        assert!(matches!(node.news().await, News::Changed(_)));
        let paths = proxy.paths();
        assert_eq!(paths, ["/v3/kv/range", "/v3/lease/grant", "/v3/kv/txn", "/v3/watch"]);
        node.kill().await;

        // It comes again: nothing is written at all.
        proxy.forget_paths();
        let node = etcd.node_with(&conf, registration("a", A), &network);
        node.joined().await;
        admin.put("subnets/10.99.0.0-24", VALUE, 0).await;
        assert!(matches!(node.news().await, News::Changed(_)));
        assert_eq!(proxy.paths(), ["/v3/kv/range", "/v3/lease/keepalive", "/v3/watch"]);
    });
}

#[test]
fn large_values_of_many_are_listed_in_smaller_parts() {
    let Some(etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        let large = vec![b'x'; 1 << 20];
        for n in 0..8 {
            admin.put(&format!("subnets/10.5.{n}.0-24"), &large, 0).await;
        }
        admin.put("subnets/10.5.77.0-24", VALUE, 0).await;
        let node = etcd.node("a", A, &network());
        assert_eq!(node.joined().await.1.len(), 9);
    });
}

/// So many nodes, in transactions of 100.
async fn fill(admin: &Admin, nodes: usize) {
    let put = |n: usize| {
        let key = format!("{PREFIX}/subnets/10.{}.{}.0-24", 100 + n / 256, n % 256);
        json!({ "request_put": { "key": base64::encode(key.as_bytes()), "value": base64::encode(VALUE) } })
    };
    for first in (0..nodes).step_by(100) {
        let puts: Vec<_> = (first..(first + 100).min(nodes)).map(put).collect();
        admin.ask("/v3/kv/txn", json!({ "success": puts })).await;
    }
}

/// A TCP proxy that counts requests, and can go away.
struct Proxy {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    refusing: AtomicBool,
    silent: AtomicBool,
    paths: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State::default());
        let (server, shared) = (server.trim_start_matches("http://").to_owned(), Arc::clone(&state));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.refusing.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let mut open = shared.open.lock().expect("a lock");
                open.extend([client.try_clone().expect("a copy"), server.try_clone().expect("a copy")]);
                let ends = [(&client, &server, true), (&server, &client, false)]
                    .map(|(from, to, up)| (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"), up));
                for (from, to, up) in ends {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || shared.copy(from, to, up));
                }
            }
        });
        Self { url, state }
    }

    /// Breaks what is open, and takes nothing more.
    fn refuse(&self, refusing: bool) {
        self.state.refusing.store(refusing, Ordering::SeqCst);
        if refusing {
            for stream in self.state.open.lock().expect("a lock").drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Takes everything, and passes nothing on; what is open then stays so.
    fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    fn paths(&self) -> Vec<String> {
        self.state.paths.lock().expect("a lock").clone()
    }

    fn forget_paths(&self) {
        self.state.paths.lock().expect("a lock").clear();
    }
}

impl State {
    fn copy(&self, mut from: TcpStream, mut to: TcpStream, up: bool) {
        let mut buffer = [0; 65536];
        let mut lost = false;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            // What was lost once is lost for this connection.
            lost |= self.silent.load(Ordering::SeqCst);
            if lost {
                continue;
            }
            if up && let Some(path) = buffer[..length].strip_prefix(b"POST ") {
                let path: Vec<u8> = path.iter().copied().take_while(|byte| *byte != b' ').collect();
                self.paths.lock().expect("a lock").push(String::from_utf8(path).expect("a path"));
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
