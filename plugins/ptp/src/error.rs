//! What can go wrong in `ptp`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::plugin::{DelegateError, Interrupted};
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;
use linuxnet::iface::ApplyError;
use linuxnet::link::LinkError;
use linuxnet::masq::MasqError;
use linuxnet::sysctl::SysctlError;

/// A failure of `ptp`.
#[derive(Debug, thiserror::Error)]
pub enum PtpError {
    /// What all plugins with an interface do failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The veth cannot be made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// IPAM failed; its error is passed on unchanged.
    #[error(transparent)]
    Ipam(#[from] DelegateError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The host cannot be made to forward packets.
    #[error("cannot enable IP forwarding")]
    Forwarding(#[source] SysctlError),
    /// The result cannot be put on the container's interface.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The masquerade cannot be set up, verified or removed.
    #[error(transparent)]
    Masquerade(#[from] MasqError),
    /// CHECK found something else than ADD made.
    #[error("{0}")]
    Differs(String),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Work that goes on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<PtpError>),
}

impl CniError for PtpError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Attach(e) => e.code(),
            Self::Config(e) => e.code(),
            Self::Ipam(e) => e.code(),
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::Link(_)
            | Self::Netlink(_)
            | Self::Forwarding(_)
            | Self::Apply(_)
            | Self::Masquerade(_)
            | Self::Differs(_)
            | Self::Several(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Attach(e) => e.reply(),
            Self::Config(e) => e.reply(),
            Self::Ipam(e) => e.reply(),
            _ => ErrorReply::of(self),
        }
    }
}
