//! What can go wrong in `loopback`, and the code of each failure on the wire.

use ipnet::IpNet;
use libcni::error::{CniError, ErrorCode};
use libcni::netns::NetnsError;
use linuxnet::NetlinkError;

/// A failure of `loopback`.
#[derive(Debug, thiserror::Error)]
pub enum LoopbackError {
    /// The container's namespace cannot be used.
    #[error("failed to open netns")]
    Netns(#[from] NetnsError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The namespace has no `lo`.
    #[error("there is no interface lo in the container")]
    Missing,
    /// `lo` has an address outside 127.0.0.0/8 and ::1.
    #[error("loopback interface found with non-loopback address \"{0}\"")]
    ForeignAddress(IpNet),
    /// CHECK: `lo` is down.
    #[error("loopback interface is down")]
    Down,
}

impl CniError for LoopbackError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Netns(_) => ErrorCode::INVALID_ENVIRONMENT,
            Self::Netlink(_) | Self::Missing | Self::ForeignAddress(_) | Self::Down => ErrorCode::INTERNAL,
        }
    }
}
