//! What can go wrong in `vrf`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::plugin::Interrupted;
use libcni::store::StoreError;
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;

/// A failure of `vrf`.
#[derive(Debug, thiserror::Error)]
pub enum VrfError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// ADD or CHECK without `prevResult`.
    #[error("missing prevResult from earlier plugin (hint: put vrf after the plugin that makes the interface)")]
    NotChained,
    /// The container has no such interface.
    #[error("could not get link by name {0}: the container has no such interface")]
    NoInterface(String),
    /// The interface is a port of something already.
    #[error("interface {ifname} has already a master set: {master}")]
    HasMaster {
        /// The interface.
        ifname: String,
        /// What it is a port of.
        master: String,
    },
    /// Another kind of link has the VRF's name.
    #[error("Netlink {name} is not a VRF (it is {})", if kind.is_empty() { "no virtual link" } else { kind })]
    NotAVrf {
        /// The name.
        name: String,
        /// Its kind; empty for hardware and `lo`.
        kind: String,
    },
    /// The VRF is there, with another table.
    #[error(
        "VRF {name} already exist with different routing table {is}, not {wanted} (hint: networks that share a VRF \
         leave \"table\" out, or have the same)"
    )]
    OtherTable {
        /// The VRF.
        name: String,
        /// Its table.
        is: u32,
        /// The configuration's.
        wanted: u32,
    },
    /// Every number of a table is taken.
    #[error("every routing table is in use")]
    NoFreeTable,
    /// The kernel knows no VRFs.
    #[error("the kernel has no VRFs (hint: modprobe vrf; it needs CONFIG_NET_VRF)")]
    NoVrfs,
    /// STATUS: VRFs cannot be made.
    #[error("VRFs cannot be made")]
    Unavailable(#[source] NetlinkError),
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
    Several(Vec<VrfError>),
}

impl CniError for VrfError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Sandbox(e) => e.code(),
            Self::NotChained | Self::NotAVrf { .. } | Self::OtherTable { .. } => ErrorCode::INVALID_CONFIG,
            Self::NoVrfs | Self::Unavailable(_) => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::NoInterface(_)
            | Self::HasMaster { .. }
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
