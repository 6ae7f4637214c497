//! What can go wrong in `vxlan-delegate`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::plugin::DelegateError;
use libcni::socket::AskError;
use libcni::store::StoreError;
use libcni::types::ConfigError;
use linuxnet::attach::AttachError;

use crate::subnet::SubnetFileError;

/// A failure of `vxlan-delegate`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node has no subnet yet. The runtime tries again.
    #[error(transparent)]
    NotReady(SubnetFileError),
    /// STATUS: the node has no subnet.
    #[error(transparent)]
    NoSubnet(SubnetFileError),
    /// STATUS: overlayd says that this node is not ready, and why.
    #[error("the overlay is not ready on this node: {0}")]
    OverlayNotReady(String),
    /// STATUS: overlayd has been here, and does not answer.
    #[error("overlayd cannot be asked whether the overlay is ready on this node (hint: see what it logs)")]
    OverlaydSilent(#[source] AskError),
    /// STATUS: what ADD has to remember cannot be written.
    #[error("\"dataDir\" is not writable, so that no attachment could be made")]
    NotWritable(#[source] StoreError),
    /// The container's interface is there already, or its namespace is not.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The cache cannot be read or written.
    #[error("the delegate's configuration cannot be kept")]
    Cache(#[from] StoreError),
    /// The delegate failed; its error is passed on unchanged.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// GC went on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<Error>),
}

impl CniError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Attach(e) => e.code(),
            Self::Delegate(e) => e.code(),
            Self::NotReady(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::NoSubnet(_) | Self::NotWritable(_) | Self::OverlayNotReady(_) | Self::OverlaydSilent(_) => {
                ErrorCode::PLUGIN_NOT_AVAILABLE
            }
            Self::Cache(_) | Self::Several(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            Self::Attach(e) => e.reply(),
            Self::Delegate(e) => e.reply(),
            Self::NotReady(_)
            | Self::NoSubnet(_)
            | Self::OverlayNotReady(_)
            | Self::OverlaydSilent(_)
            | Self::NotWritable(_)
            | Self::Cache(_)
            | Self::Several(_) => ErrorReply::of(self),
        }
    }
}
