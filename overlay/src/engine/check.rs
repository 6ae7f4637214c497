//! All that should be in the kernel against all that is: at the start, when something else changed it, and from time to
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libcni::error::causes;

use crate::desired::{Key, Object, Step, diff};
use crate::metrics::Kind;
use crate::report::Difference;
use crate::roster::Name;

use super::Engine;
use super::peers::Owner;

/// So many changes of the kernel are made before questions are answered again; some ten milliseconds of work.
const CHUNK: usize = 1000;
/// Between attempts to look at the kernel.
const PAUSE: Duration = Duration::from_secs(1);

/// Why all is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// There is much that is new: what is different is no fault of anybody.
    News,
    /// All was right: what is different now was changed by somebody else.
    Check,
}

/// All differences, and whose they are.
pub(super) struct Comparison {
    pub(super) steps: Vec<(Step, Option<Owner>)>,
    names: Vec<Name>,
}

impl Engine {
    /// Compares, and puts right what is different.
    pub(super) fn check(&mut self, occasion: Occasion) {
        if self.plan.is_none() || !self.base.has_links || !self.knows_peers {
            return;
        }
        let start = Instant::now();
        let comparison = match self.compare() {
            Ok(comparison) => comparison,
            Err(e) => {
                tracing::error!(error = causes(Some(&e)), "cannot look at the kernel");
                self.agenda.checked(start.elapsed());
                self.agenda.check_in(PAUSE);
                return;
            }
        };
        self.metrics.check.observe(start.elapsed().as_secs_f64());
        let known: BTreeSet<Key> = self.all_missing();
        self.suspend_troubles();
        self.settle_unreachable();
        let is_first = !self.is_synchronised;
        self.tell_of_repairs(&comparison.steps, &known, if is_first { Occasion::News } else { occasion });
        let mut is_complete = true;
        for chunk in comparison.steps.chunks(CHUNK) {
            if self.program(chunk, &comparison.names).is_err() || self.answer_waiting() {
                is_complete = false;
                break;
            }
        }
        self.tell_of_recovery();
        // Until all was done once, this node is not ready.
        self.is_synchronised = is_complete || !is_first;
        self.agenda.checked(start.elapsed());
    }

    pub(super) fn compare(&mut self) -> Result<Comparison, linuxnet::NetlinkError> {
        let before = self.kernel.sent();
        let mut have = self.kernel.look()?;
        let (names, mut want) = self.want_all();
        let Some(plan) = &self.plan else { return Ok(Comparison { steps: Vec::new(), names }) };
        want.extend(plan.common.iter().map(|object| (object.clone(), Owner::MAX)));
        have.extend(self.kernel.look_at_forerunners(plan, &want)?);
        self.kernel.follow_endpoints(&mut have, &want);
        self.metrics.netlink_messages.inc_by(self.kernel.sent() - before);
        Ok(Comparison { steps: diff(have, want), names })
    }

    /// Everything that should be there; a node's number is its place among the names.
    fn want_all(&mut self) -> (Vec<Name>, Vec<(Object, Owner)>) {
        self.unreachable.clear();
        let peers = std::mem::take(&mut self.peers);
        let mut names = Vec::with_capacity(peers.len());
        let mut want = Vec::with_capacity(peers.len() * 3);
        for (name, programmed) in &peers {
            self.want(programmed, name, &mut names, &mut want);
        }
        self.peers = peers;
        (names, want)
    }

    /// One line for all that was found. `known`: what the kernel refused before.
    fn tell_of_repairs(&mut self, steps: &[(Step, Option<Owner>)], known: &BTreeSet<Key>, occasion: Occasion) {
        let (mut made, mut changed, mut removed) = (0, 0, 0);
        let mut kinds: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (step, _) in steps.iter().filter(|(step, _)| !known.contains(&step.object().key())) {
            match step {
                Step::Make(_) => made += 1,
                Step::Change(_) => changed += 1,
                Step::Remove(_) => removed += 1,
            }
            *kinds.entry(step.object().kind()).or_default() += 1;
        }
        match occasion {
            _ if kinds.is_empty() => {}
            Occasion::News => tracing::info!(made, changed, removed, "kernel brought up to date"),
            Occasion::Check => {
                tracing::warn!(made, changed, removed, "repaired what somebody else changed");
                for (kind, count) in kinds {
                    self.drift += count;
                    self.metrics.drift_repaired.get_or_create(&Kind { kind }).inc_by(count);
                }
            }
        }
    }

    /// What is different now, for people; nothing is changed.
    pub(super) fn differences(&mut self) -> Result<Vec<Difference>, String> {
        if self.plan.is_none() {
            return Err(self.not_ready().join("; "));
        }
        let Comparison { steps, names } = self.compare().map_err(|e| causes(Some(&e)))?;
        self.unreachable.clear();
        let difference = |(step, owner): (Step, Option<Owner>)| {
            let what = match step {
                Step::Make(_) => "missing",
                Step::Change(_) => "different",
                Step::Remove(_) => "stranger",
            };
            let peer = owner.and_then(|owner| names.get(usize::try_from(owner).ok()?)).map(ToString::to_string);
            Difference { what, object: self.shown(step.object()), peer }
        };
        Ok(steps.into_iter().map(difference).collect())
    }
}
