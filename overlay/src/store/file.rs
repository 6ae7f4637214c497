//! Nodes in a file, or one file each in a directory: needs nothing else, and is watched.
//!
//! * A file (`nodes.toml`, `nodes.json`) has a table `[nodes.NAME]` for each node; somebody writes it and brings it to all.
//! * A directory has a file `NAME.toml` or `NAME.json` for each; only what changes is read again. With `publish` each
//!   node writes its own, with a subnet that is free: the directory is shared (a volume, or one machine's for tests).
//!
//! What a node's entry may say stands at `Entry`. A node whose entry cannot be read is told as such; the others work. The
//! own entry must be there, too: it gives this node its subnets. A MAC that an entry leaves out is made of the node's name,
//! and with this store a node makes its own that way ([`crate::peer::identity_of_name`]).
//!
//! Not seen: what another machine changes on a network filesystem (inotify tells of this machine's changes alone), and
//! what a link leads to outside of the directory, but for a ConfigMap of Kubernetes.

mod entry;
mod follow;
mod own;
mod read;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use libcni::store::StoreError;
use serde::Deserialize;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use crate::network::Network;
use crate::store::pause::Pauses;
use crate::store::{Registration, Teller};
use follow::Follower;

/// The pauses between attempts to reach the path.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The table `[store.file]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileConf {
    /// A file of all nodes, or a directory of one file per node.
    pub(crate) path: PathBuf,
    /// Where it is a directory that nodes share: write this node's own file, whatever it said but its subnets.
    #[serde(default)]
    pub(crate) publish: bool,
}

/// Removes what this node made known: its own file, where it writes that itself. Tells whether there was one.
///
/// # Errors
/// If it cannot be removed.
pub(crate) fn leave(conf: &FileConf, node: &str) -> Result<bool, StoreError> {
    let mut was_there = false;
    for path in read::paths_of(&conf.path, node).iter().filter(|path| conf.publish && path.is_file()) {
        libcni::store::remove_file(path)?;
        was_there = true;
    }
    Ok(was_there)
}

/// Tells of the nodes, for ever.
pub(crate) async fn run(conf: FileConf, network: Network, us: Receiver<Registration>, teller: Teller) {
    let mut follower = Follower::new(conf, network, us, teller);
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        if follower.follow().await {
            pauses.reset();
        }
        sleep(pauses.next()).await;
    }
}

#[cfg(test)]
mod tests;
