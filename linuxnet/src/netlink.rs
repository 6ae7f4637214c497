//! The routing socket (rtnetlink): one request, several in one send, and dumps.

mod each;
mod events;
mod notices;

use libcni::netns::Netns;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockProtocol;

use crate::error::{Cause, NetlinkError};
use crate::nl::{Attributes, DUMP_ATTEMPTS, Reply, Socket, frame};
use crate::packet::{self, Emitable};

pub use each::Failure;
pub use notices::{Notice, Notices};

pub use crate::nl::Stop;

/// The most messages of a batch in one send. Each may be answered by an error of some 800 bytes of the kernel's
/// accounting, and all of them must fit the receive buffer (208 KiB by default) at once.
const BATCH_MESSAGES: usize = 100;

/// Flags of netlink(7) for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Changes or removes what exists.
    Change,
    /// Creates; what exists already is an error if the kernel can tell (`NLM_F_EXCL`).
    Create,
    /// Creates without `NLM_F_EXCL`: another route to the same destination may exist beside it.
    Add,
    /// Creates, behind what exists.
    Append,
    /// Creates, or takes the place of what exists.
    Replace,
    /// Asks for what the kernel tells only as the news of a change (`NLM_F_ECHO`), or not at all; then the
    /// acknowledgement is the answer.
    Echo,
}

impl Mode {
    fn flags(self) -> libc::c_int {
        match self {
            Self::Change => 0,
            Self::Create => libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            Self::Add => libc::NLM_F_CREATE,
            Self::Append => libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            Self::Replace => libc::NLM_F_CREATE | libc::NLM_F_REPLACE,
            Self::Echo => libc::NLM_F_ECHO | libc::NLM_F_ACK,
        }
    }
}

/// One change to ask the kernel for, and what it is in words: `add address 10.1.0.5/16 to eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    doing: String,
    kind: u16,
    mode: Mode,
    body: Vec<u8>,
}

impl Request {
    /// `doing` completes "cannot …"; `kind` is `RTM_…`.
    pub(crate) fn new(doing: impl Into<String>, kind: u16, mode: Mode, message: &impl Emitable) -> Self {
        Self::of_bytes(doing, kind, mode, packet::bytes(message))
    }

    /// As [`Request::new`], of a message that is written already.
    pub(crate) fn of_bytes(doing: impl Into<String>, kind: u16, mode: Mode, body: Vec<u8>) -> Self {
        Self { doing: doing.into(), kind, mode, body }
    }

    /// As [`Request::new`], of the protocol's own header (`head`, of a length that is a multiple of 4) and attributes.
    pub(crate) fn of_parts(
        doing: impl Into<String>,
        kind: u16,
        mode: Mode,
        head: &[u8],
        attributes: &Attributes,
    ) -> Self {
        Self { doing: doing.into(), kind, mode, body: [head, attributes.as_bytes()].concat() }
    }

    /// What it does, in words.
    #[must_use]
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// The message without its netlink header, for tests against captured bytes.
    #[cfg(test)]
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Changes that are sent together: one system call, one acknowledgement.
///
/// It is no transaction. Each change stands for itself, and those after a failed one are done all the same; order
/// them so that they fail or do no harm then. (An address, its link up, the routes through it: without the address
/// the routes fail too.)
#[derive(Clone, Debug, Default)]
pub struct Batch {
    requests: Vec<Request>,
}

impl Batch {
    /// Nothing to do yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change.
    pub fn push(&mut self, request: Request) {
        self.requests.push(request);
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Has the kernel do it all, in order.
    ///
    /// # Errors
    /// The first change that failed, by name, with the kernel's reason.
    pub fn send(&self, netlink: &mut Netlink) -> Result<(), NetlinkError> {
        self.requests.chunks(BATCH_MESSAGES).try_for_each(|part| netlink.send(part))
    }
}

impl Extend<Request> for Batch {
    fn extend<I: IntoIterator<Item = Request>>(&mut self, requests: I) {
        self.requests.extend(requests);
    }
}

impl FromIterator<Request> for Batch {
    fn from_iter<I: IntoIterator<Item = Request>>(requests: I) -> Self {
        Self { requests: requests.into_iter().collect() }
    }
}

/// A blocking rtnetlink socket of one network namespace: it stays in the one that it was opened in. Errors carry the
/// kernel's own words, and filters of dumps are checked strictly (`NETLINK_EXT_ACK`, `NETLINK_GET_STRICT_CHK`).
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    out: Vec<u8>,
    sent: u64,
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// If the kernel makes no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        Self::open_protocol(SockProtocol::NetlinkRoute)
    }

    /// Opens a socket to another part of the kernel that speaks as rtnetlink does.
    pub(crate) fn open_protocol(protocol: SockProtocol) -> Result<Self, NetlinkError> {
        let socket =
            Socket::open(protocol).map_err(|errno| NetlinkError::new("open a netlink socket", Cause::Socket(errno)))?;
        // Before Linux 4.20 there is no such option, and filters of dumps are ignored: readers filter again.
        let _ = socket.enable(libc::NETLINK_GET_STRICT_CHK);
        Ok(Self { socket, out: Vec::with_capacity(1024), sent: 0 })
    }

    /// Opens a socket in `netns`; the calling thread is back in its own namespace afterwards.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or the kernel makes no socket.
    pub fn open_in(netns: &Netns) -> Result<Self, NetlinkError> {
        let doing = || format!("open a netlink socket in network namespace \"{}\"", netns.path().display());
        netns.within(Self::open).map_err(|e| NetlinkError::new(doing(), e))?
    }

