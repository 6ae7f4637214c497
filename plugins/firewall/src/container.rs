//! The container whose traffic is to pass: its attachment, its addresses, its bridge.

use std::net::IpAddr;

use libcni::names::IfName;
use libcni::plugin::{Attachment, Call};
use libcni::types::AddResult;
use linuxnet::iptables::Family;
use linuxnet::tag::Tag;

use crate::conf::{Conf, Policy};
use crate::error::FirewallError;

/// A policy and the bridge that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Isolation {
    pub(crate) bridge: IfName,
    pub(crate) policy: Policy,
}

/// A container's attachment.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// What our firewall state of it carries.
    pub(crate) tag: Tag,
    /// All addresses of the result, whatever their interface, each once. Empty: unknown.
    pub(crate) ips: Vec<IpAddr>,
    /// What is wanted beyond letting it pass; `None`: nothing (`open`).
    pub(crate) isolation: Option<Isolation>,
    /// The links of the result that are the host's, but the bridge: the container's ports. Only where it is isolated.
    pub(crate) ports: Vec<IfName>,
}

impl Container {
    /// The attachment as the result describes it.
    ///
    /// # Errors
    /// [`FirewallError::NoBridge`] if a policy is wanted and the result's first interface can be no bridge.
    pub(crate) fn find(
        call: &Call<'_>,
        attachment: &Attachment,
        conf: &Conf,
        result: &AddResult,
    ) -> Result<Self, FirewallError> {
        let container = Self::without_bridge(call, attachment, Some(result));
        let policy = conf.policy;
        if policy == Policy::Open {
            return Ok(container);
        }
        let isolation = Some(Isolation { bridge: bridge_of(result, policy)?, policy });
        let ports = result.host_interfaces().skip(1).filter_map(|port| port.name.parse().ok());
        let ports = ports.filter(|_| policy == Policy::Isolated).collect();
        Ok(Self { isolation, ports, ..container })
    }

    /// The attachment where it does not matter which policy it has. `result`: `None` if it is lost.
    pub(crate) fn without_bridge(call: &Call<'_>, attachment: &Attachment, result: Option<&AddResult>) -> Self {
        let mut ips: Vec<IpAddr> = result.iter().flat_map(|r| &r.ips).map(|ip| ip.address.addr()).collect();
        ips.sort_unstable();
        ips.dedup();
        Self { tag: Tag::new(&call.config.name, &attachment.id), ips, isolation: None, ports: Vec::new() }
    }

    /// Whether this is one of its addresses.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.ips.contains(&ip)
    }

    /// The families of its addresses.
    pub(crate) fn families(&self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(|family| self.ips.iter().any(|ip| Family::of(*ip) == *family))
    }
}

/// The bridge of a result: its first interface, which is the host's.
fn bridge_of(result: &AddResult, policy: Policy) -> Result<IfName, FirewallError> {
    let policy = policy.as_str();
    let first = result.interfaces.first().ok_or(FirewallError::NoInterface { policy })?;
    if first.name.is_empty() {
        return Err(FirewallError::NoBridgeName);
    }
    let no_bridge = || FirewallError::NoBridge { policy, name: first.name.clone() };
    if !first.sandbox.is_empty() {
        return Err(no_bridge());
    }
    first.name.parse().ok().ok_or_else(no_bridge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::types::Interface;

    fn bridge(name: &str, sandbox: &str) -> Result<IfName, String> {
        let interfaces = vec![Interface { name: name.into(), sandbox: sandbox.into(), ..Interface::default() }];
        bridge_of(&AddResult { interfaces, ..AddResult::default() }, Policy::Isolated).map_err(|e| e.to_string())
    }

    #[test]
    fn the_bridge_is_the_first_interface_of_the_host() {
        assert_eq!(bridge("cni0", ""), Ok("cni0".parse().unwrap()));
        assert_eq!(bridge("", ""), Err("got empty bridge name".to_owned()));
        assert!(bridge("eth0", "/run/netns/a").unwrap_err().contains("\"eth0\""));
        assert!(bridge("a/b", "").unwrap_err().contains("\"a/b\""));
        let none = bridge_of(&AddResult::default(), Policy::SameBridge).unwrap_err().to_string();
        assert!(none.starts_with("interface needs to be set for ingress policy \"same-bridge\""), "{none}");
    }
}
