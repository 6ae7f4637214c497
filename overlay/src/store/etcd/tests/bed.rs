//! An etcd of its own for each test, and nodes that join it.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use libcni::base64;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::client::Client;
use super::super::messages::{self, KeyValue, RangeResponse};
use super::super::{EtcdConf, run_checking};
use crate::claim::Claim;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::store::{News, Registration, Teller};
use crate::tls::ExpiryWatch;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a node looks after certificates and silent servers.
const CHECK: Duration = Duration::from_secs(1);
pub(super) const PREFIX: &str = "/coreos.com/network";

/// A member of its own, stopped when it is dropped.
pub(super) struct Etcd {
    data: tempfile::TempDir,
    arguments: Vec<String>,
    process: Option<Child>,
    pub(super) conf: EtcdConf,
}

impl Etcd {
    /// `None`, with SKIP printed: there is no etcd, or this is not the sandbox.
    pub(super) fn start() -> Option<Self> {
        let [port, peer] = free_ports();
        Self::start_in(tempfile::tempdir().expect("a directory"), &format!("http://127.0.0.1:{port}"), peer, &[])
    }

    /// In this directory, at this URL and peer port, with these further arguments.
    pub(super) fn start_in(data: tempfile::TempDir, url: &str, peer_port: u16, arguments: &[&str]) -> Option<Self> {
        if std::env::var_os("FERRULE_SANDBOX").is_none() || Command::new("etcd").arg("--version").output().is_err() {
            skip("no etcd, or not in scripts/in-namespaces");
            return None;
        }
        let peer = format!("http://127.0.0.1:{peer_port}");
        let own = ["--unsafe-no-fsync", "--name=test", "--log-level=error", "--logger=zap"].map(str::to_owned);
        let urls = [
            format!("--data-dir={}/data", data.path().display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=test={peer}"),
        ];
        let arguments =
            own.into_iter().chain(urls).chain(arguments.iter().map(|argument| (*argument).to_owned())).collect();
        let conf = EtcdConf { endpoints: vec![url.to_owned()], prefix: PREFIX.into(), ..EtcdConf::default() };
        let mut etcd = Self { data, arguments, process: None, conf };
        etcd.resume();
        Some(etcd)
    }

    pub(super) fn directory(&self) -> &Path {
        self.data.path()
    }

    /// Starts it (again), with the data that it has.
    pub(super) fn resume(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.data.path().join("log"));
        let process = Command::new("etcd")
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("etcd");
        self.process = Some(process);
    }

