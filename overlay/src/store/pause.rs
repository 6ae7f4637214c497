//! Pauses between attempts: they grow, and are not the same on all nodes, which would otherwise come back all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pauses of one thing that is tried again and again.
#[derive(Clone, Debug)]
pub(crate) struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pauses {
    /// From `first` on, twice as long each time, up to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// How long to wait now: a random time of at least half of what it is at most.
    pub(crate) fn next(&mut self) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(self.longest);
        most.mul_f64(0.5 + random() / 2.0)
    }

    /// It worked: the next pause is a short one again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

impl Default for Pauses {
    /// Half a second to half a minute.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

/// 0 to 1, for what need not be secret.
pub(crate) fn random() -> f64 {
    // The seeds of the standard library's hash maps differ for each one made.
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again() {
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(3));
        for most in [1, 2, 3, 3] {
            let most = Duration::from_secs(most);
            let pause = pauses.next();
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        }
        pauses.reset();
        assert!(pauses.next() <= Duration::from_secs(1));
    }

    #[test]
    fn nodes_do_not_come_back_together() {
        let one = random();
        assert!((0..20).any(|_| (random() - one).abs() > 0.01));
    }
}
