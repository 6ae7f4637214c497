//! What can go wrong in `bridge`, and the code of each failure on the wire.

use ipnet::IpNet;
use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::netns::NetnsError;
use libcni::plugin::{DelegateError, Interrupted};
use libcni::store::StoreError;
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;
use linuxnet::iface::ApplyError;
use linuxnet::link::LinkError;
use linuxnet::masq::MasqError;
use linuxnet::sysctl::SysctlError;

/// A failure of `bridge`.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// What all plugins with an interface do failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `ipam` with `disableContainerInterface`.
    #[error("cannot use IPAM when DisableContainerInterface flag is set (hint: remove \"ipam\" or the flag)")]
    IpamOnDisabledInterface,
    /// `hairpinMode` with `promiscMode`.
    #[error("cannot set hairpin mode and promiscuous mode at the same time (hint: remove one of the two)")]
    HairpinAndPromiscuous,
    /// The host's own namespace cannot be opened.
    #[error("cannot open the host's network namespace")]
    HostNetns(#[from] NetnsError),
    /// The bridge or the veth cannot be made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The bridge has another address.
    #[error(
        "\"{bridge}\" already has an IP address different from {wanted}: {found} (hint: set \"forceAddress\": true to replace it)"
    )]
    OtherAddress {
        /// The bridge.
        bridge: String,
        /// The gateway's address.
        wanted: IpNet,
        /// The address in its place.
        found: IpNet,
    },
    /// IPAM failed; its error is passed on unchanged.
    #[error(transparent)]
    Ipam(#[from] DelegateError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A sysctl cannot be read or written.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The namespace cannot be locked.
    #[error(transparent)]
    Lock(#[from] StoreError),
    /// The result cannot be put on the container's interface.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The masquerade cannot be set up, verified or removed.
    #[error(transparent)]
    Masquerade(#[from] MasqError),
    /// The MAC spoof check cannot be set up or removed.
    #[error("cannot {action} the MAC spoof check")]
    SpoofCheck {
        /// `set up`, `verify` or `remove`.
        action: &'static str,
        /// Why.
        source: NetlinkError,
    },
    /// CHECK found something else than ADD made.
    #[error("{0}")]
    Differs(String),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// DEL or GC went on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<BridgeError>),
}

impl BridgeError {
    /// `action`: `set up`, `verify` or `remove`.
    pub(crate) fn spoof(action: &'static str, source: NetlinkError) -> Self {
        Self::SpoofCheck { action, source }
    }
}

impl CniError for BridgeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Attach(e) => e.code(),
            Self::Config(e) => e.code(),
            Self::Ipam(e) => e.code(),
            Self::IpamOnDisabledInterface
            | Self::HairpinAndPromiscuous
            | Self::Link(LinkError::NotABridge { .. })
            | Self::OtherAddress { .. } => ErrorCode::INVALID_CONFIG,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::HostNetns(_)
            | Self::Link(_)
            | Self::Netlink(_)
            | Self::Sysctl(_)
            | Self::Lock(_)
            | Self::Apply(_)
            | Self::Masquerade(_)
            | Self::SpoofCheck { .. }
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