    /// Has the kernel do one thing.
    ///
    /// # Errors
    /// The request in words, with the kernel's reason as source.
    pub fn run(&mut self, request: Request) -> Result<(), NetlinkError> {
        self.send(&[request])
    }

    /// Has the kernel do several things in one send.
    fn send(&mut self, requests: &[Request]) -> Result<(), NetlinkError> {
        let mut first = None;
        self.exchange(requests, |_, error| {
            first.get_or_insert(error);
        })?;
        first.map_or(Ok(()), Err)
    }

    /// Has the kernel do several things in one send, and tells each that failed by its place. The kernel answers every
    /// failure, and success only where it is asked to: so the last message alone asks, and its answer is the end.
    fn exchange(
        &mut self,
        requests: &[Request],
        mut failed: impl FnMut(usize, NetlinkError),
    ) -> Result<(), NetlinkError> {
        let ([first, ..], Some(last)) = (requests, requests.last()) else { return Ok(()) };
        self.out.clear();
        let first_sequence = self.frame(first, requests.len() == 1);
        for (at, request) in requests.iter().enumerate().skip(1) {
            self.frame(request, at + 1 == requests.len());
        }
        let fault = |request: &Request, cause: Cause| NetlinkError::new(request.doing.as_str(), cause);
        self.socket.send(&self.out).map_err(|cause| fault(first, cause))?;
        loop {
            let messages = self.socket.receive().map_err(|cause| fault(last, cause))?;
            for message in messages {
                let at = usize::try_from(message.sequence.wrapping_sub(first_sequence)).unwrap_or(usize::MAX);
                let Some(request) = requests.get(at) else { continue };
                match message.reply() {
                    Reply::Refused(refusal) => failed(at, fault(request, refusal.into())),
                    Reply::Done => {}
                    Reply::Data(_) => continue,
                }
                if std::ptr::eq(request, last) {
                    return Ok(());
                }
            }
        }
    }

    /// Appends `request` to what is sent next, and gives its sequence number.
    fn frame(&mut self, request: &Request, acknowledge: bool) -> u32 {
        let sequence = self.socket.next_sequence();
        self.sent += 1;
        let ack = if acknowledge { libc::NLM_F_ACK } else { 0 };
        let flags = libc::NLM_F_REQUEST | request.mode.flags() | ack;
        frame(&mut self.out, request.kind, flag_bits(flags), sequence, &request.body, &[]);
        sequence
    }

    /// Asks for one object. `None`: there is none.
    pub(crate) fn get<T>(
        &mut self,
        request: &Request,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let fault = |cause: Cause| NetlinkError::new(request.doing.as_str(), cause);
        self.out.clear();
        let sequence = self.socket.next_sequence();
        self.sent += 1;
        let flags = flag_bits(libc::NLM_F_REQUEST | request.mode.flags());
        frame(&mut self.out, request.kind, flags, sequence, &request.body, &[]);
        self.socket.send(&self.out).map_err(fault)?;
        loop {
            let mut messages = self.socket.receive().map_err(fault)?;
            let Some(message) = messages.find(|m| m.sequence == sequence) else { continue };
            return match message.reply() {
                Reply::Data(object) => parse(object).map(Some).ok_or_else(|| fault(Cause::Answer("it is cut off"))),
                Reply::Done => Ok(None),
                Reply::Refused(refusal) if matches!(refusal.errno, Errno::ENODEV | Errno::ENOENT) => Ok(None),
                Reply::Refused(refusal) => Err(fault(refusal.into())),
            };
        }
    }

    /// Asks for a list, and reads it again when it changed meanwhile. `parse` gives `None` for what is not wanted.
    pub(crate) fn dump<T>(
        &mut self,
        request: &Request,
        mut parse: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _attempt in 0..DUMP_ATTEMPTS {
            if let Some(objects) = self.dump_once(request, &mut parse)? {
                return Ok(objects);
            }
        }
        Err(NetlinkError::new(request.doing.as_str(), Cause::Unsteady(DUMP_ATTEMPTS)))
    }

    /// `None`: the list changed while it was read.
    fn dump_once<T>(
        &mut self,
        request: &Request,
        parse: &mut impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NetlinkError> {
        let fault = |cause: Cause| NetlinkError::new(request.doing.as_str(), cause);
        self.out.clear();
        let sequence = self.socket.next_sequence();
        self.sent += 1;
        let flags = flag_bits(libc::NLM_F_REQUEST | libc::NLM_F_DUMP);
        frame(&mut self.out, request.kind, flags, sequence, &request.body, &[]);
        self.socket.send(&self.out).map_err(fault)?;
        let (mut objects, mut steady) = (Vec::new(), true);
        loop {
            for message in self.socket.receive().map_err(fault)?.filter(|m| m.sequence == sequence) {
                steady &= !message.is_interrupted();
                match message.reply() {
                    Reply::Data(object) => objects.extend(parse(object)),
                    Reply::Done => return Ok(steady.then_some(objects)),
                    // The kernel was stopped by a signal before it began (netlink_rcv_skb, EINTR).
                    Reply::Refused(refusal) if refusal.errno == Errno::EINTR => return Ok(None),
                    Reply::Refused(refusal) => return Err(fault(refusal.into())),
                }
            }
        }
    }
}

fn flag_bits(flags: libc::c_int) -> u16 {
    u16::try_from(flags).unwrap_or_default()
}
