//! What can go wrong in `host-device`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::names::NameError;
use libcni::netns::NetnsError;
use libcni::plugin::{DelegateError, Interrupted};
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::attach::AttachError;
use linuxnet::iface::ApplyError;

use crate::sysfs::SysfsError;

/// A failure of `host-device`.
#[derive(Debug, thiserror::Error)]
pub enum HostDeviceError {
    /// What all plugins with an interface do failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration names no device.
    #[error("specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\" (or the runtime \"deviceID\")")]
    NoSelector,
    /// The runtime's device is on neither bus.
    #[error("runtime config DeviceID {0} not found or unsupported")]
    DeviceId(String),
    /// The driver of a PCI device is not known.
    #[error("error with host device: PCI device {address} is missing or has no driver")]
    Driver {
        /// Its address.
        address: String,
        /// What is missing in /sys.
        source: SysfsError,
    },
    /// The device is not on the host.
    #[error("failed to find host device: there is no link {selector} (hint: another container may have it)")]
    NotFound {
        /// How the configuration names it.
        selector: String,
        /// What is missing in /sys.
        source: Option<SysfsError>,
    },
    /// STATUS: the device is not there.
    #[error("no ADD can succeed now: {0}")]
    Unavailable(Box<HostDeviceError>),
    /// The device has a name that no mark can hold.
    #[error("cannot remember the name of the device")]
    Name(#[from] NameError),
    /// The device cannot be moved to the other namespace.
    #[error("failed to move link")]
    Move(#[source] NetlinkError),
    /// The host's own namespace cannot be opened.
    #[error("cannot open the host's network namespace")]
    HostNetns(#[source] NetnsError),
    /// IPAM failed; its error is passed on unchanged.
    #[error(transparent)]
    Ipam(#[from] DelegateError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The result cannot be put on the device.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// CHECK found something else than ADD made.
    #[error("{0}")]
    Differs(String),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Work that goes on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<HostDeviceError>),
}

impl CniError for HostDeviceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Attach(e) => e.code(),
            Self::Config(e) => e.code(),
            Self::Ipam(e) => e.code(),
            Self::NoSelector | Self::DeviceId(_) | Self::Driver { .. } => ErrorCode::INVALID_CONFIG,
            Self::Unavailable(_) => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::NotFound { .. }
            | Self::Name(_)
            | Self::Move(_)
            | Self::HostNetns(_)
            | Self::Netlink(_)
            | Self::Apply(_)
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
