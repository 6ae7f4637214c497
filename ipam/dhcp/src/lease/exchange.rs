use std::time::Duration;

use super::{Moment, Time};

/// How many times a message is sent again quickly, before the delays begin to double. A link that has just come up
/// loses its first frames. (The reference's numbers, as the next three.)
const FAST: u32 = 4;
const FAST_DELAY: Duration = Duration::from_secs(2);
/// The first of the delays that double (RFC 2131, section 4.1).
const FIRST_DELAY: Duration = Duration::from_secs(4);
/// Delays differ by up to this much to both sides, so that many clients do not speak at once.
const SPREAD: Duration = Duration::from_secs(1);
/// The shortest pause between two requests to prolong a lease (RFC 2131, section 4.4.5).
const PROLONG_PAUSE: Duration = Duration::from_secs(60);

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// For the ACK of a REQUEST (`-timeout`).
    pub(crate) reply: Duration,
    /// At most, before it sends a message again (`-resendmax`).
    pub(crate) resend_max: Duration,
    /// In all, for an address (`-resendtimeout`).
    pub(crate) resend_timeout: Duration,
}

impl Timing {
    /// The pause after a message was sent `times` times.
    fn delay(&self, times: u32, dice: u32) -> Duration {
        let delay = match times.checked_sub(FAST + 1) {
            None => FAST_DELAY,
            Some(doublings) => FIRST_DELAY.saturating_mul(2_u32.saturating_pow(doublings)),
        };
        let delay = delay.min(self.resend_max);
        let spread = SPREAD.min(delay / 2);
        // From -spread to +spread.
        (delay - spread) + (2 * spread).mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }
}

/// A message that is out, and will be sent again until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// What an answer must carry.
    pub(crate) xid: u32,
    /// When the first message was sent.
    pub(crate) begun: Time,
    /// When the last one was sent.
    pub(crate) sent_at: Time,
    /// When the next one is due.
    pub(crate) resend_at: Time,
    /// When there will be no more.
    pub(crate) give_up_at: Time,
    times: u32,
}

impl Exchange {
    /// The first message of an exchange is sent now.
    pub(crate) fn begin(timing: &Timing, give_up_at: Time, at: Moment) -> Self {
        let Moment { now, dice } = at;
        Self { xid: dice, begun: now, sent_at: now, resend_at: now + timing.delay(1, dice), give_up_at, times: 1 }
    }

    /// The first message of an exchange is sent after a pause.
    pub(crate) fn pause(timing: &Timing, give_up_at: Time, at: Moment) -> Self {
        Self { times: 0, ..Self::begin(timing, give_up_at, at) }
    }

    /// The next message of the same exchange is sent now: its own delays begin.
    pub(crate) fn continued(self, timing: &Timing, at: Moment) -> Self {
        Self { sent_at: at.now, resend_at: at.now + timing.delay(1, at.dice), times: 1, ..self }
    }

    /// The same message is sent again now.
    pub(crate) fn again(&mut self, timing: &Timing, at: Moment) {
        self.times += 1;
        self.sent_at = at.now;
        self.resend_at = at.now + timing.delay(self.times, at.dice);
    }

    /// A request to prolong a lease is sent now; the next after half of the time that is left until `end`.
    pub(crate) fn again_before(&mut self, end: Option<Time>, now: Time) {
        let left = end.unwrap_or(Time::MAX).saturating_sub(now);
        self.sent_at = now;
        self.resend_at = now.saturating_add((left / 2).max(PROLONG_PAUSE));
    }

    /// When something is to be done.
    pub(crate) fn deadline(&self) -> Time {
        self.resend_at.min(self.give_up_at)
    }

    /// Whether it was given up.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        self.give_up_at <= now
    }
}
