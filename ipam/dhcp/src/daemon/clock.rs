use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::lease::{Moment, Time};

/// Now.
pub(super) fn now() -> Time {
    // The clock exists since Linux 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Now, and a number that others on the link cannot guess: the standard library keys its hash tables so.
pub(super) fn moment() -> Moment {
    let [dice, _] = halves(RandomState::new().build_hasher().finish());
    Moment { now: now(), dice }
}

fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}
