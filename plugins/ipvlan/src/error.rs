//! What can go wrong in `ipvlan`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply};
use libcni::types::ConfigError;
use linuxnet::attach::AttachError;

/// A failure of `ipvlan`.
#[derive(Debug, thiserror::Error)]
pub enum IpvlanError {
    /// What all plugins with an interface do failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No master is named, and the plugin before reported no interface or several.
    #[error("chained master failure. PrevResult lacks a single named interface (hint: name it by \"master\")")]
    NoChainedMaster,
}

impl CniError for IpvlanError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Attach(e) => e.code(),
            Self::Config(e) => e.code(),
            Self::NoChainedMaster => ErrorCode::INVALID_CONFIG,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Attach(e) => e.reply(),
            Self::Config(e) => e.reply(),
            Self::NoChainedMaster => ErrorReply::new(self.code(), self.to_string(), ""),
        }
    }
}
