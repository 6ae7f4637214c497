//! Where the simulated nodes are put: the directory of the file store, or etcd through its JSON gateway.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferrule_tests::peers::Peer;
use libcni::base64;
use serde_json::{Value, json};

/// flannel's default.
const PREFIX: &str = "/coreos.com/network";
/// etcd takes at most 128 operations at once.
const AT_ONCE: usize = 100;
const CLIENTS: &str = "127.0.0.1:2379";

/// A store.
#[derive(Debug)]
pub(crate) enum Store {
    Directory(PathBuf),
    Etcd(Etcd),
}

impl Store {
    /// Makes all these known, or known again.
    pub(crate) fn put(&mut self, peers: &[Peer]) -> io::Result<()> {
        match self {
            Self::Directory(path) => peers.iter().try_for_each(|peer| peer.write(path)),
            Self::Etcd(etcd) => peers.chunks(AT_ONCE).try_for_each(|peers| etcd.put(peers)),
        }
    }

    pub(crate) fn remove(&mut self, peer: Peer) -> io::Result<()> {
        match self {
            Self::Directory(path) => peer.remove(path),
            Self::Etcd(etcd) => etcd.remove(peer),
        }
    }

    /// The table `store` of the daemon's configuration.
    pub(crate) fn settings(&self) -> Value {
        match self {
            Self::Directory(path) => json!({"file": {"path": path, "publish": true}}),
            Self::Etcd(_) => json!({"etcd": {"endpoints": [format!("http://{CLIENTS}")]}}),
        }
    }
}

/// A running etcd, and a connection to it.
#[derive(Debug)]
pub(crate) struct Etcd {
    process: Child,
    connection: BufReader<TcpStream>,
    /// Attached to all keys, as flanneld does.
    lease: String,
}

impl Etcd {
    /// Starts it with its data below `directory`, and tells it the network.
    pub(crate) fn start(directory: &Path, network: &Value) -> io::Result<Self> {
        let url = format!("http://{CLIENTS}");
        let log = std::fs::File::create(directory.join("etcd.log"))?;
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(directory.join("etcd")).args(["--listen-client-urls", &url]);
        command.args(["--advertise-client-urls", &url, "--listen-peer-urls", "http://127.0.0.1:2380"]);
        command.args(["--unsafe-no-fsync", "--log-level", "warn"]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut etcd = Self { process, connection: connect()?, lease: String::new() };
        let granted = etcd.ask("/v3/lease/grant", &json!({"TTL": "86400"}))?;
        granted["ID"].as_str().unwrap_or_default().clone_into(&mut etcd.lease);
        let config = json!({"key": key("config"), "value": base64::encode(network.to_string().as_bytes())});
        etcd.ask("/v3/kv/put", &config)?;
        Ok(etcd)
    }

    fn put(&mut self, peers: &[Peer]) -> io::Result<()> {
        let put = |peer: &Peer| {
            let value = base64::encode(peer.lease().to_string().as_bytes());
            json!({"requestPut": {"key": subnet_key(*peer), "value": value, "lease": self.lease}})
        };
        let puts: Vec<Value> = peers.iter().map(put).collect();
        self.ask("/v3/kv/txn", &json!({"success": puts})).map(drop)
    }

    fn remove(&mut self, peer: Peer) -> io::Result<()> {
        self.ask("/v3/kv/deleterange", &json!({"key": subnet_key(peer)})).map(drop)
    }

    fn ask(&mut self, path: &str, question: &Value) -> io::Result<Value> {
        let body = question.to_string();
        let head = format!("POST {path} HTTP/1.1\r\nHost: {CLIENTS}\r\nContent-Length: {}\r\n\r\n", body.len());
        self.connection.get_mut().write_all((head + &body).as_bytes())?;
        let (status, length) = self.head()?;
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body)?;
        if !status.contains(" 200 ") {
            return Err(io::Error::other(format!("{path}: {status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(io::Error::other)
    }

    /// The status line of an answer, and the length of what follows its head.
    fn head(&mut self) -> io::Result<(String, usize)> {
        let (mut status, mut length) = (String::new(), 0);
        self.connection.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.connection.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                Some(_) => {}
                None => return Ok((status, length)),
            }
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for etcd to listen.
fn connect() -> io::Result<BufReader<TcpStream>> {
    let address: SocketAddr = CLIENTS.parse().map_err(io::Error::other)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(BufReader::new(stream));
            }
            Err(e) if Instant::now() > deadline => return Err(e),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn key(name: &str) -> String {
    base64::encode(format!("{PREFIX}/{name}").as_bytes())
}

fn subnet_key(peer: Peer) -> String {
    key(&format!("subnets/{}", peer.key()))
}
