//! The backend `bgp`: BIRD has the kernel reach the nodes, and is told of them.

use std::time::Duration;

use crate::bgp::Bird;
use crate::bgp::render::render;
use crate::network::Backend;

use super::Engine;

/// Between a change and BIRD: what comes together is told together.
const PAUSE: Duration = Duration::from_millis(100);

/// What BIRD was told, and what it said.
#[derive(Debug, Default)]
pub(super) struct Speaker {
    bird: Option<Bird>,
    told: Option<String>,
    /// Why it does not have the newest, or has nothing yet; `None` once it has.
    fault: Option<String>,
}

impl Engine {
    /// Something changed that BIRD must be told.
    pub(super) fn bird_is_behind(&mut self) {
        if self.network.backend == Backend::Bgp {
            self.agenda.bird_in(PAUSE);
        }
    }

    /// Tells BIRD, if there is something new. Not before the nodes are known: all sessions would end.
    pub(super) fn tell_bird(&mut self) {
        let Some(subnets) = self.subnets.as_ref().filter(|_| self.knows_peers) else { return };
        let peers = self.peers.iter().map(|(name, programmed)| (&**name, &*programmed.peer));
        let text = render(&self.config.bgp, &self.node, subnets, peers);
        if self.speaker.told.as_ref() == Some(&text) {
            return;
        }
        let bird = match &mut self.speaker.bird {
            Some(bird) => bird,
            none => match Bird::start(self.config.bgp.clone(), self.queue.clone()) {
                Ok(bird) => none.insert(bird),
                Err(e) => return self.bird_said(Some(format!("cannot start a thread: {e}"))),
            },
        };
        bird.tell(text.clone());
        if self.speaker.told.replace(text).is_none() {
            self.speaker.fault = Some("BIRD has not read the file of nodes yet".to_owned());
        }
    }

    /// BIRD has the newest, or why not.
    pub(super) fn bird_said(&mut self, fault: Option<String>) {
        match &fault {
            Some(why) if self.speaker.fault.as_ref() != Some(why) => tracing::error!(error = why, "BIRD is behind"),
            _ => {}
        }
        self.speaker.fault = fault;
    }

    /// Why BIRD does not have the kernel reach the nodes.
    pub(super) fn bird_fault(&self) -> Option<&str> {
        let is_needed = self.network.backend == Backend::Bgp;
        let fault = if self.speaker.told.is_none() { Some("BIRD was not told of the nodes yet") } else { None };
        self.speaker.fault.as_deref().or(fault).filter(|_| is_needed)
    }
}
