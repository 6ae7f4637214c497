//! What the kernel tells of changes, and which of them are our concern.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libcni::error::causes;
use linuxnet::netlink::Notice;
use linuxnet::route::PROTOCOL_OVERLAY;

use crate::node::{self, Node, Underlay};
use crate::store::Registration;

use super::Engine;

/// Changes of the external interface come several at once.
const UNDERLAY_PAUSE: Duration = Duration::from_millis(100);
/// How long what we did ourselves may be on its way back to us.
const ECHO: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) fn notice(&mut self, notices: &BTreeSet<Notice>) {
        for notice in notices {
            match *notice {
                Notice::Lost => {
                    tracing::warn!("changes of the kernel were lost, all is looked at");
                    self.agenda.underlay_in(Duration::ZERO);
                    self.base_changed();
                    self.agenda.notice(false);
                }
                Notice::Link(link) | Notice::Address(link) => {
                    if self.is_ours(link) {
                        self.base_changed();
                        self.agenda.notice(false);
                    } else if self.underlay_fault.is_some() || self.underlays().any(|there| there.link == link) {
                        self.agenda.underlay_in(UNDERLAY_PAUSE);
                    }
                }
                Notice::Neighbour(link) => {
                    if self.is_ours(link) {
                        // The kernel does not say of forwarding entries who made them.
                        let is_echo = self.own_entries.is_some_and(|at| at.elapsed() < ECHO);
                        self.agenda.notice(is_echo);
                    }
                }
                Notice::Route { protocol, link } | Notice::Nexthop { protocol, link } => {
                    if protocol == PROTOCOL_OVERLAY || link.is_some_and(|link| self.is_ours(link)) {
                        self.agenda.notice(false);
                    }
                }
            }
        }
    }

    fn is_ours(&self, link: u32) -> bool {
        self.kernel.devices.iter().any(|device| device.index == link)
    }

    pub(super) fn underlays(&self) -> impl Iterator<Item = &Underlay> {
        [&self.node.v4, &self.node.v6].into_iter().flatten()
    }

    /// Looks for the external interface again: its address and MTU may be others, or it is gone.
    pub(super) fn look_for_underlay(&mut self) {
        let node = node::discover(&self.config.external, &self.network, &self.node.name, self.node.identity);
        let node = match node {
            Ok(node) => Node { public_key: self.node.public_key, ..node },
            Err(e) => {
                let why = causes(Some(&e));
                if self.underlay_fault.as_ref() != Some(&why) {
                    tracing::error!(error = why, "the external interface is lost");
                }
                self.underlay_fault = Some(why);
                self.agenda.underlay_in(ECHO);
                return;
            }
        };
        if self.underlay_fault.take().is_some() {
            tracing::info!("the external interface is back");
            self.agenda.base_in(Duration::ZERO);
        }
        if node == self.node {
            return;
        }
        self.node = node;
        for Underlay { name, address, public, mtu, .. } in self.underlays() {
            tracing::info!(interface = name, %address, %public, mtu, "external interface changed");
        }
        let subnets = self.subnets.clone().unwrap_or_default();
        let us = Registration::of(&self.node, &self.network, subnets);
        self.registration.send_if_modified(|said| {
            let is_new = said.claim != us.claim;
            if is_new {
                *said = us;
            }
            is_new
        });
        self.count_mismatches();
        self.ensure_base();
    }

    /// When something was done of which the kernel will tell us as if somebody else had done it.
    pub(super) fn expect_echo(&mut self) {
        self.own_entries = Some(Instant::now());
    }
}
