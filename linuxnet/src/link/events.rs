use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libcni::netns::Netns;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use crate::error::{Cause, NetlinkError};

/// Becomes readable when a link of a namespace comes, changes or goes, for whoever waits for many things at once. It
/// tells no more than that; and, being a socket, keeps the namespace alive.
#[derive(Debug)]
pub struct LinkEvents(OwnedFd);

impl LinkEvents {
    /// Listens in `netns` from now on (rtnetlink group `RTNLGRP_LINK`).
    ///
    /// # Errors
    /// If the namespace cannot be entered, or the kernel makes no socket.
    pub fn open_in(netns: &Netns) -> Result<Self, NetlinkError> {
        let doing = || format!("listen to links of network namespace \"{}\"", netns.path().display());
        let open = || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            let groups = u32::try_from(libc::RTMGRP_LINK).unwrap_or_default();
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
            Ok(Self(fd))
        };
        let opened = netns.within(open).map_err(|e| NetlinkError::new(doing(), e))?;
        opened.map_err(|errno| NetlinkError::new(doing(), Cause::Socket(errno)))
    }

    /// Throws away what has been told, so that the socket is readable only after the next change.
    pub fn clear(&self) {
        // The rest of a longer message is thrown away with it.
        let mut bytes = [0; 16];
        // ENOBUFS: more was told than the buffer holds, which is no reason to read less.
        while matches!(
            recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::empty()),
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS)
        ) {}
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
