//! What can go wrong in `tuning`, and the code of each failure on the wire. The words are the reference's where it has
//! the error too: people search for them.

use std::fmt;
use std::path::PathBuf;

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::json::FieldError;
use libcni::netns::NetnsError;
use libcni::plugin::Interrupted;
use libcni::store::StoreError;
use libcni::types::{ArgsError, ConfigError};
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;
use linuxnet::sysctl::SysctlError;
use nix::errno::Errno;

use crate::sysctl::{KeyError, is_final};

/// A failure of `tuning`.
#[derive(Debug, thiserror::Error)]
pub enum TuningError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `CNI_ARGS` is wrong.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// A key that names no sysctl of a network namespace.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Two keys, or one key twice, that name one sysctl.
    #[error("duplicated sysctl keys are not allowed: \"{one}\" and \"{other}\"")]
    SameSysctl {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
    /// The node's list does not allow a sysctl.
    #[error("Sysctl {key} is not allowed. Only the following sysctls are allowed: [{allowed}] (hint: see {path})")]
    NotAllowed {
        /// The key as it is written.
        key: String,
        /// The list's expressions.
        allowed: String,
        /// The list.
        path: &'static str,
    },
    /// The node's list cannot be understood.
    #[error("cannot understand line {line} of {path}: \"{expression}\"")]
    AllowList {
        /// The list.
        path: &'static str,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        expression: String,
        /// Why.
        source: regex_lite::Error,
    },
    /// ADD or CHECK without `prevResult`.
    #[error("Required prevResult missing (hint: put tuning after the plugin that makes the interface)")]
    PrevResultMissing,
    /// There is no interface to be tuned.
    #[error(
        "failed to get \"{0}\": the container has no such interface (hint: put tuning after the plugin that makes it)"
    )]
    NoInterface(String),
    /// A sysctl cannot be set.
    #[error("cannot set sysctl {key} to \"{value}\"{hint}")]
    Sysctl {
        /// The key as it is written.
        key: String,
        /// The value.
        value: String,
        /// The cure.
        hint: Hint,
        /// Why.
        source: SysctlError,
    },
    /// A sysctl cannot be set back.
    #[error("cannot restore what was before")]
    Restore(#[source] SysctlError),
    /// The container's namespace or interface cannot be used.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The container's namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The interface cannot be changed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// What was before cannot be kept, or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was before is not readable.
    #[error("{} does not say what was before", path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: FieldError,
    },
    /// STATUS: an ADD would fail.
    #[error("nothing can be tuned on this node")]
    Unavailable(#[source] Box<TuningError>),
    /// No sysctl can be set.
    #[error(transparent)]
    ReadOnly(SysctlError),
    /// CHECK found something else than ADD made.
    #[error("{}", .0.join("; "))]
    Differs(Vec<String>),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// DEL or GC went on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<TuningError>),
}

/// What to do about a sysctl that cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// There is no such setting.
    Missing,
    /// The kernel does not take the value.
    Value,
    /// It cannot be written.
    ReadOnly,
    /// None.
    None,
}

impl Hint {
    pub(crate) fn of(fault: &SysctlError) -> Self {
        match fault.errno() {
            Some(Errno::ENOENT) => Self::Missing,
            Some(Errno::EINVAL | Errno::ERANGE) => Self::Value,
            Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Self::ReadOnly,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                " (hint: the container's namespace has no such setting; is the name right, the kernel module loaded, \
                 and the setting one of a namespace?)"
            }
            Self::Value => " (hint: the kernel does not take this value)",
            Self::ReadOnly => " (hint: it is read-only, or /proc/sys is mounted so)",
            Self::None => "",
        })
    }
}

impl TuningError {
    /// Whether trying again is no use.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Restore(e) => is_final(e.errno()),
            Self::Netlink(e) => is_final(e.errno()),
            _ => false,
        }
    }
}

impl CniError for TuningError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Args(e) => e.code(),
            Self::Attach(e) => e.code(),
            Self::Key(_)
            | Self::SameSysctl { .. }
            | Self::NotAllowed { .. }
            | Self::AllowList { .. }
            | Self::PrevResultMissing => ErrorCode::INVALID_CONFIG,
            Self::Netns(_) => ErrorCode::INVALID_ENVIRONMENT,
            Self::Store(_) | Self::Garbled { .. } => ErrorCode::IO,
            Self::Unavailable(_) => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::NoInterface(_)
            | Self::Sysctl { .. }
            | Self::Restore(_)
            | Self::ReadOnly(_)
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
