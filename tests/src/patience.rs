//! Waiting for what the kernel does a little later. Limits are generous: a loaded machine is many times slower.

use std::time::{Duration, Instant};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Looks every few milliseconds whether `done`, for at most `limit`; whether it was.
pub(crate) fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `done`.
///
/// # Panics
/// If it takes longer than `PATIENCE`.
#[track_caller]
pub fn eventually(what: &str, done: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, done);
}

/// The same for what may take longer.
///
/// # Panics
/// If it takes longer than `limit`.
#[track_caller]
pub fn eventually_within(limit: Duration, what: &str, done: impl FnMut() -> bool) {
    assert!(within(limit, done), "still not after {} s: {what}", limit.as_secs());
}
