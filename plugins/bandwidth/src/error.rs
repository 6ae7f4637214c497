//! What can go wrong in `bandwidth`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::netns::NetnsError;
use libcni::plugin::Interrupted;
use libcni::store::StoreError;
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;
use linuxnet::link::LinkError;

/// A failure of `bandwidth`.
#[derive(Debug, thiserror::Error)]
pub enum BandwidthError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// ADD without `prevResult`.
    #[error("must be called as chained plugin (hint: put bandwidth after the plugin that makes the interface)")]
    NotChained,
    /// CHECK without `prevResult`.
    #[error("Required prevResult missing")]
    PrevResultMissing,
    /// The container has no such interface.
    #[error("interface {0} is not in the container (hint: put bandwidth after the plugin that makes it)")]
    NoInterface(String),
    /// The container's interface has no end on the host at which it could be limited.
    #[error(
        "container interface {name} has no veth peer: it is {} (hint: bandwidth needs a network of bridge or ptp; take \
         it out of this conflist, or limit the interface's owner)",
        if kind.is_empty() { "no virtual link" } else { kind }
    )]
    NotAVeth {
        /// Its name.
        name: String,
        /// Its kind: `macvlan`, `ipvlan`, …; empty for hardware.
        kind: String,
    },
    /// The other end is somewhere else.
    #[error(
        "veth peer of container interface {name} is not in host ns (hint: bandwidth has to run in the network namespace \
         of the interface's other end)"
    )]
    PeerElsewhere {
        /// The container's interface.
        name: String,
    },
    /// Both names for the link that limits what the container sends are taken.
    #[error("cannot create ifb {0}: the host has a link of this name that is not this attachment's (hint: remove it)")]
    NameTaken(String),
    /// Another queueing discipline is where the token bucket has to be.
    #[error(
        "cannot limit {link}: it has a queueing discipline {kind} already (hint: tc qdisc del dev {link} root, if nobody \
         needs it)"
    )]
    OtherQueue {
        /// The host's end of the container's link.
        link: String,
        /// The kind of queueing discipline.
        kind: String,
    },
    /// A link cannot be made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The container's namespace cannot be used.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// This namespace cannot be opened.
    #[error("cannot open the network namespace of the host")]
    Netns(#[from] NetnsError),
    /// This namespace cannot be locked.
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
    /// DEL or GC went on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<BandwidthError>),
}

impl CniError for BandwidthError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Attach(e) => e.code(),
            Self::NotChained | Self::PrevResultMissing | Self::NoInterface(_) | Self::NotAVeth { .. } => {
                ErrorCode::INVALID_CONFIG
            }
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::PeerElsewhere { .. }
            | Self::NameTaken(_)
            | Self::OtherQueue { .. }
            | Self::Link(_)
            | Self::Netns(_)
            | Self::Lock(_)
            | Self::Netlink(_)
            | Self::Differs(_)
            | Self::Several(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            Self::Attach(e) => e.reply(),
            _ => ErrorReply::of(self),
        }
    }
}
