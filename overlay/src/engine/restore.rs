//! The snapshot: written when nodes change, taken where the store is silent.

use std::sync::Arc;
use std::time::Instant;

use crate::snapshot;

use super::Engine;
use super::check::Occasion;

impl Engine {
    /// Goes on with the nodes of the snapshot until the store tells of them.
    pub(super) fn restore(&mut self) {
        if self.knows_peers {
            return;
        }
        let Some(snapshot) = snapshot::load(&self.config.state_dir, &self.network) else { return };
        tracing::warn!(peers = snapshot.peers.len(), "going on with the nodes of the snapshot, which may be stale");
        if self.subnets.is_none() && !snapshot.subnets.is_empty() {
            self.set_subnets(snapshot.subnets);
        }
        let peers = snapshot.peers.into_iter().map(|(name, peer)| (name.into(), Arc::new(peer)));
        let changes = self.roster.restore(peers);
        self.knows_peers = true;
        self.is_stale = true;
        self.change(changes, Instant::now());
        self.check(Occasion::News);
    }

    pub(super) fn write_snapshot(&mut self) {
        // Stale nodes are on disk already.
        let (Some(subnets), true, false) = (&self.subnets, self.knows_peers, self.is_stale) else { return };
        let peers = self.peers.iter().map(|(name, programmed)| (&**name, &*programmed.peer));
        match snapshot::text(&self.network, subnets, peers) {
            Ok(text) => self.snapshots.write(text),
            Err(e) => tracing::warn!(error = %e, "the snapshot of the nodes cannot be made"),
        }
    }
}
