//! Many requests, each of which stands for itself.

use crate::error::NetlinkError;

use super::{BATCH_MESSAGES, Netlink, Request};

/// A request of several that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which one, counted from 0.
    pub at: usize,
    /// What it was to do, and why the kernel refused.
    pub error: NetlinkError,
}

impl Netlink {
    /// Has the kernel do all of it, in order, a hundred in one send; gives those that failed, in order. What comes after
    /// one of them is done all the same.
    ///
    /// The kernel answers every failure and success only where it is asked to, so one acknowledgement for each send is
    /// enough to know all.
    ///
    /// # Errors
    /// If the kernel cannot be asked, or its answer is lost: then nobody knows what was done, and it must be looked at.
    pub fn send_each(&mut self, requests: &[Request]) -> Result<Vec<Failure>, NetlinkError> {
        let mut failures = Vec::new();
        for (part, start) in requests.chunks(BATCH_MESSAGES).zip((0..).step_by(BATCH_MESSAGES)) {
            self.exchange(part, |at, error| failures.push(Failure { at: start + at, error }))?;
        }
        Ok(failures)
    }

    /// How many requests this socket has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }
}
