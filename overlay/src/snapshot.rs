//! The nodes as they were last in the kernel, on disk: a node that starts while the store is away goes on with them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use ipnet::IpNet;
use libcni::error::causes;
use libcni::store::{self, StoreError};
use serde::{Deserialize, Serialize};

use crate::network::{Backend, Network};
use crate::peer::Peer;

/// In `state_dir`.
const FILE: &str = "peers.json";
/// It has nothing that other users must know.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o755;

/// `{"network": "vxlan 1 10.42.0.0/16", "subnets": ["10.42.3.0/24"], "peers": {"n1": {"v4": {"endpoint": "192.0.2.7",
/// "subnets": ["10.42.1.0/24"], "how": {"vxlan": {"mac": "0a:…"}}}}}}`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Snapshot {
    network: String,
    /// This node's.
    #[serde(deserialize_with = "networks::deserialize")]
    pub(crate) subnets: Vec<IpNet>,
    pub(crate) peers: BTreeMap<String, Peer>,
}

/// The same, of what is there.
#[derive(Serialize)]
struct View<'a> {
    network: String,
    #[serde(serialize_with = "networks::serialize")]
    subnets: &'a [IpNet],
    peers: BTreeMap<&'a str, &'a Peer>,
}

/// The snapshot of another life, if there is one of this network that can be read.
pub(crate) fn load(state_dir: &Path, network: &Network) -> Option<Snapshot> {
    let path = state_dir.join(FILE);
    let text = match store::read_if_present(&path) {
        Ok(text) => text?,
        Err(e) => {
            tracing::warn!(error = causes(Some(&e)), "no snapshot of the nodes");
            return None;
        }
    };
    match serde_json::from_slice::<Snapshot>(&text) {
        Ok(snapshot) if snapshot.network == mark(network) => Some(snapshot),
        Ok(other) => {
            tracing::info!(network = other.network, "the snapshot of the nodes is of another network");
            None
        }
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "no snapshot of the nodes");
            None
        }
    }
}

/// The snapshot as it is written.
pub(crate) fn text<'a>(
    network: &Network,
    subnets: &'a [IpNet],
    peers: impl Iterator<Item = (&'a str, &'a Peer)>,
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&View { network: mark(network), subnets, peers: peers.collect() })
}

/// What makes nodes' data that of one network.
fn mark(network: &Network) -> String {
    let mut words = vec![network.backend.name().to_owned()];
    if let Backend::Vxlan(vxlan) = &network.backend {
        words.push(vxlan.vni.to_string());
    }
    words.extend(network.v4.map(|pool| pool.network.to_string()));
    words.extend(network.v6.map(|pool| pool.network.to_string()));
    words.join(" ")
}

/// Writes on a thread of its own, so that nobody waits for the disk.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Dropped, the thread ends when all is written.
    texts: Option<Sender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// # Errors
    /// If there can be no more threads.
    pub(crate) fn start(state_dir: PathBuf) -> io::Result<Self> {
        let (texts, queue) = mpsc::channel::<Vec<u8>>();
        let write_all = move || {
            let mut before = None;
            while let Ok(mut text) = queue.recv() {
                // The newest is enough.
                while let Ok(newer) = queue.try_recv() {
                    text = newer;
                }
                let fault = write(&state_dir, &text).err().map(|e| causes(Some(&e)));
                if fault.is_some() && fault != before {
                    tracing::warn!(error = fault, "the snapshot of the nodes cannot be written");
                }
                before = fault;
            }
        };
        let thread = thread::Builder::new().name("snapshot".to_owned()).spawn(write_all)?;
        Ok(Self { texts: Some(texts), thread: Some(thread) })
    }

    pub(crate) fn write(&self, text: Vec<u8>) {
        if let Some(texts) = &self.texts {
            // The thread lives as long as this.
            let _ = texts.send(text);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.texts.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(state_dir: &Path, text: &[u8]) -> Result<(), StoreError> {
    store::ensure_dir(state_dir, DIR_MODE)?;
    store::write_atomic(&state_dir.join(FILE), text, FILE_MODE)
}

/// Networks as text.
pub(crate) mod networks {
    use ipnet::IpNet;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::roster::tests::{claim, network};

    use super::*;

    #[test]
    fn what_is_written_is_read_by_the_same_network_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(load(&state, &network()), None);
        let subnets = ["10.42.0.0/24".parse().unwrap()];
        let peer = Peer::check(&claim("10.42.1.0/24", "192.0.2.1", "0a:00:00:00:00:01"), &network()).unwrap();
        let writer = Writer::start(state.clone()).unwrap();
        writer.write(b"old".to_vec());
        writer.write(text(&network(), &subnets, [("a", &peer)].into_iter()).unwrap());
        drop(writer);
        let read = load(&state, &network()).unwrap();
        assert_eq!((read.subnets.as_slice(), &read.peers["a"]), (&subnets[..], &peer));
        let other = Network { backend: Backend::HostGw, ..network() };
        assert_eq!(load(&state, &other), None);
        write(&state, b"{\"network\"").unwrap();
        assert_eq!(load(&state, &network()), None);
    }
}
