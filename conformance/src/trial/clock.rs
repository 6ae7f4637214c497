//! How long verbs take, and so when to interrupt them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::call::{End, Record};

/// What a verb is taken to take that was not seen yet.
const GUESS: Duration = Duration::from_millis(20);

/// The longest that each verb of each plugin took, and a source of chance.
#[derive(Debug, Default)]
pub(super) struct Clock {
    longest: BTreeMap<String, u64>,
    state: u64,
}

impl Clock {
    pub(super) fn note(&mut self, record: &Record) {
        if matches!(record.end, End::Exit(_)) {
            let longest = self.longest.entry(record.name.clone()).or_default();
            *longest = record.micros.max(*longest);
        }
    }

    /// A moment during the next execution called `name`, or shortly after it.
    pub(super) fn moment_in(&mut self, name: &str) -> Duration {
        let longest = self.longest.get(name).copied().map_or(GUESS, Duration::from_micros);
        // Thousandths, from 0 to 1.1 times as long.
        let share = u32::try_from(self.chance() % 1100).unwrap_or_default();
        longest * share / 1000
    }

    /// The next of Marsaglia's xorshift64, begun with the time.
    fn chance(&mut self) -> u64 {
        if self.state == 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.state = u64::from(now.subsec_nanos()) | 1;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
