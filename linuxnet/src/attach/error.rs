//! What can go wrong in what all plugins with an interface do.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::netns::NetnsError;
use libcni::plugin::{DelegateError, Interrupted};
use libcni::types::{ArgsError, ConfigError};

use crate::error::NetlinkError;
use crate::iface::{ApplyError, Difference};
use crate::link::LinkError;

use super::master::MasterError;

/// A failure of what is shared. A plugin's own error holds it as `#[error(transparent)] Attach(#[from] AttachError)`
/// and leaves its code and reply to it.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `CNI_ARGS` is wrong.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// CHECK without `prevResult`.
    #[error("Required prevResult missing")]
    PrevResultMissing,
    /// The container's namespace cannot be used.
    #[error("failed to open netns")]
    Netns(#[from] NetnsError),
    /// The link cannot be made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// There is no master to make the link on.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// STATUS: there is no master to make links on.
    #[error(transparent)]
    MasterUnavailable(MasterError),
    /// IPAM returned no address.
    #[error("IPAM plugin \"{0}\" returned missing IP config")]
    NoAddresses(String),
    /// IPAM failed; its error is passed on unchanged.
    #[error(transparent)]
    Ipam(#[from] DelegateError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The result cannot be put on the container's interface.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// CHECK found something else than ADD made.
    #[error("{0}")]
    Differs(String),
    /// CHECK found something else than ADD made, on the container's interface.
    #[error(transparent)]
    Difference(#[from] Difference),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Work that goes on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<AttachError>),
}

impl CniError for AttachError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Args(e) => e.code(),
            Self::Ipam(e) => e.code(),
            Self::Master(e) => e.code(),
            Self::MasterUnavailable(_) => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::PrevResultMissing | Self::Link(LinkError::NotABridge { .. }) => ErrorCode::INVALID_CONFIG,
            Self::Netns(_) => ErrorCode::INVALID_ENVIRONMENT,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::NoAddresses(_)
            | Self::Link(_)
            | Self::Netlink(_)
            | Self::Apply(_)
            | Self::Differs(_)
            | Self::Difference(_)
            | Self::Several(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            Self::Ipam(e) => e.reply(),
            _ => ErrorReply::of(self),
        }
    }
}
