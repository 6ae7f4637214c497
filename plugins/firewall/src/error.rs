//! What can go wrong in `firewall`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::plugin::Interrupted;
use libcni::store::StoreError;
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::iptables::IptablesError;

use crate::firewalld::BusError;

/// A failure of `firewall`.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// ADD or CHECK without `prevResult`.
    #[error("missing prevResult from earlier plugin (hint: put firewall after the plugin that makes the interface)")]
    PrevResultMissing,
    /// A policy is wanted for the bridge, but the result has no interfaces.
    #[error(
        "interface needs to be set for ingress policy \"{policy}\", make sure to chain \"firewall\" plugin with \"bridge\""
    )]
    NoInterface {
        /// `same-bridge` or `isolated`.
        policy: &'static str,
    },
    /// The first interface of the result has no name.
    #[error("got empty bridge name")]
    NoBridgeName,
    /// The first interface of the result is the container's, or has a name that no link can have.
    #[error(
        "ingress policy \"{policy}\" is for a bridge, but the first interface of prevResult is \"{name}\", \
         make sure to chain \"firewall\" plugin with \"bridge\""
    )]
    NoBridge {
        /// `same-bridge` or `isolated`.
        policy: &'static str,
        /// What stands in its place.
        name: String,
    },
    /// Reading or changing nftables failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// iptables failed.
    #[error(transparent)]
    Iptables(#[from] IptablesError),
    /// firewalld cannot be asked, or refused.
    #[error(transparent)]
    Firewalld(#[from] BusError),
    /// Changes of ingress policies cannot be made one after the other.
    #[error("cannot lock ingress policies against other plugins")]
    Lock(#[source] StoreError),
    /// Frames between the ports of a bridge cannot be kept apart.
    #[error(
        "cannot isolate the container from the other ports of its bridge (hint: use a kernel with nf_tables for \
         bridges, or set net.bridge.bridge-nf-call-iptables and -ip6tables to 1)"
    )]
    Frames(#[source] NetlinkError),
    /// The rule that lets containers pass iptables' chain FORWARD cannot be made.
    #[error("cannot let containers pass chain FORWARD of {place}")]
    Forward {
        /// `ip filter`, `ip6 filter`, `iptables-legacy`.
        place: String,
        /// Why.
        source: Box<FirewallError>,
    },
    /// STATUS: the backend cannot be used.
    #[error("the {backend} backend cannot be used")]
    Unavailable {
        /// `nftables`, `iptables` or `firewalld`.
        backend: &'static str,
        /// Why.
        source: Box<FirewallError>,
    },
    /// CHECK found something else than ADD made.
    #[error("{0}")]
    Differs(String),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// DEL or GC went on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<FirewallError>),
}

impl CniError for FirewallError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::PrevResultMissing | Self::NoInterface { .. } | Self::NoBridgeName | Self::NoBridge { .. } => {
                ErrorCode::INVALID_CONFIG
            }
            Self::Unavailable { .. } => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::Netlink(_)
            | Self::Iptables(_)
            | Self::Firewalld(_)
            | Self::Lock(_)
            | Self::Frames(_)
            | Self::Forward { .. }
            | Self::Differs(_)
            | Self::Several(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            _ => ErrorReply::of(self),
        }
    }
}
