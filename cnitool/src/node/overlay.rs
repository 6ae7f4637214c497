//! The nodes that the overlay's daemon reaches, as it says itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libcni::json as lenient;
use libcni::socket::{self, AskError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Inventory, Note, config};

/// Where overlayd answers, unless its configuration says otherwise.
pub(crate) const SOCKET: &str = "/run/overlayd/overlayd.sock";
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The overlay, as this node has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Overlay {
    /// Why containers cannot be attached; empty: they can.
    pub(crate) not_ready: Vec<String>,
    /// The name of this node.
    pub(crate) node: String,
    /// Such as `vxlan (nexthop objects)`.
    pub(crate) backend: String,
    /// This node's.
    pub(crate) subnets: Vec<String>,
    /// The other nodes, in the order of their names.
    #[serde(skip_deserializing)]
    pub(crate) peers: Vec<Peer>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: String,
    /// Its subnets.
    pub(crate) subnets: Vec<String>,
    /// Where it is.
    pub(crate) endpoints: Vec<String>,
    /// `ok`, or what is wrong.
    pub(crate) state: String,
}

/// What the daemons of this node say; where none has ever run, nothing.
pub(super) fn read(inventory: &Inventory, notes: &mut Vec<Note>) -> Vec<Overlay> {
    let configured = inventory.lists().flat_map(config::plugins);
    let sockets = configured.filter_map(|plugin| config::text(&plugin, "overlaydSocket").map(PathBuf::from));
    let sockets: BTreeSet<PathBuf> = sockets.chain([PathBuf::from(SOCKET)]).collect();
    sockets.iter().filter_map(|socket| ask(socket, notes)).collect()
}

fn ask(socket: &Path, notes: &mut Vec<Note>) -> Option<Overlay> {
    let part = format!("the overlay at {}", socket.display());
    let answers = question(socket, "status").and_then(|status| Ok((status, question(socket, "peers")?)));
    let (status, peers) = match answers {
        Ok(answers) => answers,
        Err(AskError::Absent(_)) => return None,
        Err(fault) => {
            notes.push(Note::of(part, &fault));
            return None;
        }
    };
    let overlay = decode::<Overlay>(&status).and_then(|overlay| Ok(Overlay { peers: decode(&peers)?, ..overlay }));
    overlay.map_err(|reason| notes.push(Note { part, reason })).ok()
}

fn question(socket: &Path, subject: &str) -> Result<Value, AskError> {
    socket::ask(socket, &json!({"ask": subject, "format": "json"}), PATIENCE)
}

/// The JSON in `output` of an answer.
fn decode<T: for<'de> Deserialize<'de>>(answer: &Value) -> Result<T, String> {
    let output = answer.get("output").and_then(Value::as_str).unwrap_or_default();
    let value = lenient::parse(output.as_bytes()).map_err(|fault| format!("{fault}: {}", output.trim_end()))?;
    lenient::decode(&value).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};

    use super::*;

    #[test]
    fn what_the_daemon_says_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("overlayd.sock");
        let listener = socket::listen(&path, 0o600).unwrap();
        let daemon = std::thread::spawn(move || {
            let status =
                json!({"not_ready": [], "node": "a", "backend": "vxlan", "subnets": ["10.42.3.0/24"], "peers": 1});
            let peers = json!([{"name": "b", "subnets": ["10.42.4.0/24"], "endpoints": ["192.0.2.7"], "how": "vxlan", "state": "ok"}]);
            for output in [status, peers] {
                let (mut stream, _) = listener.accept().unwrap();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
                writeln!(stream, "{}", json!({"exit": 0, "output": output.to_string()})).unwrap();
            }
        });
        let mut notes = Vec::new();
        let overlay = ask(&path, &mut notes).unwrap();
        assert_eq!((overlay.node.as_str(), overlay.peers[0].name.as_str()), ("a", "b"));
        daemon.join().unwrap();
        assert_eq!(notes, []);
        // The socket is there, and nobody listens.
        assert_eq!(ask(&path, &mut notes), None);
        assert!(notes[0].reason.contains("does not run"), "{notes:?}");
    }

    #[test]
    fn without_a_daemon_there_is_nothing_to_say() {
        let mut notes = Vec::new();
        assert_eq!(ask(Path::new("/nowhere/overlayd.sock"), &mut notes), None);
        assert_eq!(notes, []);
    }
}
