//! What can go wrong in `sbr`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::plugin::Interrupted;
use libcni::store::StoreError;
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;

/// A failure of `sbr`.
#[derive(Debug, thiserror::Error)]
pub enum SbrError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// ADD or CHECK without `prevResult`.
    #[error("This plugin must be called as chained plugin (hint: put sbr after the plugin that makes the interface)")]
    NotChained,
    /// The interface has no address in `prevResult`.
    #[error("No IP addresses supplied on interface: {0} (hint: sbr needs an IPAM plugin before it in the chain)")]
    NoAddresses(String),
    /// The container has no such interface.
    #[error("Cannot find network interface {0}")]
    NoInterface(String),
    /// Every number of a table is taken.
    #[error("every routing table is in use")]
    NoFreeTable,
    /// The kernel knows no rules.
    #[error(
        "the kernel has no policy routing (hint: it needs CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES)"
    )]
    NoPolicyRouting,
    /// The container's namespace cannot be used.
    #[error(transparent)]
    Sandbox(#[from] AttachError),
    /// The container's namespace cannot be locked.
    #[error(transparent)]
    Lock(#[from] StoreError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// CHECK found something else than ADD made.
    #[error("{0}")]
    Differs(String),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// DEL or CHECK went on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<SbrError>),
}

impl CniError for SbrError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Sandbox(e) => e.code(),
            Self::NotChained | Self::NoAddresses(_) => ErrorCode::INVALID_CONFIG,
            Self::NoPolicyRouting => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::NoInterface(_)
            | Self::NoFreeTable
            | Self::Lock(_)
            | Self::Netlink(_)
            | Self::Differs(_)
            | Self::Several(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            Self::Sandbox(e) => e.reply(),
            _ => ErrorReply::of(self),
        }
    }
}
