//! What can go wrong in the plugin. (What can go wrong in the daemon while it serves a call, it replies: see
//! `protocol.rs`.)

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use libcni::error::{CniError, ErrorCode, ErrorReply};
use libcni::plugin::Interrupted;
use libcni::store::StoreError;
use libcni::types::ConfigError;

/// What went wrong in `dhcp`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no `ipam` in the configuration.
    #[error("IPAM config missing 'ipam' key")]
    IpamMissing,
    /// Nobody listens at the daemon's socket.
    #[error("error dialing DHCP daemon at {} (hint: start `dhcp daemon`, as by systemctl enable --now cni-dhcp.socket)", socket.display())]
    Dial {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon was reached, and the conversation broke off.
    #[error("the DHCP daemon at {} gave no answer", socket.display())]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What listens there does not speak our protocol.
    #[error("what listens at {} is not this plugin's daemon: {found} (hint: stop it and start `dhcp daemon` of the same release)", socket.display())]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// How it shows.
        found: String,
    },
    /// The daemon failed; its words are passed on.
    #[error(transparent)]
    Daemon(ErrorReply),
    /// CHECK: the container has another address than the lease.
    #[error("the lease is of {lease}, which is not in prevResult")]
    OtherAddress {
        /// The lease's.
        lease: IpAddr,
    },
    /// The working directory is gone, so that a relative `CNI_NETNS` means nothing.
    #[error("cannot make CNI_NETNS {} absolute", path.display())]
    RelativeNetns {
        /// `CNI_NETNS`.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The note for an absent daemon cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// STATUS: an ADD would fail.
    #[error("the DHCP daemon cannot be asked")]
    NotAvailable(#[source] Box<Error>),
    /// SIGTERM or SIGINT came; the daemon gives back what it got.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl CniError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::IpamMissing => ErrorCode::INVALID_CONFIG,
            Self::RelativeNetns { .. } => ErrorCode::INVALID_ENVIRONMENT,
            Self::Dial { .. } | Self::NoAnswer { .. } | Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::Daemon(reply) => reply.code,
            Self::Store(_) => ErrorCode::IO,
            Self::Foreign { .. } | Self::OtherAddress { .. } => ErrorCode::INTERNAL,
            Self::NotAvailable(_) => ErrorCode::PLUGIN_NOT_AVAILABLE,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            Self::Daemon(reply) => reply.clone(),
            _ => ErrorReply::of(self),
        }
    }
}
