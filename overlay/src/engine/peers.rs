//! The nodes that are programmed: one change after the other, and what the kernel refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libcni::error::causes;

use crate::desired::{Key, Object, Step, diff};
use crate::metrics::OfPeer;
use crate::peer::{Peer, cut};
use crate::roster::{Change, Name};
use crate::store::pause::Pauses;

use super::Engine;

/// Pauses between attempts to have the kernel take what it refused.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// More changes at once are told in one line.
const TOLD_SINGLY: usize = 100;

/// A node that is in the kernel, or should be.
#[derive(Debug)]
pub(super) struct Programmed {
    pub(super) peer: Arc<Peer>,
    pub(super) trouble: Option<Box<Trouble>>,
}

/// What is wrong with a node's objects.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// What the kernel refused; none, if there is nothing to ask it for.
    pub(super) missing: Vec<Key>,
    /// When that is tried again.
    pub(super) next: Option<Instant>,
    pauses: Pauses,
}

/// Which of the nodes that a list of steps is for; they are numbered as they come.
pub(super) type Owner = u32;

impl Engine {
    /// Has the kernel reach those who are new or different, and no longer those who are gone. A change costs what it
    /// changes, however many others there are.
    pub(super) fn change(&mut self, changes: Vec<Change>, since: Instant) {
        if changes.is_empty() {
            return;
        }
        if self.plan.is_none() || !self.base.has_links || !self.is_synchronised {
            // All will be compared when that is possible.
            self.adopt(changes);
            return;
        }
        let count = changes.len();
        let (mut have, mut want, mut names, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for old in changes.iter().filter_map(|change| self.peers.get(&change.name)) {
            gone.extend(old.peer.sides().filter_map(|side| side.base()));
        }
        for Change { name, .. } in &changes {
            if let Some(old) = self.peers.remove(name) {
                self.objects_of(&old, &mut have);
                self.peers.insert(name.clone(), old);
            }
        }
        let changed: Vec<_> =
            changes.iter().filter(|change| change.peer.is_some()).map(|change| change.name.clone()).collect();
        self.adopt(changes);
        for name in changed {
            if let Some(programmed) = self.peers.remove(&name) {
                self.want(&programmed, &name, &mut names, &mut want);
                self.peers.insert(name, programmed);
            }
        }
        self.settle_unreachable();
        self.keep_shared(&mut have);
        // What is not done is looked at again by itself.
        let _ = self.program(&diff(have, want), &names);
        self.release(gone);
        self.observe(count, since);
    }

    /// Knows from now on who is there, whatever the kernel has of them.
    pub(super) fn adopt(&mut self, changes: Vec<Change>) {
        self.tell(&changes);
        if !changes.is_empty() {
            self.agenda.snapshot_in(super::SNAPSHOT_PAUSE);
        }
        for Change { name, peer } in changes {
            if let Some(old) = self.peers.remove(&name) {
                self.metrics.mtu_mismatches.dec_by(self.mismatch(&old.peer));
                if let Some(at) = old.trouble.and_then(|trouble| trouble.next) {
                    self.agenda.forget_retry(at, &name);
                }
            }
            if peer.is_none() {
                self.metrics.errors.remove(&OfPeer { peer: cut(&name) });
            }
            if let Some(peer) = peer {
                self.metrics.mtu_mismatches.inc_by(self.mismatch(&peer));
                self.peers.insert(name, Programmed { peer, trouble: None });
            }
        }
    }

    /// So many changes are in the kernel, told by the store at `since`.
    pub(super) fn observe(&self, changes: usize, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        (0..changes).for_each(|_| self.metrics.convergence.observe(seconds));
    }

    /// 1 if the node says another MTU than ours.
    fn mismatch(&self, peer: &Peer) -> i64 {
        peer.mtu.is_some_and(|mtu| mtu != self.mtu()).into()
    }

    /// Counts the nodes that say another MTU than ours.
    pub(super) fn count_mismatches(&self) {
        self.metrics.mtu_mismatches.set(self.peers.values().map(|there| self.mismatch(&there.peer)).sum());
    }

    /// What should be in the kernel of a node, without what is known to be missing.
    fn objects_of(&mut self, programmed: &Programmed, objects: &mut Vec<Object>) {
        let Some(plan) = &self.plan else { return };
        let start = objects.len();
        // Why it cannot be reached is told with the trouble.
        let _ = plan.objects(&programmed.peer, &mut self.kernel.ids, objects);
        if let Some(trouble) = &programmed.trouble {
            let kept: Vec<_> =
                objects.drain(start..).filter(|object| !trouble.missing.contains(&object.key())).collect();
            objects.extend(kept);
        }
    }

    /// Adds what a node needs to `want`, under the next number.
    pub(super) fn want(
        &mut self,
        programmed: &Programmed,
        name: &Name,
        names: &mut Vec<Name>,
        want: &mut Vec<(Object, Owner)>,
    ) {
        let Some(plan) = &self.plan else { return };
        let owner = Owner::try_from(names.len()).unwrap_or(Owner::MAX);
        names.push(name.clone());
        let mut objects = Vec::new();
        if let Err(why) = plan.objects(&programmed.peer, &mut self.kernel.ids, &mut objects) {
            self.unreachable.push((name.clone(), why.to_string()));
        }
        want.extend(objects.into_iter().map(|object| (object, owner)));
    }

    /// Tells of those that no object can reach.
    pub(super) fn settle_unreachable(&mut self) {
        for (name, why) in std::mem::take(&mut self.unreachable) {
            self.blame(&name, why, Vec::new());
        }
    }

    /// A machine that is known by two names has one hardware address: its forwarding entry stays until both are gone.
    fn keep_shared(&self, have: &mut Vec<Object>) {
        let is_v4 = |link: u32| self.plan.as_ref().and_then(|plan| plan.v4.as_ref()?.device()) == Some(link);
        have.retain(|object| match object {
            Object::Forward { link, entry } => !self.roster.has_mac(is_v4(*link), entry.mac),
            _ => true,
        });
    }

    /// Gives back the numbers of next hops that nobody needs any more.
    fn release(&mut self, bases: Vec<std::net::IpAddr>) {
        for base in bases {
            if !self.roster.has_subnet_at(base) {
                self.kernel.ids.release(base);
            }
        }
    }

    /// Does the steps, and remembers whose failed.
    pub(super) fn program(&mut self, steps: &[(Step, Option<Owner>)], names: &[Name]) -> Result<(), ()> {
        let before = self.kernel.sent();
        let failures = self.kernel.apply(steps);
        self.metrics.netlink_messages.inc_by(self.kernel.sent() - before);
        if steps.iter().any(|(step, _)| matches!(step.object(), Object::Forward { .. })) {
            // The kernel will tell us of it as if somebody else had done it.
            self.expect_echo();
        }
        let failures = match failures {
            Ok(failures) => failures,
            Err(e) => {
                tracing::error!(error = causes(Some(&e)), "the kernel's answer was lost, all is looked at again");
                self.agenda.check_in(FIRST_PAUSE);
                return Err(());
            }
        };
        let mut blamed: BTreeMap<Owner, (String, Vec<Key>)> = BTreeMap::new();
        for failure in failures {
            let Some((step, owner)) = steps.get(failure.at) else { continue };
            let why = reason(step, &failure.error);
            match (step, owner) {
                (Step::Make(object) | Step::Change(object), Some(owner)) => {
                    let (_, missing) = blamed.entry(*owner).or_insert_with(|| (why, Vec::new()));
                    missing.push(object.key());
                    if failure.error.is_exists() && matches!(object, Object::Nexthop(_)) {
                        // Somebody else took our number: a look at the kernel tells us to take another.
                        self.agenda.check_in(Duration::ZERO);
                    }
                }
                _ => {
                    tracing::warn!(object = %step.object(), error = why, "not removed, tried again at the next check");
                    self.agenda.check_in(LONGEST_PAUSE / 6);
                }
            }
        }
        for (owner, (why, missing)) in blamed {
            if let Some(name) = usize::try_from(owner).ok().and_then(|owner| names.get(owner)) {
                self.blame(name, why, missing);
            }
        }
        Ok(())
    }

    /// Something of this node failed: it is told once, and tried again with growing pauses.
    fn blame(&mut self, name: &Name, why: String, missing: Vec<Key>) {
        let Some(programmed) = self.peers.get_mut(name) else { return };
        let before = programmed.trouble.take().or_else(|| self.past.remove(name));
        if before.as_ref().is_none_or(|before| before.why != why) {
            tracing::warn!(name = cut(name), error = why, "peer failing");
        }
        if let Some(at) = before.as_ref().and_then(|before| before.next) {
            self.agenda.forget_retry(at, name);
        }
        let mut pauses = before.map_or_else(|| Pauses::new(FIRST_PAUSE, LONGEST_PAUSE), |before| before.pauses);
        let next = (!missing.is_empty()).then(|| Instant::now() + pauses.next());
        if let Some(at) = next {
            self.metrics.errors.get_or_create(&OfPeer { peer: cut(name) }).inc();
            self.agenda.retry_at(at, name);
        }
        programmed.trouble = Some(Box::new(Trouble { why, missing, next, pauses }));
    }

    /// What the kernel refused.
    pub(super) fn all_missing(&self) -> BTreeSet<Key> {
        let troubles = self.peers.values().filter_map(|programmed| programmed.trouble.as_ref());
        troubles.flat_map(|trouble| trouble.missing.iter().copied()).collect()
    }

    /// All are about to be tried again: those who are not blamed then have no trouble any more.
    pub(super) fn suspend_troubles(&mut self) {
        for (name, programmed) in &mut self.peers {
            if let Some(trouble) = programmed.trouble.take() {
                self.past.insert(name.clone(), trouble);
            }
        }
    }

    /// Tells of those who were not blamed again.
    pub(super) fn tell_of_recovery(&mut self) {
        for (name, trouble) in std::mem::take(&mut self.past) {
            tracing::info!(name = cut(&name), "peer works again");
            if let Some(at) = trouble.next {
                self.agenda.forget_retry(at, &name);
            }
        }
    }

    /// Has the kernel take what it refused.
    pub(super) fn retry(&mut self, name: &Name) {
        let Some(mut programmed) = self.peers.remove(name) else { return };
        let (mut have, mut want, mut names) = (Vec::new(), Vec::new(), Vec::new());
        self.objects_of(&programmed, &mut have);
        self.want(&programmed, name, &mut names, &mut want);
        self.past.extend(programmed.trouble.take().map(|trouble| (name.clone(), trouble)));
        self.peers.insert(name.clone(), programmed);
        self.settle_unreachable();
        let _ = self.program(&diff(have, want), &names);
        self.tell_of_recovery();
    }

    /// One line per change, where they are few.
    fn tell(&self, changes: &[Change]) {
        let (mut joined, mut changed, mut left) = (0, 0, 0);
        let is_many = changes.len() > TOLD_SINGLY;
        for Change { name, peer } in changes {
            let old = self.peers.get(name);
            let (count, what) = match (old, peer) {
                (None, Some(_)) => (&mut joined, "peer joined"),
                (Some(_), Some(_)) => (&mut changed, "peer changed"),
                (_, None) => (&mut left, "peer left"),
            };
            *count += 1;
            if is_many {
                continue;
            }
            let name = cut(name);
            match peer {
                Some(peer) => tracing::info!(name, subnets = subnets(peer), endpoint = endpoints(peer), "{what}"),
                None => tracing::info!(name, "{what}"),
            }
        }
        if is_many {
            tracing::info!(joined, changed, left, "peers");
        }
    }
}

/// Why the kernel refused a step, for operators.
fn reason(step: &Step, error: &linuxnet::NetlinkError) -> String {
    match step {
        Step::Make(object @ Object::Route(_)) if error.is_exists() => {
            format!(
                "{object}: somebody else made a route to it, which is left alone (hint: ip route show, ip route delete)"
            )
        }
        _ => causes(Some(error)),
    }
}

/// As `10.42.1.0/24 fd42:1::/64`.
pub(super) fn subnets(peer: &Peer) -> String {
    let all: Vec<_> = peer.sides().flat_map(|side| side.subnets.iter().map(ToString::to_string)).collect();
    all.join(" ")
}

/// As `192.0.2.7 2001:db8::7`.
pub(super) fn endpoints(peer: &Peer) -> String {
    let all: Vec<_> = peer.sides().map(|side| side.endpoint.to_string()).collect();
    all.join(" ")
}
