//! Kernel objects, by which they are known, and how a list of them becomes another.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use libcni::types::MacAddr;
use linuxnet::fdb::Entry;
use linuxnet::neigh::Neighbour;
use linuxnet::nexthop::Listed;
use linuxnet::route::{MarkedRoute, Way};
use linuxnet::wireguard::{Peer, PublicKey};

/// Something in the kernel by which a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Nexthop(Listed),
    Neighbour(Neighbour),
    Forward {
        link: u32,
        entry: Entry,
    },
    /// Of a WireGuard link.
    WireGuard {
        link: u32,
        peer: Box<Peer>,
    },
    /// Of this process's relay.
    Relay {
        subnet: Ipv4Net,
        endpoint: Ipv4Addr,
    },
    Route(MarkedRoute),
}

/// What the kernel tells objects apart by. In the order in which they are made: each needs those before it, so that no
/// packet finds a route without what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Its number.
    Nexthop(u32),
    /// Link and address.
    Neighbour(u32, IpAddr),
    /// Link and hardware address.
    Forward(u32, MacAddr),
    /// Link and public key.
    WireGuard(u32, PublicKey),
    Relay(Ipv4Net),
    /// Destination, table and metric.
    Route(IpNet, u32, u32),
}

/// A change of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make it. Whether something else is in its place is not known to be so.
    Make(Object),
    /// Have it be so; it is there and different.
    Change(Object),
    Remove(Object),
}

impl Object {
    /// A route to nowhere, so that packets to subnets that no node has do not leave by the default route.
    pub(crate) fn blackhole(net: IpNet) -> Self {
        Self::Route(MarkedRoute::overlay(net, Way::Blackhole))
    }

    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Nexthop(listed) => Key::Nexthop(listed.id),
            Self::Neighbour(neighbour) => Key::Neighbour(neighbour.link, neighbour.ip),
            Self::Forward { link, entry } => Key::Forward(*link, entry.mac),
            Self::WireGuard { link, peer } => Key::WireGuard(*link, peer.public_key),
            Self::Relay { subnet, .. } => Key::Relay(*subnet),
            Self::Route(route) => Key::Route(route.dst, route.table, route.metric),
        }
    }

    /// The word for its kind, for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nexthop(_) => "nexthop",
            Self::Neighbour(_) => "neighbour",
            Self::Forward { .. } => "fdb",
            Self::WireGuard { .. } => "wireguard",
            Self::Relay { .. } => "relay",
            Self::Route(_) => "route",
        }
    }
}

impl Object {
    /// As `ip` and `bridge` write it. `name`: of the link with an index.
    pub(crate) fn shown(&self, name: &dyn Fn(u32) -> String) -> String {
        let part =
            |word: &str, value: Option<String>| value.map(|value| format!(" {word} {value}")).unwrap_or_default();
        match self {
            Self::Nexthop(Listed { id, nexthop: None, .. }) => format!("nexthop id {id}"),
            Self::Nexthop(Listed { id, nexthop: Some(hop), .. }) => {
                let encap = part("encap", hop.encap.map(|encap| format!("id {} dst {}", encap.id, encap.dst)));
                format!("nexthop id {id} via {} dev {}{encap}", hop.gw, name(hop.link))
            }
            Self::Neighbour(Neighbour { ip, link, mac, .. }) => {
                format!("neigh {ip}{} dev {}", part("lladdr", mac.map(|mac| mac.to_string())), name(*link))
            }
            Self::Forward { link, entry: Entry { mac, dst, .. } } => {
                format!("fdb {mac}{} dev {}", part("dst", dst.map(|dst| dst.to_string())), name(*link))
            }
            Self::WireGuard { link, peer } => {
                let endpoint = part("endpoint", peer.endpoint.map(|endpoint| endpoint.to_string()));
                let nets: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
                let (key, nets) = (peer.public_key, nets.join(","));
                format!("wg peer {key}{endpoint} allowed-ips {nets} dev {}", name(*link))
            }
            Self::Relay { subnet, endpoint } => format!("relay {subnet} to {endpoint}"),
            Self::Route(MarkedRoute { dst, way: Way::Link { link, gw, onlink }, .. }) => {
                let onlink = if *onlink { " onlink" } else { "" };
                format!("route {dst}{} dev {}{onlink}", part("via", gw.map(|gw| gw.to_string())), name(*link))
            }
            Self::Route(route) => format!("route {route}"),
        }
    }
}

impl fmt::Display for Object {
    /// With the index of the link for its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(&|index| index.to_string()))
    }
}

impl Step {
    pub(crate) fn object(&self) -> &Object {
        match self {
            Self::Make(object) | Self::Change(object) | Self::Remove(object) => object,
        }
    }
}

/// What makes `have` into `want`: first what is to be made or changed, in the order of the keys, then what is to be
/// removed, in reverse. So routes move to their new way before the old one goes, and packets find one all the while.
/// Each step is told with the owner of the wanted object, if it has one.
pub(crate) fn diff<Owner: Copy>(mut have: Vec<Object>, mut want: Vec<(Object, Owner)>) -> Vec<(Step, Option<Owner>)> {
    have.sort_unstable_by_key(Object::key);
    // Stable: of two owners of one object the first is told.
    want.sort_by_key(|(object, _)| object.key());
    want.dedup_by(|(later, _), (first, _)| later.key() == first.key());
    let (mut steps, mut removed) = (Vec::new(), Vec::new());
    let (mut have, mut want) = (have.into_iter().peekable(), want.into_iter().peekable());
    loop {
        let order = match (have.peek(), want.peek()) {
            (Some(there), Some((wanted, _))) => there.key().cmp(&wanted.key()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        match order {
            Ordering::Less => removed.extend(have.next()),
            Ordering::Greater => steps.extend(want.next().map(|(object, owner)| (Step::Make(object), Some(owner)))),
            Ordering::Equal => {
                let Some((wanted, owner)) = want.next() else { break };
                let key = wanted.key();
                // Forwarding entries of one hardware address may be several, and one of them the right one.
                let there: Vec<_> = std::iter::from_fn(|| have.next_if(|object| object.key() == key)).collect();
                let is_right = there.contains(&wanted);
                removed.extend(there.into_iter().skip(usize::from(!is_right)).filter(|object| *object != wanted));
                if !is_right {
                    steps.push((Step::Change(wanted), Some(owner)));
                }
            }
        }
    }
    steps.extend(removed.into_iter().rev().map(|object| (Step::Remove(object), None)));
    steps
}
