//! Netlink itself: the socket, message framing, attributes. What the messages mean is the business of the modules above.
//!
//! The wire is linux/netlink.h: messages with a 16-byte header, aligned to 4; attributes of length, type, payload,
//! aligned to 4; host byte order, except where a protocol says otherwise (nfnetlink's integers are big endian).

mod attributes;
mod listener;
mod socket;

pub(crate) use attributes::{Attributes, attributes, be16, be32, be64, find, ne32, ne64, text};
pub use listener::Stop;
pub(crate) use listener::{Heard, Listener};
pub(crate) use socket::{Message, Reply, Socket, frame};

/// How often a list is read again when others changed it meanwhile (`NLM_F_DUMP_INTR`). On a busy node a few times in
/// a row are nothing unusual.
pub(crate) const DUMP_ATTEMPTS: u32 = 100;

/// Rounds `length` up to netlink's alignment of 4 bytes.
const fn align(length: usize) -> usize {
    (length + 3) & !3
}