    /// Ends it by force.
    pub(super) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child");
            process.wait().expect("its end");
        }
    }

    /// The client that tests themselves use, when etcd answers.
    pub(super) async fn admin(&self) -> Admin {
        self.admin_with(&self.conf).await
    }

    pub(super) async fn admin_with(&self, conf: &EtcdConf) -> Admin {
        let client = Client::new(conf, ExpiryWatch::new(Arc::new(Metrics::new()))).expect("a client");
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = client.call::<RangeResponse>("/v3/kv/range", &messages::one("x")).await {
            let log = || std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{error:?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Admin(client)
    }

    /// A node that takes part, as a task of its own.
    pub(super) fn node(&self, name: &str, address: Ipv4Addr, network: &Network) -> Node {
        self.node_with(&self.conf, registration(name, address), network)
    }

    pub(super) fn node_with(&self, conf: &EtcdConf, registration: Registration, network: &Network) -> Node {
        let (events, queue) = channel();
        let (us, receiver) = watch::channel(registration);
        let metrics = Arc::new(Metrics::new());
        let teller = Teller::new(events);
        let running = run_checking(conf.clone(), network.clone(), receiver, teller, Arc::clone(&metrics), CHECK);
        Node { us, queue, task: tokio::task::spawn(running), metrics }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What an operator does with etcdctl.
pub(super) struct Admin(Client);

impl Admin {
    pub(super) async fn ask(&self, path: &str, body: Value) -> Value {
        self.0.call(path, &body).await.expect(path)
    }

    pub(super) async fn put(&self, name: &str, value: &[u8], lease: i64) {
        let key = base64::encode(format!("{PREFIX}/{name}").as_bytes());
        let body = json!({ "key": key, "value": base64::encode(value), "lease": lease.to_string() });
        self.ask("/v3/kv/put", body).await;
    }

    pub(super) async fn delete(&self, name: &str) {
        let key = base64::encode(format!("{PREFIX}/{name}").as_bytes());
        self.ask("/v3/kv/deleterange", json!({ "key": key })).await;
    }

    pub(super) async fn grant(&self, seconds: u64) -> i64 {
        let answer = self.ask("/v3/lease/grant", json!({ "TTL": seconds.to_string() })).await;
        answer["ID"].as_str().expect("an ID").parse().expect("a number")
    }

    pub(super) async fn get(&self, name: &str) -> Option<KeyValue> {
        let range: RangeResponse =
            self.0.call("/v3/kv/range", &messages::one(&format!("{PREFIX}/{name}"))).await.expect("an answer");
        range.kvs.into_iter().next()
    }

    pub(super) async fn all(&self) -> RangeResponse {
        let page = messages::page(&format!("{PREFIX}/subnets/"), None, 0, 0);
        self.0.call("/v3/kv/range", &page).await.expect("an answer")
    }

    /// Forgets all revisions before now.
    pub(super) async fn compact(&self) {
        let revision = self.all().await.header.revision;
        self.ask("/v3/kv/compaction", json!({ "revision": revision.to_string(), "physical": true })).await;
    }
}

/// A node that takes part.
pub(super) struct Node {
    pub(super) us: watch::Sender<Registration>,
    queue: Receiver<Event>,
    task: JoinHandle<()>,
    pub(super) metrics: Arc<Metrics>,
}

impl Node {
    /// The next that it is told.
    pub(super) async fn news(&self) -> News {
        self.news_within(PATIENCE).await.expect("news")
    }

    pub(super) async fn news_within(&self, limit: Duration) -> Option<News> {
        let deadline = Instant::now() + limit;
        loop {
            match self.queue.try_recv() {
                Ok(Event::Store(news, _)) => return Some(news),
                Ok(other) => panic!("{other:?}"),
                Err(_nothing) if Instant::now() > deadline => return None,
                Err(_nothing) => {
                    assert!(!self.task.is_finished(), "a store never returns");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// The subnets that it gets, and the names of the others, which it is told then.
    pub(super) async fn joined(&self) -> (Vec<IpNet>, Vec<String>) {
        let News::Subnets(subnets) = self.news().await else { panic!("the subnets come first") };
        let News::All(records) = self.news().await else { panic!("then all nodes") };
        (subnets, records.into_iter().map(|record| record.name).collect())
    }

    /// Ends it as a killed process ends.
    pub(super) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()), "it never returns");
    }
}

pub(super) fn registration(name: &str, address: Ipv4Addr) -> Registration {
    let data = json!({ "VNI": 1, "VtepMAC": "0a:00:00:00:00:01" });
    Registration {
        name: name.into(),
        claim: Claim { public_ip: Some(address), backend: "vxlan".into(), v4_data: Some(data), ..Claim::default() },
        wanted: Vec::new(),
    }
}

/// `10.5.0.0/16` in subnets of 24 bits.
pub(super) fn network() -> Network {
    network_of(r#"{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}"#)
}

pub(super) fn network_of(text: &str) -> Network {
    Network::from_net_conf(text.as_bytes()).expect("a network")
}

/// Runs a test on a runtime as the daemon's: one thread.
pub(super) fn on_runtime<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

pub(super) fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("an address").port())
}

/// `SKIP <program> <test>: <reason>`, written past libtest, which shows what is printed only for tests that fail.
pub(super) fn skip(reason: &str) {
    let test = std::thread::current();
    let line = format!("SKIP overlayd {}: {reason}\n", test.name().unwrap_or("?"));
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
}
