//! What can go wrong in `portmap`, and the code of each failure on the wire.

use libcni::error::{CniError, ErrorCode, ErrorReply, listed};
use libcni::plugin::Interrupted;
use libcni::types::ConfigError;
use linuxnet::NetlinkError;
use linuxnet::iptables::IptablesError;
use linuxnet::sysctl::SysctlError;

use crate::mapping::HostPort;

/// A host port is held by another attachment: a code of this plugin's own, so that callers can tell it from a wrong
/// configuration.
pub const HOST_PORT_IN_USE: ErrorCode = ErrorCode(100);

/// A failure of `portmap`.
#[derive(Debug, thiserror::Error)]
pub enum PortmapError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// ADD without `prevResult`.
    #[error("must be called as chained plugin (hint: put portmap after the plugin that makes the interface)")]
    NotChained,
    /// CHECK without `prevResult`.
    #[error("Required prevResult missing")]
    PrevResultMissing,
    /// Another attachment has the port.
    #[error("host port {host} is held by {owner} (hint: remove that container, or choose another hostPort)")]
    HostPortInUse {
        /// Protocol, address and port: `tcp 0.0.0.0:8080`.
        host: String,
        /// Who has it: network, container and interface.
        owner: String,
    },
    /// Reading or changing nftables failed, or asking for links and routes.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// iptables failed.
    #[error(transparent)]
    Iptables(#[from] IptablesError),
    /// A condition in nftables' language could not be given to the kernel.
    #[error("cannot set up the condition {condition:?}")]
    Condition {
        /// The words of `conditionsV4` or `conditionsV6`.
        condition: String,
        /// Why.
        source: ConditionError,
    },
    /// Connections from 127.0.0.1 cannot be let through to the container.
    #[error("unable to enable route_localnet")]
    RouteLocalnet(#[source] SysctlError),
    /// STATUS: the backend cannot be used.
    #[error("the {backend} backend cannot be used")]
    Unavailable {
        /// `nftables` or `iptables`.
        backend: &'static str,
        /// Why.
        source: Box<PortmapError>,
    },
    /// CHECK found something else than ADD made.
    #[error("{0}")]
    Differs(String),
    /// SIGTERM or SIGINT came; what was done is undone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// DEL or GC went on after failures; these are all of them.
    #[error("{}", listed(.0))]
    Several(Vec<PortmapError>),
}

/// Why `nft` did not take a condition.
#[derive(Debug, thiserror::Error)]
pub enum ConditionError {
    /// There is no `nft`.
    #[error("cannot find nft (hint: install nftables; conditions are written in its language)")]
    Missing,
    /// It cannot be run.
    #[error("cannot run nft")]
    Run(#[source] std::io::Error),
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

impl PortmapError {
    pub(crate) fn in_use(host: &HostPort, owner: &impl std::fmt::Display) -> Self {
        Self::HostPortInUse { host: host.to_string(), owner: owner.to_string() }
    }
}

impl CniError for PortmapError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Config(e) => e.code(),
            Self::NotChained | Self::PrevResultMissing | Self::Condition { .. } => ErrorCode::INVALID_CONFIG,
            Self::HostPortInUse { .. } => HOST_PORT_IN_USE,
            Self::Unavailable { .. } => ErrorCode::PLUGIN_NOT_AVAILABLE,
            Self::Interrupted(_) => ErrorCode::TRY_AGAIN_LATER,
            Self::Netlink(_) | Self::Iptables(_) | Self::RouteLocalnet(_) | Self::Differs(_) | Self::Several(_) => {
                ErrorCode::INTERNAL
            }
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Config(e) => e.reply(),
            _ => ErrorReply::of(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_names_the_port_and_its_holder() {
        let host = HostPort { protocol: crate::mapping::Protocol::Tcp, ip: "0.0.0.0".parse().unwrap(), port: 8080 };
        let reply = PortmapError::in_use(&host, &"container c1, interface eth0, network net").reply();
        assert_eq!(reply.code, ErrorCode(100));
        assert!(
            reply.msg.starts_with("host port tcp 0.0.0.0:8080 is held by container c1, interface eth0, network net"),
            "{reply}"
        );
    }
}
