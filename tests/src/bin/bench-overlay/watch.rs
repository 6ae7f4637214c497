//! What the kernel says of IPv4 routes as they come and go: the proof that a node is reached, by nobody but the kernel.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{RTA_DST, RTM_DELROUTE, RTM_NEWROUTE};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv};
use nix::sys::socket::{setsockopt, socket, sockopt};

/// `RTNLGRP_IPV4_ROUTE` of linux/rtnetlink.h, as a bit.
const IPV4_ROUTES: u32 = 1 << (7 - 1);
/// What the daemon marks its routes with.
const PROTOCOL: u8 = 79;
/// In bytes; more than the kernel gives to those without privileges.
const BUFFER: usize = 64 << 20;
/// `struct nlmsghdr` and `struct rtmsg`, in bytes.
const HEADERS: usize = 16 + 12;

/// A route of the daemon that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Change {
    /// The destination's base.
    pub(crate) to: Ipv4Addr,
    pub(crate) is_there: bool,
}

/// What was heard.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    Route(Change, Instant),
    /// The kernel had more to say than this program could take in time.
    Lost,
}

/// A listener. Its thread ends with the process.
#[derive(Debug)]
pub(crate) struct Watch(Receiver<Heard>);

impl Watch {
    /// Listens from now on, in this thread's network namespace.
    pub(crate) fn start() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        // The first is for those who may, the second gives what everybody may have.
        if setsockopt(&listener, sockopt::RcvBufForce, &BUFFER).is_err() {
            setsockopt(&listener, sockopt::RcvBuf, &BUFFER)?;
        }
        bind(listener.as_raw_fd(), &NetlinkAddr::new(0, IPV4_ROUTES))?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || while listen(&listener, |heard| sender.send(heard).is_ok()) {});
        Ok(Self(receiver))
    }

    /// The next that is heard; `None` after this long.
    pub(crate) fn next(&self, patience: Duration) -> Option<Heard> {
        self.0.recv_timeout(patience).ok()
    }

    /// What was heard until now is of no interest.
    pub(crate) fn forget(&self) {
        while self.0.try_recv().is_ok() {}
    }
}

/// Takes what comes at once; whether anybody wants more.
fn listen(listener: &OwnedFd, mut tell: impl FnMut(Heard) -> bool) -> bool {
    let mut buffer = [0; 32 << 10];
    match recv(listener.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Ok(length) => {
            let now = Instant::now();
            changes(buffer.get(..length).unwrap_or_default()).into_iter().all(|change| tell(Heard::Route(change, now)))
        }
        Err(Errno::ENOBUFS) => tell(Heard::Lost),
        Err(Errno::EINTR) => true,
        Err(_) => false,
    }
}

/// The daemon's routes among these messages.
fn changes(mut messages: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some(length) = messages.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes) as usize) {
        let Some(message) = messages.get(..length).filter(|message| message.len() >= HEADERS) else { break };
        changes.extend(change(message));
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    changes
}

/// `None`: it is not the daemon's.
fn change(message: &[u8]) -> Option<Change> {
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let is_there = match kind {
        RTM_NEWROUTE => true,
        RTM_DELROUTE => false,
        _ => return None,
    };
    if *message.get(16 + 5)? != PROTOCOL {
        return None;
    }
    let mut attributes = message.get(HEADERS..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        if kind == RTA_DST {
            return Some(Change { to: Ipv4Addr::from(*attributes.get(4..)?.first_chunk::<4>()?), is_there });
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}
