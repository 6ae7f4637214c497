//! The container that ports lead to: its addresses, and how the host reaches them.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::names::{IfName, NetworkName};
use libcni::plugin::{Attachment, Call};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::NetlinkError;
use linuxnet::netlink::Netlink;
use linuxnet::tag::Tag;

/// The addresses that ports are mapped to: the first IPv4 and the first IPv6 address of the result, IPv4 first. One
/// that the result gives to another interface, or to one of the host, is passed over.
pub(crate) fn addresses(result: &AddResult, ifname: &str) -> Vec<IpNet> {
    let elsewhere =
        |index: usize| result.interfaces.get(index).is_some_and(|i| i.name != ifname || i.sandbox.is_empty());
    let ours = || result.ips.iter().filter(|ip| !ip.interface.is_some_and(elsewhere)).map(|ip| ip.address);
    let first = |is_ipv4: bool| ours().find(|net| net.addr().is_ipv4() == is_ipv4);
    first(true).into_iter().chain(first(false)).collect()
}

/// The names of the host's links in the result, the likeliest end of the container's link first: plugins list it before
/// the container's interface, and the bridge before it.
fn host_links<'r>(result: &'r AddResult, ifname: &str) -> Vec<&'r str> {
    let own = result.container_interface(ifname).map_or(result.interfaces.len(), |(index, _)| index);
    let (before, after) = result.interfaces.split_at(own.min(result.interfaces.len()));
    let names = |part: &'r [libcni::types::Interface]| {
        part.iter().rev().filter(|i| i.sandbox.is_empty()).map(|i| i.name.as_str())
    };
    names(before).chain(names(after)).collect()
}

/// One address of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The address with its subnet.
    pub(crate) address: IpNet,
    /// The host's link that packets to it leave by; `None` if there is no route.
    pub(crate) link: Option<IfName>,
}

impl Reach {
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.addr()
    }
}

/// A container's attachment.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) network: NetworkName,
    pub(crate) id: AttachmentId,
    /// What our firewall state of it carries.
    pub(crate) tag: Tag,
    /// Its addresses, at most one of each family.
    pub(crate) reaches: Vec<Reach>,
}

impl Container {
    /// The attachment as the result describes it and the kernel routes to it.
    pub(crate) fn find(
        call: &Call<'_>,
        attachment: &Attachment,
        result: &AddResult,
        netlink: &mut Netlink,
    ) -> Result<Self, NetlinkError> {
        let mut container = Self::without_host_link(call, attachment, result, netlink)?;
        if let Some(link) = host_link(result, attachment.ifname(), netlink)? {
            container.tag = container.tag.with_host_veth(&link);
        }
        Ok(container)
    }

    /// As [`Container::find`], where the tag is only compared: the host's link does not count then.
    pub(crate) fn without_host_link(
        call: &Call<'_>,
        attachment: &Attachment,
        result: &AddResult,
        netlink: &mut Netlink,
    ) -> Result<Self, NetlinkError> {
        let mut container = Self::without_addresses(call, attachment);
        for address in addresses(result, attachment.ifname()) {
            let link = link_to(netlink, address.addr())?;
            container.reaches.push(Reach { address, link });
        }
        Ok(container)
    }

    /// The attachment where its result is lost.
    pub(crate) fn without_addresses(call: &Call<'_>, attachment: &Attachment) -> Self {
        let network = call.config.name.clone();
        let tag = Tag::new(&network, &attachment.id);
        Self { network, id: attachment.id.clone(), tag, reaches: Vec::new() }
    }

    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.reaches.iter().map(Reach::ip)
    }

    /// Whether this is one of its addresses.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.ips().any(|own| own == ip)
    }
}

/// The host's end of the container's link, if it has one: what is no bridge among the result's links.
fn host_link(result: &AddResult, ifname: &str, netlink: &mut Netlink) -> Result<Option<IfName>, NetlinkError> {
    for name in host_links(result, ifname) {
        let Ok(name) = name.parse::<IfName>() else { continue };
        if netlink.find_link(name.as_str())?.is_some_and(|link| link.kind != "bridge") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The link that packets to `ip` leave by (`ip route get IP`).
fn link_to(netlink: &mut Netlink, ip: IpAddr) -> Result<Option<IfName>, NetlinkError> {
    let Some(index) = netlink.find_route(ip)?.and_then(|route| route.link) else { return Ok(None) };
    let link = netlink.find_link_by_index(index)?;
    Ok(link.and_then(|link| link.name.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::types::{Interface, IpConfig};

    fn interface(name: &str, sandbox: &str) -> Interface {
        Interface { name: name.to_owned(), sandbox: sandbox.to_owned(), ..Interface::default() }
    }

    fn ip(address: &str, interface: Option<usize>) -> IpConfig {
        IpConfig { address: address.parse().unwrap(), gateway: None, interface }
    }

    fn bridged(ips: Vec<IpConfig>) -> AddResult {
        let interfaces =
            vec![interface("cni0", ""), interface("veth1", ""), interface("eth0", "/ns"), interface("cni0.5", "")];
        AddResult { interfaces, ips, ..AddResult::default() }
    }

    #[test]
    fn the_first_address_of_each_family_that_is_the_containers() {
        let result = bridged(vec![
            ip("fd00::9/64", Some(0)),
            ip("fd00::2/64", Some(2)),
            ip("10.1.0.2/16", None),
            ip("10.2.0.2/16", Some(2)),
            ip("fd00::3/64", Some(2)),
        ]);
        let shown: Vec<String> = addresses(&result, "eth0").iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.1.0.2/16", "fd00::2/64"]);
        let other = bridged(vec![ip("10.1.0.2/16", Some(2)), ip("10.3.0.2/16", Some(9))]);
        assert_eq!(addresses(&other, "eth1"), ["10.3.0.2/16".parse::<IpNet>().unwrap()], "index out of range: ours");
    }

    #[test]
    fn the_end_on_the_host_stands_before_the_container() {
        assert_eq!(host_links(&bridged(Vec::new()), "eth0"), ["veth1", "cni0", "cni0.5"]);
        let unknown = AddResult { interfaces: vec![interface("veth1", "")], ..AddResult::default() };
        assert_eq!(host_links(&unknown, "eth0"), ["veth1"]);
        assert!(host_links(&AddResult::default(), "eth0").is_empty());
    }
}
