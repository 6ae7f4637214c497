//! What can go wrong in `vlan`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply};
use libcni::types::ConfigError;
use linuxnet::attach::AttachError;

/// A failure of `vlan`.
#[derive(Debug, thiserror::Error)]
pub enum VlanError {
    /// What all plugins with an interface do failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration names no master.
    #[error("\"master\" field is required. It specifies the host interface name to create the VLAN for")]
    NoMaster,
}

impl CniError for VlanError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Attach(e) => e.code(),
            Self::Config(e) => e.code(),
            Self::NoMaster => ErrorCode::INVALID_CONFIG,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Attach(e) => e.reply(),
            Self::Config(e) => e.reply(),
            Self::NoMaster => ErrorReply::new(self.code(), self.to_string(), ""),
        }
    }
}
