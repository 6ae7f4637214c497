//! What the kernel tells unasked.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Cause, NetlinkError};

use super::Netlink;

impl Netlink {
    /// Has the kernel tell changes of a multicast group (`RTNLGRP_…`) from now on. Requests skip what it tells.
    pub(crate) fn subscribe(&mut self, group: u32) -> Result<(), NetlinkError> {
        self.socket
            .join(group)
            .map_err(|errno| NetlinkError::new(format!("listen to rtnetlink group {group}"), Cause::Socket(errno)))
    }

    /// Waits until the kernel tells anything, at most for `timeout`; then throws away what it told. The caller looks
    /// for itself what is different. False: the time is over.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<bool, NetlinkError> {
        let fault = |errno| NetlinkError::new("wait for a change of the kernel", Cause::Socket(errno));
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Ok(false),
            // A signal: what it asks for is the caller's business.
            Err(Errno::EINTR) => return Ok(true),
            Ok(_) => {}
            Err(errno) => return Err(fault(errno)),
        }
        match self.socket.receive() {
            // ENOBUFS: there was more than the buffer holds, which is news too.
            Ok(_) | Err(Cause::Socket(Errno::ENOBUFS)) => Ok(true),
            Err(cause) => Err(NetlinkError::new("wait for a change of the kernel", cause)),
        }
    }
}
