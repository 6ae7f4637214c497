//! A socket that only hears what the kernel tells unasked.

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockProtocol;

use super::{Message, Socket};
use crate::bpf;
use crate::error::Cause;

/// How many datagrams are read before the caller hears of it: what comes faster than it is read must not keep it back.
const AT_ONCE: usize = 4096;

/// Ends, when it is dropped, the waiting of what it belongs to.
#[derive(Debug)]
pub struct Stop {
    _end: PipeWriter,
}

/// A socket in some multicast groups of netlink.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    stop: PipeReader,
}

/// What the kernel told.
pub(crate) enum Heard<'a> {
    Message(Message<'a>),
    /// Something was lost: there was more than the socket holds.
    Lost,
}

impl Listener {
    /// Hears `groups` in the calling thread's namespace; a group that the kernel does not know tells nothing. See
    /// [`Socket::set_receive_buffer`] for `receive_bytes`.
    pub(crate) fn open(protocol: SockProtocol, groups: &[u32], receive_bytes: usize) -> Result<(Self, Stop), Errno> {
        let socket = Socket::open(protocol)?;
        socket.set_receive_buffer(receive_bytes)?;
        // A socket without a port, which the kernel gives at the first request or here, counts as the kernel's own: it is
        // not told what the kernel does by itself.
        socket.port()?;
        for group in groups {
            match socket.join(*group) {
                Err(Errno::EINVAL) => {}
                done => done?,
            }
        }
        let (stop, end) = pipe().map_err(|e| e.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))?;
        Ok((Self { socket, stop }, Stop { _end: end }))
    }

    /// Lets the kernel keep what was done through the sockets with these ports, and all but messages of type `kind`.
    pub(crate) fn ignore(&self, ports: &[u32], kind: Option<u16>) -> Result<(), Errno> {
        bpf::attach(self.socket.as_fd(), &mut bpf::messages_of_others(ports, kind))
    }

    /// Waits until there is something, and tells all that there is then. False: [`Stop`] was dropped.
    pub(crate) fn hear(&mut self, mut tell: impl FnMut(Heard<'_>)) -> Result<bool, Cause> {
        if !self.wait()? {
            return Ok(false);
        }
        for _datagram in 0..AT_ONCE {
            match self.socket.try_receive() {
                Ok(Some(messages)) => messages.for_each(|message| tell(Heard::Message(message))),
                Ok(None) => break,
                Err(Cause::Socket(Errno::ENOBUFS)) => tell(Heard::Lost),
                Err(cause) => return Err(cause),
            }
        }
        Ok(true)
    }

    fn wait(&self) -> Result<bool, Cause> {
        loop {
            let mut fds = [
                PollFd::new(self.stop.as_fd(), PollFlags::empty()),
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Cause::Socket(errno)),
            }
            let [stop, socket] = fds.map(|fd| fd.any().unwrap_or_default());
            if stop || socket {
                return Ok(!stop);
            }
        }
    }
}
