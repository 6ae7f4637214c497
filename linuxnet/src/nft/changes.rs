//! What the kernel tells of changes to nftables.

use nix::sys::socket::SockProtocol;

use super::Nfnetlink;
use crate::error::{Cause, NetlinkError};
use crate::netlink::Stop;
use crate::nl::Listener;

/// The message at the end of each transaction (`NFT_MSG_NEWGEN`).
const NEW_GENERATION: u16 = 0x0a << 8 | 15;
/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// Hears of nftables transactions in a namespace (`nft monitor`, of which only the last line of each transaction). Which
/// table one changed is not told: whoever has one looks whether it is as it should be.
#[derive(Debug)]
pub struct Changes(Listener);

impl Changes {
    /// Hears from now on, in the calling thread's namespace. `ours`: what is done through this socket is not told. Up to
    /// `receive_bytes` may wait to be read, each transaction with about a kilobyte.
    ///
    /// # Errors
    /// Where the kernel lacks nfnetlink.
    pub fn open(ours: &Nfnetlink, receive_bytes: usize) -> Result<(Self, Stop), NetlinkError> {
        let open = || {
            let (listener, stop) = Listener::open(SockProtocol::NetlinkNetFilter, &[GROUP], receive_bytes)?;
            listener.ignore(&[ours.socket.port()?], Some(NEW_GENERATION))?;
            Ok((Self(listener), stop))
        };
        open().map_err(|errno| NetlinkError::new("listen to changes of nftables", Cause::Socket(errno)))
    }

    /// Waits for a change. Those that there are by then count as one, those that were lost, too. False: the [`Stop`] was
    /// dropped.
    ///
    /// # Errors
    /// If the kernel cannot be heard.
    pub fn wait(&mut self) -> Result<bool, NetlinkError> {
        let heard = self.0.hear(|_| {});
        heard.map_err(|cause| NetlinkError::new("hear of changes of nftables", cause))
    }
}
