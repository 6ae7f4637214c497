//! Names that become file names, device names and rule tags: checked where they are made, trusted afterwards.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A container ID outside `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    #[error("invalid characters in containerID")]
    ContainerId(String),
    /// A network name outside `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    #[error("invalid characters found in network name")]
    NetworkName(String),
    /// An interface name of no characters.
    #[error("interface name is empty")]
    IfNameEmpty,
    /// An interface name of more than 15 bytes (`IFNAMSIZ` is 16, with the NUL).
    #[error("interface name is too long")]
    IfNameTooLong(String),
    /// `.` or `..`.
    #[error("interface name is . or ..")]
    IfNameDots(String),
    /// A `/`, a `:`, white space or a control character.
    #[error("interface name contains / or : or whitespace characters")]
    IfNameCharacters(String),
}

impl NameError {
    /// The offending value, or the rule it broke: the `details` of the error on the wire.
    #[must_use]
    pub fn details(&self) -> &str {
        match self {
            Self::ContainerId(v) | Self::NetworkName(v) | Self::IfNameDots(v) | Self::IfNameCharacters(v) => v,
            Self::IfNameTooLong(_) => "interface name should be less than 16 characters",
            Self::IfNameEmpty => "",
        }
    }
}

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, and short enough to be part of a file name.
fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $expecting:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<Path> for $name {
            fn as_ref(&self) -> &Path {
                Path::new(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl Visitor<'_> for V {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|_rule: NameError| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_str(V)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name_type!(
    /// `CNI_CONTAINERID`: letters, digits, `_`, `.` and `-`, starting with a letter or digit
    /// (specification, section "Parameters").
    ContainerId,
    "a container ID (letters, digits, _ . -, starting with a letter or digit)"
);

name_type!(
    /// The `name` of a network: letters, digits, `_`, `.` and `-`, starting with a letter or digit.
    /// Such a name has no `/` and is not `.` or `..`, so it cannot leave a data directory.
    NetworkName,
    "a network name (letters, digits, _ . -, starting with a letter or digit)"
);

name_type!(
    /// The name of a network interface: 1 to 15 bytes, no `/`, `:` or white space, not `.` or `..`
    /// (`dev_valid_name` in the kernel's net/core/dev.c).
    IfName,
    "an interface name (1 to 15 characters, without / : or white space)"
);

impl FromStr for ContainerId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_identifier(text) { Ok(Self(text.to_owned())) } else { Err(NameError::ContainerId(text.to_owned())) }
    }
}

impl FromStr for NetworkName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_identifier(text) { Ok(Self(text.to_owned())) } else { Err(NameError::NetworkName(text.to_owned())) }
    }
}

impl FromStr for IfName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::IfNameEmpty);
        }
        if text.len() > 15 {
            return Err(NameError::IfNameTooLong(text.to_owned()));
        }
        if text == "." || text == ".." {
            return Err(NameError::IfNameDots(text.to_owned()));
        }
        if text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
            return Err(NameError::IfNameCharacters(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_the_specification() {
        for good in ["a", "0", "some-container", "a.b_c-D9"] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good}");
            assert!(good.parse::<NetworkName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "../x", "a b", "é", "a\n", "a\0"] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
            assert!(bad.parse::<NetworkName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interface_names_follow_the_kernel() {
        assert!("eth0.100@x".parse::<IfName>().is_ok());
        assert_eq!("".parse::<IfName>(), Err(NameError::IfNameEmpty));
        assert!(matches!("0123456789abcdef".parse::<IfName>(), Err(NameError::IfNameTooLong(_))));
        assert!(matches!("..".parse::<IfName>(), Err(NameError::IfNameDots(_))));
        for bad in ["a/b", "a:1", "a b", "a\tb", "a\0"] {
            assert!(matches!(bad.parse::<IfName>(), Err(NameError::IfNameCharacters(_))), "{bad:?}");
        }
    }
}
