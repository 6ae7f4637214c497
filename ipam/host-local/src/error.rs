//! What can go wrong. The words are the reference's where it has the error too: people search for them.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use libcni::error::causes;
use libcni::json::FieldError;
use libcni::store::StoreError;
use libcni::types::{ArgsError, ConfigError, RequestedIp};
use libcni::{CniError, ErrorCode, ErrorReply, SpecVersion};

/// What went wrong in host-local.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("IPAM config missing 'ipam' key")]
    IpamMissing,
    #[error("invalid IPAM configuration")]
    Field(#[source] FieldError),
    #[error("no IP ranges specified (hint: set ipam.subnet, ipam.ranges or runtimeConfig.ipRanges)")]
    NoRanges,
    #[error("invalid range set {set}: {path}: {fault}")]
    RangeSet { set: usize, path: String, fault: String },
    #[error("range set {0} overlaps with {1}")]
    SetsOverlap(usize, usize),
    #[error("CNI version {0} does not support more than 1 address per family (hint: set cniVersion to 0.3.0 or later)")]
    FamilyTwice(SpecVersion),
    #[error(transparent)]
    Args(#[from] ArgsError),
    #[error("cannot understand ip: \"{}\" in {}, expected an address such as 10.1.2.3", .0.text, .0.path)]
    RequestedAddress(RequestedIp),
    #[error("cannot read ipam.resolvConf {}", path.display())]
    ResolvConf { path: PathBuf, source: io::Error },
    #[error("failed to allocate for range {set}: requested ip {address} is subnet's gateway")]
    RequestedGateway { set: usize, address: IpAddr },
    #[error(
        "failed to allocate for range {set}: requested IP address {address} is not available in range set {ranges}"
    )]
    RequestedTaken { set: usize, address: IpAddr, ranges: String },
    #[error("failed to allocate all requested IPs: {} (in no range set, or more than one of a set)", words(.0))]
    RequestedLeft(Vec<IpAddr>),
    #[error(
        "failed to allocate for range {set}: {address} has been allocated to {owner}, duplicate allocation is not allowed"
    )]
    Duplicate { set: usize, address: IpAddr, owner: String },
    #[error(
        "failed to allocate for range {set}: no IP addresses available in range set: {ranges} \
         (all {capacity} in use; hint: GC frees what no attachment owns)"
    )]
    Exhausted { set: usize, ranges: String, capacity: u128 },
    #[error("host-local: Failed to find address added by container {owner}: {}", .missing.join(", "))]
    NotReserved { owner: String, missing: Vec<String> },
    #[error("no IP addresses available in range set: {ranges} (network {network}: {in_use} of {capacity} in use)")]
    StatusExhausted { network: String, ranges: String, in_use: u128, capacity: u128 },
    #[error("cannot reserve addresses in {}", path.display())]
    StatusNotWritable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} reservations could not be removed", .0.len())]
    Several(Vec<StoreError>),
}

impl CniError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::Args(e) => e.code(),
            Self::RequestedAddress(ip) if ip.is_of_environment() => ErrorCode::INVALID_ENVIRONMENT,
            Self::IpamMissing
            | Self::Field(_)
            | Self::NoRanges
            | Self::RangeSet { .. }
            | Self::SetsOverlap(..)
            | Self::FamilyTwice(_)
            | Self::RequestedAddress(_)
            | Self::RequestedGateway { .. }
            | Self::RequestedLeft(_) => ErrorCode::INVALID_CONFIG,
            Self::ResolvConf { .. } | Self::Store(_) | Self::Several(_) => ErrorCode::IO,
            Self::RequestedTaken { .. } | Self::Exhausted { .. } => ErrorCode::TRY_AGAIN_LATER,
            Self::Duplicate { .. } | Self::NotReserved { .. } => ErrorCode::INTERNAL,
            Self::StatusExhausted { .. } | Self::StatusNotWritable { .. } => ErrorCode::PLUGIN_NOT_AVAILABLE,
        }
    }

    fn reply(&self) -> ErrorReply {
        let details = match self {
            Self::Config(e) => return e.reply(),
            Self::Several(all) => {
                let all: Vec<String> = all.iter().map(|e| causes(Some(e))).collect();
                all.join("; ")
            }
            _ => causes(self.source()),
        };
        ErrorReply::new(self.code(), self.to_string(), details)
    }
}

fn words(addresses: &[IpAddr]) -> String {
    let words: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    words.join(" ")
}
