//! Specification versions: their order, what each allows, and the strings users write.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A released version of the CNI specification. Ordered from oldest to newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecVersion {
    /// 0.1.0: one IPv4 and one IPv6 address (`ip4`, `ip6`).
    V0_1_0,
    /// 0.2.0: the VERSION verb.
    V0_2_0,
    /// 0.3.0: `interfaces`, `ips`, chaining.
    V0_3_0,
    /// 0.3.1: corrections only.
    V0_3_1,
    /// 0.4.0: the CHECK verb, `prevResult` on DEL.
    V0_4_0,
    /// 1.0.0: `ips[].version` removed.
    V1_0_0,
    /// 1.1.0: the GC and STATUS verbs, route attributes, interface attributes.
    V1_1_0,
}

impl SpecVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version; the form used inside.
    pub const LATEST: Self = Self::V1_1_0;

    /// The version of a configuration that names none (specification 0.2.0, section "Network Configuration").
    pub const DEFAULT: Self = Self::V0_1_0;

    /// The version as written in `cniVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Whether a configuration of this version may be used with CHECK, and has `prevResult` on DEL (0.4.0 and later).
    #[must_use]
    pub fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// Whether a configuration of this version may be used with GC and STATUS (1.1.0 and later).
    #[must_use]
    pub fn has_gc_and_status(self) -> bool {
        self >= Self::V1_1_0
    }

    /// Whether results of this version hold several addresses per family and interfaces (0.3.0 and later).
    #[must_use]
    pub fn has_interfaces(self) -> bool {
        self >= Self::V0_3_0
    }

    /// Whether a result of this version can hold so many addresses of each family: one before 0.3.0.
    #[must_use]
    pub fn can_hold(self, ipv4: usize, ipv6: usize) -> bool {
        self.has_interfaces() || (ipv4 <= 1 && ipv6 <= 1)
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version string that names no released version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown CNI version \"{0}\", expected one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0")]
pub struct UnknownVersion(pub String);

impl FromStr for SpecVersion {
    type Err = UnknownVersion;

    /// The empty string is 0.1.0, as everywhere in the reference.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        if text.is_empty() {
            return Ok(Self::DEFAULT);
        }
        Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for SpecVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = SpecVersion;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CNI version from 0.1.0 to 1.1.0")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SpecVersion, E> {
                text.parse().map_err(|_unknown: UnknownVersion| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(V)
    }
}

impl serde::Serialize for SpecVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_round_trip_and_are_ordered() {
        for v in SpecVersion::ALL {
            assert_eq!(v.as_str().parse(), Ok(v));
        }
        assert!(SpecVersion::ALL.is_sorted());
        assert_eq!("".parse(), Ok(SpecVersion::V0_1_0));
        assert_eq!("1.2.0".parse::<SpecVersion>(), Err(UnknownVersion("1.2.0".into())));
    }
}
