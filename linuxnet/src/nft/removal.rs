//! How elements are taken away, which depends on the kernel's age.

use nix::sys::utsname::uname;

/// The environment variable that overrides the choice, so that tests reach the ways of older kernels: `expire`,
/// `destroy` or `delete`.
const OVERRIDE: &str = "FERRULE_NFT_REMOVAL";

/// How [`Transaction::remove_element`](super::Transaction::remove_element) and the other removals are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Linux 6.12 and later: elements are updated to expire after a millisecond. Nobody waits for an RCU grace
    /// period. Other objects as with [`Removal::Destroy`].
    Expire,
    /// Linux 6.3 and later: DESTROY messages, which do not mind absence.
    Destroy,
    /// Any kernel: look, then delete what is there; again if somebody else was faster.
    Delete,
}

impl Removal {
    /// The best way of the running kernel.
    #[must_use]
    pub fn of_kernel() -> Self {
        match std::env::var(OVERRIDE).as_deref() {
            Ok("expire") => Self::Expire,
            Ok("destroy") => Self::Destroy,
            Ok("delete") => Self::Delete,
            _ => uname().ok().and_then(|name| Self::of_release(name.release().to_str()?)).unwrap_or(Self::Delete),
        }
    }

    /// `release`: `6.12.95`, `6.1.0-13-amd64`.
    fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
        Some(match (numbers.next()?, numbers.next()?) {
            version if version >= (6, 12) => Self::Expire,
            version if version >= (6, 3) => Self::Destroy,
            _ => Self::Delete,
        })
    }

    /// What to try where the kernel does not know this way.
    pub(super) const fn fallback(self) -> Option<Self> {
        match self {
            Self::Expire => Some(Self::Destroy),
            Self::Destroy => Some(Self::Delete),
            Self::Delete => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_the_release() {
        for (release, expected) in [
            ("6.18.44-fc-v657", Removal::Expire),
            ("6.12.0", Removal::Expire),
            ("7.0-rc1", Removal::Expire),
            ("6.11.9", Removal::Destroy),
            ("6.3.0-1-amd64", Removal::Destroy),
            ("6.1.0-13-amd64", Removal::Delete),
            ("5.15.0", Removal::Delete),
        ] {
            assert_eq!(Removal::of_release(release), Some(expected), "{release}");
        }
        assert_eq!(Removal::of_release("unknown"), None);
    }
}
