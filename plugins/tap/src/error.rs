//! What can go wrong in `tap`, and the code of each failure on the wire.

use std::io;

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::netns::NetnsError;
use libcni::plugin::DelegateError;
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;
use linuxnet::link::{LinkError, TapError};

/// A failure of `tap`.
#[derive(Debug, thiserror::Error)]
pub enum TapPluginError {
    /// What all plugins with an interface do failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The device cannot be made.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// STATUS: no device can be made.
    #[error("no ADD can succeed now: {0}")]
    Unavailable(Box<TapPluginError>),
    /// `selinuxContext` on a host without SELinux.
    #[error(
        "cannot give the tap device the SELinux context \"{0}\": SELinux is not enabled on this host (hint: remove \
         \"selinuxContext\")"
    )]
    NoSelinux(String),
    /// SELinux refused, or the device could not be made under the context.
    #[error("cannot create tap device {name} with the SELinux context \"{context}\"")]
    Selinux {
        /// The device.
        name: String,
        /// The context.
        context: String,
        /// Why.
        source: io::Error,
    },
    /// The container has no such bridge.
    #[error("failed to get bridge {0}: the container has no link of this name")]
    NoBridge(String),
    /// The link cannot be made, or the bridge is none.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The container's namespace cannot be entered.
    #[error("cannot create a tap device in the container")]
    Netns(#[from] NetnsError),
    /// IPAM failed; its error is passed on unchanged.
    #[error(transparent)]
    Ipam(#[from] DelegateError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Work that goes on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<TapPluginError>),
}

impl CniError for TapPluginError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Attach(e) => e.code(),
            Self::Config(e) => e.code(),
            Self::Ipam(e) => e.code(),
            Self::NoSelinux(_) | Self::NoBridge(_) | Self::Link(LinkError::NotABridge { .. }) => {
                ErrorCode::INVALID_CONFIG
            }
            Self::Unavailable(_) => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::Tap(_)
            | Self::Selinux { .. }
            | Self::Link(_)
            | Self::Netns(_)
            | Self::Netlink(_)
            | Self::Several(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Attach(e) => e.reply(),
            Self::Config(e) => e.reply(),
            Self::Ipam(e) => e.reply(),
            Self::Unavailable(e) => ErrorReply::new(self.code(), self.to_string(), e.reply().details),
            _ => ErrorReply::of(self),
        }
    }
}
