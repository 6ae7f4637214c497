//! Finding the external interface, as flannel does: what is configured, or that of the default route.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linuxnet::NetlinkError;
use linuxnet::addr::Address;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::route::{Filter, MAIN, Route};
use regex_lite::Regex;

use super::{Node, Underlay};
use crate::config::External;
use crate::network::Network;

/// `RT_SCOPE_UNIVERSE` of rtnetlink(7): an address that is good anywhere.
const UNIVERSE: u8 = 0;

/// Why this node cannot reach others (yet).
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("the external interface cannot be looked for")]
    Netlink(#[from] NetlinkError),
    #[error("there is no external interface for {family} yet: {why}")]
    NoInterface { family: &'static str, why: String },
    #[error("external interface {name} has no {family} address yet")]
    NoAddress { name: String, family: &'static str },
    #[error("external.interface_regex: {0}")]
    Regex(String),
}

/// Looks for the external interface in each family that the network has.
///
/// # Errors
/// [`NodeError`]. All but [`NodeError::Regex`] may pass when a link or an address changes.
pub(crate) fn discover(
    external: &External,
    network: &Network,
    name: &str,
    identity: [u8; 32],
) -> Result<Node, NodeError> {
    let mut view = View::take()?;
    let v4 = network.v4.as_ref().map(|_| view.underlay(external, Family::V4)).transpose()?;
    let v6 = network.v6.as_ref().map(|_| view.underlay(external, Family::V6)).transpose()?;
    Ok(Node { name: name.to_owned(), v4, v6, identity, public_key: None })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// Where a default route leads.
    fn everywhere(self) -> IpNet {
        match self {
            Self::V4 => Ipv4Net::default().into(),
            Self::V6 => Ipv6Net::default().into(),
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// What the kernel has.
struct View {
    netlink: Netlink,
    links: Vec<Link>,
}

/// An interface, and what of its addresses is wanted, if that is known.
struct Choice {
    link: Link,
    address: Option<IpAddr>,
}

impl View {
    fn take() -> Result<Self, NetlinkError> {
        let mut netlink = Netlink::open()?;
        let links = netlink.links()?;
        Ok(Self { netlink, links })
    }

    fn underlay(&mut self, external: &External, family: Family) -> Result<Underlay, NodeError> {
        let Choice { link, address } = self.choose(external, family)?;
        let addresses = self.netlink.addresses(Dev::from(&link))?;
        let of_family: Vec<&Address> = addresses.iter().filter(|address| family.has(address.net.addr())).collect();
        let address = address
            .filter(|wanted| of_family.iter().any(|address| address.net.addr() == *wanted))
            .or_else(|| best(&of_family))
            .ok_or_else(|| NodeError::NoAddress { name: link.name.clone(), family: family.name() })?;
        let public = match family {
            Family::V4 => external.public_ip.map(IpAddr::V4),
            Family::V6 => external.public_ipv6.map(IpAddr::V6),
        };
        let mut on_link: Vec<IpNet> = of_family.iter().map(|address| address.net.trunc()).collect();
        on_link.sort_unstable();
        on_link.dedup();
        Ok(Underlay {
            link: link.index,
            name: link.name,
            address,
            public: public.unwrap_or(address),
            on_link,
            mtu: link.mtu,
        })
    }

    /// The first rule that the configuration has decides: names and addresses, regular expressions, a destination, or
    /// else the default route.
    fn choose(&mut self, external: &External, family: Family) -> Result<Choice, NodeError> {
        let missing = |why: String| NodeError::NoInterface { family: family.name(), why };
        if !external.interface.is_empty() {
            let found = self.first_named(&external.interface)?;
            return found.ok_or_else(|| missing(format!("none of {}", external.interface.join(", "))));
        }
        if !external.interface_regex.is_empty() {
            let found = self.first_matching(&external.interface_regex)?;
            return found.ok_or_else(|| missing(format!("none is like {}", external.interface_regex.join(", "))));
        }
        if let Some(destination) = external.can_reach {
            let found = self.netlink.find_route(destination)?.and_then(|route| self.by_route(&route));
            return found.ok_or_else(|| missing(format!("no route to {destination}")));
        }
        let found = match self.by_default_route(family)? {
            None => self.by_default_route(family.other())?,
            found => found,
        };
        found.ok_or_else(|| missing("no default route (hint: or set external.interface)".to_owned()))
    }

    fn first_named(&mut self, entries: &[String]) -> Result<Option<Choice>, NodeError> {
        for entry in entries {
            let found = match entry.parse::<IpAddr>() {
                Ok(address) => self.with_address(|of_link| of_link == address)?,
                Err(_) => self.named(|name| name == entry),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn first_matching(&mut self, expressions: &[String]) -> Result<Option<Choice>, NodeError> {
        for text in expressions {
            let expression = Regex::new(text).map_err(|e| NodeError::Regex(e.to_string()))?;
            let found = match self.named(|name| expression.is_match(name)) {
                None => self.with_address(|address| expression.is_match(&address.to_string()))?,
                found => found,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn named(&self, is_wanted: impl Fn(&str) -> bool) -> Option<Choice> {
        let is_wanted = |link: &&Link| is_wanted(&link.name) || link.alt_names.iter().any(|name| is_wanted(name));
        self.links.iter().find(is_wanted).map(|link| Choice { link: link.clone(), address: None })
    }

    fn with_address(&mut self, is_wanted: impl Fn(IpAddr) -> bool) -> Result<Option<Choice>, NodeError> {
        for link in &self.links {
            let addresses = self.netlink.addresses(Dev::from(link))?;
            if let Some(found) = addresses.iter().map(|address| address.net.addr()).find(|address| is_wanted(*address))
            {
                return Ok(Some(Choice { link: link.clone(), address: Some(found) }));
            }
        }
        Ok(None)
    }

    fn by_default_route(&mut self, family: Family) -> Result<Option<Choice>, NodeError> {
        let routes = self.netlink.routes(Filter { table: Some(MAIN), link: None })?;
        let defaults = routes.iter().filter(|route| route.dst == family.everywhere() && route.link.is_some());
        let best = defaults.min_by_key(|route| route.priority.unwrap_or_default());
        Ok(best.and_then(|route| self.by_route(route)))
    }

    fn by_route(&self, route: &Route) -> Option<Choice> {
        let link = self.links.iter().find(|link| Some(link.index) == route.link)?;
        Some(Choice { link: link.clone(), address: route.src })
    }
}

/// The address that others can most likely send to: one that is good anywhere and stays, else what there is.
fn best(addresses: &[&Address]) -> Option<IpAddr> {
    let usable = addresses.iter().filter(|address| {
        let is_link_local = matches!(address.net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
        !address.is_tentative && !address.is_duplicate && !is_link_local
    });
    usable.min_by_key(|address| (address.scope != UNIVERSE, !address.is_permanent)).map(|address| address.net.addr())
}
