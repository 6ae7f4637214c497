//! The blocking socket, the framing of messages, and the kernel's acknowledgements.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, SndBuf, SndBufForce};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, send, setsockopt, socket,
};

use super::{align, find, text};
use crate::error::{Cause, Refusal};
use crate::sockopt;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// Larger than any datagram of the kernel: a dump's are at most 32 KiB, an acknowledgement's far smaller.
/// Never zeroed, so that pages are touched only as far as answers reach.
const RECEIVE_BYTES: usize = 64 * 1024;
/// The kernel's default send buffer is 208 KiB, and a message must be smaller than it, bookkeeping included.
const PLAIN_SEND_BYTES: usize = 96 * 1024;

/// A netlink socket of the namespace that the thread was in when it opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Socket {
    /// Opens a socket with extended acknowledgements (the kernel's words beside the number) that do not repeat
    /// the request.
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self, Errno> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        let socket = Self { fd, buffer: Vec::with_capacity(RECEIVE_BYTES), sequence: 0 };
        socket.enable(libc::NETLINK_EXT_ACK)?;
        socket.enable(libc::NETLINK_CAP_ACK)?;
        Ok(socket)
    }

    /// Switches a `SOL_NETLINK` option on.
    pub(crate) fn enable(&self, option: libc::c_int) -> Result<(), Errno> {
        self.set_option(option, 1)
    }

    /// Sets a `SOL_NETLINK` option.
    pub(crate) fn set_option(&self, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
        sockopt::set(self.as_fd(), libc::SOL_NETLINK, option, &value)
    }

    /// Has the kernel tell changes of a multicast group from now on.
    pub(crate) fn join(&self, group: u32) -> Result<(), Errno> {
        sockopt::set(self.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &group)
    }

    /// How many bytes may wait to be read, the kernel's bookkeeping included: beyond the administrator's limit where we
    /// may, within it elsewhere (in a user namespace).
    pub(crate) fn set_receive_buffer(&self, bytes: usize) -> Result<(), Errno> {
        setsockopt(&self.fd, RcvBufForce, &bytes).or_else(|_| setsockopt(&self.fd, RcvBuf, &bytes))
    }

    /// The number by which the kernel tells this socket from the namespace's others: it stands in what the kernel tells
    /// of changes that were made through it.
    pub(crate) fn port(&self) -> Result<u32, Errno> {
        let port = || getsockname::<NetlinkAddr>(self.fd.as_raw_fd()).map(|address| address.pid());
        match port()? {
            0 => {
                bind(self.fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
                port()
            }
            port => Ok(port),
        }
    }

    /// A number that no earlier message of this socket had; never 0, which is the kernel's own.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends framed messages to the kernel in one datagram.
    pub(crate) fn send(&self, messages: &[u8]) -> Result<(), Cause> {
        if messages.len() > PLAIN_SEND_BYTES {
            let wanted = messages.len().saturating_mul(2);
            // Beyond the administrator's limit where we may; within it elsewhere (in a user namespace).
            if setsockopt(&self.fd, SndBufForce, &wanted).is_err() {
                setsockopt(&self.fd, SndBuf, &wanted).map_err(Cause::Socket)?;
            }
        }
        loop {
            match send(self.fd.as_raw_fd(), messages, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Cause::Socket(errno)),
            }
        }
    }

    /// The messages of the kernel's next datagram.
    ///
    /// The kernel answers a request before `send` returns, and goes on with a dump before this returns; so an answer
    /// that is not there will never come, and this is an error instead of an endless wait.
    pub(crate) fn receive(&mut self) -> Result<impl Iterator<Item = Message<'_>>, Cause> {
        self.try_receive()?.ok_or(Cause::Answer("none"))
    }

    /// As [`Socket::receive`]; `None` if there is no datagram now.
    pub(crate) fn try_receive(&mut self) -> Result<Option<impl Iterator<Item = Message<'_>>>, Cause> {
        loop {
            match self.receive_once() {
                Ok(()) => return Ok(Some(messages(&self.buffer))),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EMSGSIZE) => return Err(Cause::Answer("a datagram of more than 64 KiB")),
                Err(errno) => return Err(Cause::Socket(errno)),
            }
        }
    }

    /// Fills the buffer with the next datagram. `EMSGSIZE`: it is larger.
    fn receive_once(&mut self) -> Result<(), Errno> {
        self.buffer.clear();
        let room = self.buffer.spare_capacity_mut();
        // MSG_TRUNC: the datagram's true length, also where it does not fit.
        let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        // SAFETY: pointer and length are those of `room`, which outlives the call; the kernel only writes there.
        let answer = unsafe { libc::recv(self.fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), flags) };
        let length = usize::try_from(Errno::result(answer)?).unwrap_or_default();
        if length > room.len() {
            return Err(Errno::EMSGSIZE);
        }
        // SAFETY: the kernel has written the first `length` bytes of the buffer, and they fit.
        unsafe { self.buffer.set_len(length) };
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Appends one message to `out`: header, the protocol's own header, attributes.
pub(crate) fn frame(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, head: &[u8], attributes: &[u8]) {
    let length = HEADER + align(head.len()) + attributes.len();
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&[0; 4]); // port: the kernel fills in ours
    out.extend_from_slice(head);
    out.resize(align(out.len()), 0);
    out.extend_from_slice(attributes);
    out.resize(align(out.len()), 0);
}

