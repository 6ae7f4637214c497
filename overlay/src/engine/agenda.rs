//! What is to be done when: deadlines in place of sleeping.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::roster::Name;
use crate::store::pause;

/// Between a notice of the kernel and the check: what comes together is looked at together.
const NOTICE_PAUSE: Duration = Duration::from_millis(100);
/// A check at most so often that it takes a tenth of the time.
const CHECK_SHARE: u32 = 10;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Compare all with the kernel.
    Check,
    /// Look whether links, rules and files are as they should be.
    Base,
    /// Look whether the rules of the firewall are as they should be.
    Firewall,
    /// Look for the external interface.
    Underlay,
    /// Tell BIRD of the nodes.
    Bird,
    /// Write the snapshot.
    Snapshot,
    /// Without news from the store, begin with the snapshot.
    Restore,
    /// Try again what the kernel refused for this node.
    Retry(Name),
}

/// What is to be done when.
#[derive(Debug)]
pub(super) struct Agenda {
    interval: Duration,
    check: Instant,
    /// No check before.
    rest: Instant,
    base: Option<Instant>,
    firewall: Option<Instant>,
    underlay: Option<Instant>,
    bird: Option<Instant>,
    snapshot: Option<Instant>,
    restore: Option<Instant>,
    retries: BTreeSet<(Instant, Name)>,
}

impl Agenda {
    /// `interval`: how often all is compared with the kernel.
    pub(super) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        let mut agenda = Self {
            interval,
            check: now,
            rest: now,
            base: None,
            firewall: None,
            underlay: None,
            bird: None,
            snapshot: None,
            restore: None,
            retries: BTreeSet::new(),
        };
        agenda.checked(Duration::ZERO);
        agenda
    }

    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
        self.check = self.check.min(Instant::now() + interval);
    }

    /// When something is to be done next.
    pub(super) fn next(&self) -> Instant {
        let dates = [self.base, self.firewall, self.underlay, self.bird, self.snapshot, self.restore];
        dates.into_iter().chain([self.retries.first().map(|(at, _)| *at)]).flatten().fold(self.check, Instant::min)
    }

    /// Takes what is due, one after the other.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Task> {
        let is_due = |date: &mut Option<Instant>| date.take_if(|at| *at <= now).is_some();
        if is_due(&mut self.underlay) {
            Some(Task::Underlay)
        } else if is_due(&mut self.base) {
            Some(Task::Base)
        } else if is_due(&mut self.firewall) {
            Some(Task::Firewall)
        } else if is_due(&mut self.restore) {
            Some(Task::Restore)
        } else if self.check <= now {
            // Until it is done.
            self.check = now + self.interval;
            Some(Task::Check)
        } else if is_due(&mut self.bird) {
            Some(Task::Bird)
        } else if is_due(&mut self.snapshot) {
            Some(Task::Snapshot)
        } else if self.retries.first().is_some_and(|(at, _)| *at <= now) {
            self.retries.pop_first().map(|(_, name)| Task::Retry(name))
        } else {
            None
        }
    }

    /// A check was done, and took so long: the next one comes by itself, not at the same time on all nodes.
    pub(super) fn checked(&mut self, took: Duration) {
        let now = Instant::now();
        self.rest = now + took * CHECK_SHARE;
        self.check = now + self.interval.mul_f64(0.9 + 0.2 * pause::random());
    }

    /// The kernel told of a change; `own`: it may be one of ours, of which it does not say so.
    pub(super) fn notice(&mut self, own: bool) {
        let pause = if own { NOTICE_PAUSE * 20 } else { NOTICE_PAUSE };
        self.check = self.check.min((Instant::now() + pause).max(self.rest));
    }

    pub(super) fn check_in(&mut self, pause: Duration) {
        self.check = self.check.min(Instant::now() + pause);
    }

    pub(super) fn base_in(&mut self, pause: Duration) {
        earlier(&mut self.base, pause);
    }

    pub(super) fn firewall_in(&mut self, pause: Duration) {
        earlier(&mut self.firewall, pause);
    }

    pub(super) fn underlay_in(&mut self, pause: Duration) {
        earlier(&mut self.underlay, pause);
    }

    pub(super) fn bird_in(&mut self, pause: Duration) {
        earlier(&mut self.bird, pause);
    }

    pub(super) fn snapshot_in(&mut self, pause: Duration) {
        earlier(&mut self.snapshot, pause);
    }

    pub(super) fn restore_in(&mut self, pause: Duration) {
        earlier(&mut self.restore, pause);
    }

    pub(super) fn forget_restore(&mut self) {
        self.restore = None;
    }

    pub(super) fn retry_at(&mut self, at: Instant, name: &Name) {
        self.retries.insert((at, name.clone()));
    }

    pub(super) fn forget_retry(&mut self, at: Instant, name: &Name) {
        self.retries.remove(&(at, name.clone()));
    }
}

fn earlier(date: &mut Option<Instant>, pause: Duration) {
    let at = Instant::now() + pause;
    *date = Some(date.map_or(at, |there| there.min(at)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_due_is_done_once_and_in_order() {
        let mut agenda = Agenda::new(HOUR);
        let now = Instant::now();
        assert_eq!(agenda.take_due(now), None);
        assert!((now + HOUR.mul_f64(0.89)..now + HOUR.mul_f64(1.11)).contains(&agenda.next()));
        let name = Name::from("a");
        agenda.retry_at(now, &name);
        agenda.retry_at(now + HOUR / 2, &name);
        agenda.base_in(Duration::ZERO);
        agenda.base_in(HOUR);
        agenda.check_in(Duration::ZERO);
        let later = now + Duration::from_secs(1);
        let due: Vec<_> = std::iter::from_fn(|| agenda.take_due(later)).collect();
        assert_eq!(due, [Task::Base, Task::Check, Task::Retry(name.clone())]);
        assert_eq!(agenda.next(), now + HOUR / 2);
        agenda.forget_retry(now + HOUR / 2, &name);
        assert!(agenda.next() > now + HOUR / 2);
    }

    #[test]
    fn checks_take_a_tenth_of_the_time_at_most() {
        let mut agenda = Agenda::new(HOUR);
        agenda.checked(Duration::from_secs(1));
        agenda.notice(false);
        assert!(agenda.next() > Instant::now() + Duration::from_secs(9));
        agenda.checked(Duration::ZERO);
        agenda.notice(false);
        assert!(agenda.next() <= Instant::now() + NOTICE_PAUSE);
    }
}
