//! What can go wrong. The words are the reference's where it has the error too: people search for them.

use libcni::types::{ArgsError, ConfigError};
use libcni::{CniError, ErrorCode, ErrorReply, SpecVersion};

/// What went wrong in static.
#[derive(Debug, thiserror::Error)]
pub enum StaticError {
    /// The part of the configuration that every plugin has is wrong, or a field has the wrong type.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `CNI_ARGS` is malformed.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// There is no `ipam`.
    #[error("IPAM config missing 'ipam' key")]
    IpamMissing,
    /// An address without prefix length, or something else than an address.
    #[error(
        "the '{field}' field is expected to be in CIDR notation, got: '{text}' in {path} \
         (hint: an address and the length of its subnet's prefix, such as 10.1.0.5/16)"
    )]
    NotCidr {
        /// What the reference calls it: `address`, `ip`, `ips`.
        field: &'static str,
        /// Where it stands.
        path: String,
        /// What stands there.
        text: String,
    },
    /// A gateway that is no address.
    #[error("invalid gateway address: {text} in {path}")]
    Gateway {
        /// Where it stands.
        path: String,
        /// What stands there.
        text: String,
    },
    /// Results before 0.3.0 hold one address of each family.
    #[error("CNI version {0} does not support more than 1 address per family (hint: set cniVersion to 0.3.0 or later)")]
    FamilyTwice(SpecVersion),
    /// ADD without any address.
    #[error("no address is configured and none is asked for (hint: set ipam.addresses, or the capability ips)")]
    NoAddresses,
    /// CHECK without `prevResult`.
    #[error("Required prevResult missing")]
    PrevResultMissing,
    /// CHECK found something else than ADD returned.
    #[error("static: Failed to match addr: {}", .0.join("; "))]
    Differs(Vec<String>),
}

impl CniError for StaticError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Args(e) => e.code(),
            Self::NotCidr { path, .. } | Self::Gateway { path, .. } if path == "CNI_ARGS" => {
                ErrorCode::INVALID_ENVIRONMENT
            }
            Self::IpamMissing
            | Self::NotCidr { .. }
            | Self::Gateway { .. }
            | Self::FamilyTwice(_)
            | Self::NoAddresses
            | Self::PrevResultMissing => ErrorCode::INVALID_CONFIG,
            Self::Differs(_) => ErrorCode::INTERNAL,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            _ => ErrorReply::of(self),
        }
    }
}
