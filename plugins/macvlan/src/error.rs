//! What can go wrong in `macvlan`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply};
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;
use linuxnet::link::MacvlanMode;

/// A failure of `macvlan`.
#[derive(Debug, thiserror::Error)]
pub enum MacvlanError {
    /// What all plugins with an interface do failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kernel refuses a macvlan on this master.
    #[error(
        "master {master} takes no macvlan in mode {mode} (hint: a macvlan in mode passthru is the only one of its master)"
    )]
    Refused {
        /// The master.
        master: String,
        /// The mode.
        mode: MacvlanMode,
        /// What the kernel says.
        source: NetlinkError,
    },
}

impl CniError for MacvlanError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Attach(e) => e.code(),
            Self::Config(e) => e.code(),
            Self::Refused { .. } => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Attach(e) => e.reply(),
            Self::Config(e) => e.reply(),
            Self::Refused { .. } => ErrorReply::of(self),
        }
    }
}