/// One message of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// What a message means to the one who waits for an answer.
#[derive(Debug)]
pub(crate) enum Reply<'a> {
    /// An object.
    Data(&'a [u8]),
    /// The request is done, or its dump is complete.
    Done,
    /// The request, or its dump half-way, failed.
    Refused(Refusal),
}

impl<'a> Message<'a> {
    /// `NLM_F_DUMP_INTR`: the list changed while it was read.
    pub(crate) fn is_interrupted(self) -> bool {
        self.flags & u16::try_from(libc::NLM_F_DUMP_INTR).unwrap_or_default() != 0
    }

    pub(crate) fn reply(self) -> Reply<'a> {
        match i32::from(self.kind) {
            libc::NLMSG_ERROR => self.verdict(HEADER),
            libc::NLMSG_DONE => self.verdict(0),
            _ => Reply::Data(self.payload),
        }
    }

    /// The error number (negated, first word) of an acknowledgement or of the end of a dump. `skip` is the length of
    /// what stands between it and the extended attributes: the header of the request, in an acknowledgement.
    fn verdict(self, skip: usize) -> Reply<'a> {
        let number = self.payload.first_chunk().map_or(0, |word| i32::from_ne_bytes(*word));
        if number >= 0 {
            return Reply::Done;
        }
        let said = self.payload.get(4 + skip..).unwrap_or_default();
        Reply::Refused(Refusal { errno: Errno::from_raw(-number), text: find(said, NLMSGERR_ATTR_MSG).map(text) })
    }
}

/// The attribute with the kernel's words.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The messages in a datagram. Ends at the first one that is malformed.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let flags = u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some(Message { kind, flags, sequence, payload })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_reads_back() {
        let mut out = Vec::new();
        frame(&mut out, 0x0a0c, 5, 7, &[2, 0, 0, 0], &[8, 0, 1, 0, 1, 2, 3, 4]);
        frame(&mut out, 3, 0, 8, &[], &0i32.to_ne_bytes());
        assert_eq!(out.get(..8).unwrap(), [28, 0, 0, 0, 0x0c, 0x0a, 5, 0]);
        let all: Vec<_> = messages(&out).collect();
        assert_eq!((all.len(), all[0].sequence, all[0].payload.len()), (2, 7, 12));
        assert!(matches!(all[0].reply(), Reply::Data(_)));
        assert!(matches!(all[1].reply(), Reply::Done));
    }

    #[test]
    fn the_kernels_words_are_kept() {
        // An acknowledgement as NETLINK_CAP_ACK makes it: error, the request's header, attributes.
        let mut payload = (-16i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; 16]);
        payload.extend_from_slice(&[9, 0, 1, 0, b'b', b'u', b's', b'y', 0, 0, 0, 0]);
        let message = Message { kind: 2, flags: 0x300, sequence: 1, payload: &payload };
        let Reply::Refused(refusal) = message.reply() else { panic!("no refusal") };
        assert_eq!(refusal, Refusal { errno: Errno::EBUSY, text: Some("busy".into()) });
    }

    #[test]
    fn malformed_datagrams_end_the_reading() {
        for bytes in [&[][..], &[16, 0, 0], &[15; 16], &[0; 16], &[255; 20]] {
            assert_eq!(messages(bytes).count(), 0, "{bytes:?}");
        }
    }
}
