//! What a netlink request can fail with.

use std::fmt;

use libcni::netns::NetnsError;
use nix::errno::Errno;

/// A request that failed: what we were doing, to what, and (as `source()`) why.
///
/// Its text is `cannot add element tcp . 8080 to map dnat4`; the source's text is the kernel's.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct NetlinkError {
    doing: String,
    source: Cause,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// The kernel said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The socket could not be made, or a message not sent or received.
    #[error("netlink socket: {0}")]
    Socket(Errno),
    /// The namespace to open the socket in cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The answer is not what the kernel's interface promises.
    #[error("the kernel's answer makes no sense: {0}")]
    Answer(&'static str),
    /// Other requests kept changing what was being listed.
    #[error("the list changed {0} times while it was read")]
    Unsteady(u32),
    /// The request cannot be expressed in the kernel's interface.
    #[error("{0}")]
    Request(String),
}

/// The kernel's answer to a request that it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), where it has some.
    pub text: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.errno.desc(), self.errno)?;
        self.text.as_deref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

impl std::error::Error for Refusal {}

impl NetlinkError {
    /// `doing` completes "cannot …": `"add address 10.1.0.5/16 to eth0"`.
    pub(crate) fn new(doing: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { doing: doing.into(), source: cause.into() }
    }

    /// What was being done, without "cannot".
    #[must_use]
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// The error number, if a system call or the kernel's answer gave one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match &self.source {
            Cause::Refused(refusal) => Some(refusal.errno),
            Cause::Socket(errno) => Some(*errno),
            Cause::Netns(_) | Cause::Answer(_) | Cause::Unsteady(_) | Cause::Request(_) => None,
        }
    }

    /// Whether the kernel has no such kind of netlink socket: it was built without nftables, for one.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.errno() == Some(Errno::EPROTONOSUPPORT)
    }

    /// Whether the kernel has no links of the kind that was to be made.
    #[must_use]
    pub fn is_unknown_link_kind(&self) -> bool {
        // Its words in rtnl_newlink; old kernels have none.
        let is_said = |refusal: &Refusal| refusal.text.as_deref().is_none_or(|text| text == "Unknown device type");
        matches!(&self.source, Cause::Refused(refusal) if refusal.errno == Errno::EOPNOTSUPP && is_said(refusal))
    }

    /// Whether the kernel knows no such operation (`EOPNOTSUPP`): it is older.
    #[must_use]
    pub fn is_unsupported_operation(&self) -> bool {
        self.errno() == Some(Errno::EOPNOTSUPP)
    }

    /// Whether the kernel said no. Otherwise it may have done what was asked, and the answer was lost.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.source, Cause::Refused(_))
    }

    /// Whether the object is not there: `ENOENT`, for links also `ENODEV`, for addresses and routes
    /// `EADDRNOTAVAIL` and `ESRCH`.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENOENT | Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::ESRCH))
    }

    /// Whether the object is there already (`EEXIST`).
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    /// Whether something still uses the object (`EBUSY`).
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::EBUSY)
    }

    /// Whether the request makes no sense to the kernel as things are (`EINVAL`).
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.errno() == Some(Errno::EINVAL)
    }

    /// Whether the caller lacks the privilege (`EPERM`).
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.errno() == Some(Errno::EPERM)
    }

    /// Whether the namespace to work in is gone, which DEL treats as success.
    #[must_use]
    pub fn is_netns_gone(&self) -> bool {
        matches!(&self.source, Cause::Netns(gone) if gone.is_not_found())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn says_what_and_why_in_two_levels() {
        let refusal = Refusal { errno: Errno::EEXIST, text: Some("already there".into()) };
        let error = NetlinkError::new("add element tcp . 8080 to map dnat4", refusal);
        assert_eq!(error.to_string(), "cannot add element tcp . 8080 to map dnat4");
        assert_eq!(error.source().unwrap().to_string(), "File exists (EEXIST): already there");
        assert!(error.is_exists() && !error.is_not_found() && !error.is_busy());
    }
}
