//! The nfnetlink socket: questions about one object, and dumps.

use libcni::netns::Netns;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockProtocol;

use super::removal::Removal;
use crate::error::{Cause, NetlinkError, Refusal};
use crate::nl::{Attributes, DUMP_ATTEMPTS, Reply, Socket, frame};

/// `struct nfgenmsg`: family, version, resource.
const GENERIC_HEADER: usize = 4;

/// A blocking socket to the kernel's netfilter, for nftables and for connection tracking.
///
/// It stays in the namespace that it was opened in. Closing it after a transaction that deleted something waits for an
/// RCU grace period (8 to 16 ms): keep it until the process ends.
#[derive(Debug)]
pub struct Nfnetlink {
    pub(super) socket: Socket,
    pub(super) removal: Removal,
}

/// A question about one object, or for a list.
pub(crate) struct Request<'a> {
    /// The part of netfilter: `NFNL_SUBSYS_*`.
    pub(crate) subsystem: u16,
    /// The message, within the part.
    pub(crate) message: u16,
    /// `NFPROTO_*`.
    pub(crate) family: u8,
    /// `NFNETLINK_V0`, or `NFNETLINK_V1` where a part of netfilter makes a difference.
    pub(crate) version: u8,
    /// The message's attributes.
    pub(crate) attributes: &'a Attributes,
}

impl Request<'_> {
    fn frame(&self, flags: i32, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        let flags = u16::try_from(flags).unwrap_or_default();
        let kind = self.subsystem << 8 | self.message;
        frame(
            &mut bytes,
            kind,
            flags,
            sequence,
            &generic_header(self.family, self.version, 0),
            self.attributes.as_bytes(),
        );
        bytes
    }
}

/// `struct nfgenmsg`.
pub(super) fn generic_header(family: u8, version: u8, resource: u16) -> [u8; GENERIC_HEADER] {
    let [high, low] = resource.to_be_bytes();
    [family, version, high, low]
}

impl Nfnetlink {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// Where the kernel lacks nfnetlink.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = Socket::open(SockProtocol::NetlinkNetFilter)
            .map_err(|errno| NetlinkError::new("open a netfilter socket", Cause::Socket(errno)))?;
        Ok(Self { socket, removal: Removal::of_kernel() })
    }

    /// As [`Nfnetlink::open`]. `None`: the kernel has no nftables, and so holds none of its rules.
    ///
    /// # Errors
    /// If it has and makes no socket.
    pub fn open_if_supported() -> Result<Option<Self>, NetlinkError> {
        match Self::open() {
            Err(e) if e.is_unsupported() => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens a socket in that namespace.
    ///
    /// # Errors
    /// As [`Nfnetlink::open`], and if the namespace cannot be entered.
    pub fn open_in(netns: &Netns) -> Result<Self, NetlinkError> {
        netns.within(Self::open).map_err(|error| NetlinkError::new("open a netfilter socket", error))?
    }

    /// Chooses how things are removed, instead of by the kernel's version: for tests.
    pub fn set_removal(&mut self, removal: Removal) {
        self.removal = removal;
    }

    /// How things are removed.
    #[must_use]
    pub fn removal(&self) -> Removal {
        self.removal
    }

    /// Asks for one object; `None` if it is not there. `read` gets the family and the attributes of the answer.
    pub(crate) fn find<T>(
        &mut self,
        request: &Request<'_>,
        read: impl FnOnce(u8, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, Cause> {
        let sequence = self.socket.next_sequence();
        self.socket.send(&request.frame(libc::NLM_F_REQUEST, sequence))?;
        loop {
            let mut messages = self.socket.receive()?;
            let Some(message) = messages.find(|m| m.sequence == sequence) else { continue };
            return match message.reply() {
                Reply::Data(payload) => split(payload)
                    .and_then(|(family, attributes)| read(family, attributes))
                    .ok_or(Cause::Answer("another object than the one asked for"))
                    .map(Some),
                Reply::Done => Ok(None),
                Reply::Refused(Refusal { errno: Errno::ENOENT, .. }) => Ok(None),
                Reply::Refused(refusal) => Err(refusal.into()),
            };
        }
    }

    /// Has one thing done and waits for the acknowledgement.
    pub(crate) fn request(&mut self, request: &Request<'_>) -> Result<(), Cause> {
        let sequence = self.socket.next_sequence();
        self.socket.send(&request.frame(libc::NLM_F_REQUEST | libc::NLM_F_ACK, sequence))?;
        loop {
            for message in self.socket.receive()?.filter(|m| m.sequence == sequence) {
                match message.reply() {
                    Reply::Data(_) => {}
                    Reply::Done => return Ok(()),
                    Reply::Refused(refusal) => return Err(refusal.into()),
                }
            }
        }
    }

    /// Lists objects; what `read` gives `None` for is left out. A list that changed while it was read is read again.
    /// What is listed in a place that does not exist is nothing.
    pub(crate) fn dump<T, I: IntoIterator<Item = T>>(
        &mut self,
        request: &Request<'_>,
        mut read: impl FnMut(u8, &[u8]) -> I,
    ) -> Result<Vec<T>, Cause> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(all) = self.dump_once(request, &mut read)? {
                return Ok(all);
            }
        }
        Err(Cause::Unsteady(DUMP_ATTEMPTS))
    }

    /// `None`: the list changed meanwhile.
    fn dump_once<T, I: IntoIterator<Item = T>>(
        &mut self,
        request: &Request<'_>,
        read: &mut impl FnMut(u8, &[u8]) -> I,
    ) -> Result<Option<Vec<T>>, Cause> {
        let sequence = self.socket.next_sequence();
        self.socket.send(&request.frame(libc::NLM_F_REQUEST | libc::NLM_F_DUMP, sequence))?;
        let (mut all, mut steady) = (Vec::new(), true);
        loop {
            for message in self.socket.receive()?.filter(|m| m.sequence == sequence) {
                steady &= !message.is_interrupted();
                match message.reply() {
                    Reply::Data(payload) => {
                        if let Some((family, attributes)) = split(payload) {
                            all.extend(read(family, attributes));
                        }
                    }
                    Reply::Done => return Ok(steady.then_some(all)),
                    Reply::Refused(Refusal { errno: Errno::ENOENT, .. }) => return Ok(Some(Vec::new())),
                    Reply::Refused(Refusal { errno: Errno::EINTR, .. }) => return Ok(None),
                    Reply::Refused(refusal) => return Err(refusal.into()),
                }
            }
        }
    }
}

/// The family and the attributes of a message.
fn split(payload: &[u8]) -> Option<(u8, &[u8])> {
    Some((*payload.first()?, payload.get(GENERIC_HEADER..)?))
}
