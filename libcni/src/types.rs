//! What travels in CNI, in its newest form (specification 1.1.0). Older forms live in [`crate::convert`].

mod args;
mod attachment;
mod config;
mod dns;
mod mac;
mod requested;
mod result;
mod route;
pub(crate) mod wire;

pub use args::{ArgsError, CniArgs};
pub use attachment::AttachmentId;
pub(crate) use config::incompatible;
pub use config::{ConfigError, NetworkConfig};
pub use dns::{Dns, DnsOverride};
pub use mac::{MacAddr, ParseMacError};
pub use requested::{RequestedIp, RequestedIps};
pub use result::{AddResult, Interface, IpConfig};
pub use route::Route;
