//! The kernel: what of ours is there, and how it is changed.

mod apply;
mod device;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use linuxnet::NetlinkError;
use linuxnet::link::Dev;
use linuxnet::netlink::Netlink;
use linuxnet::route::{MarkedRoute, PROTOCOL_OVERLAY, Way};
use linuxnet::wireguard::{PublicKey, WireGuard};

use crate::desired::{Ids, Object, Plan};
use crate::event::Device;
use crate::relay::Relay;

pub(crate) use self::device::{DeviceError, Ensured, VxlanDevice, ensure_vxlan};
pub(crate) use self::tunnel::Tunnel;

/// `RTPROT_KERNEL` of linux/rtnetlink.h: what the kernel makes itself, for addresses.
const PROTOCOL_KERNEL: u8 = 2;
/// How long two WireGuard peers use the keys that they agreed upon (`REJECT_AFTER_TIME` of its paper).
const KEY_LIFE: Duration = Duration::from_secs(180);

/// Speaks to the kernel of this namespace.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) netlink: Netlink,
    pub(crate) ids: Ids,
    /// Our links: all on them is ours.
    pub(crate) devices: Vec<Device>,
    /// They have forwarding databases.
    pub(crate) are_vxlan: bool,
    /// For the backend `wireguard`.
    pub(crate) wireguard: Option<WireGuard>,
    /// The peers of our WireGuard links that answered of late: they are reached where they say themselves.
    answering: BTreeSet<(u32, PublicKey)>,
    /// For the backend `udp`.
    pub(crate) relay: Option<Relay>,
}

impl Kernel {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            netlink: Netlink::open()?,
            ids: Ids::default(),
            devices: Vec::new(),
            are_vxlan: false,
            wireguard: None,
            answering: BTreeSet::new(),
            relay: None,
        })
    }

    /// Everything that is ours: on our links, and what has our mark. The numbers of our next hops are known afterwards.
    pub(crate) fn look(&mut self) -> Result<Vec<Object>, NetlinkError> {
        let mut objects = self.look_at_nexthops()?;
        let marked = self.netlink.routes_of_protocol(PROTOCOL_OVERLAY)?;
        objects.extend(marked.into_iter().map(Object::Route));
        for device in &self.devices {
            let (netlink, dev) = (&mut self.netlink, device.dev());
            // The others age by themselves; one that is in the place of ours is replaced.
            let permanent = netlink.neighbours(dev)?.into_iter().filter(|neighbour| neighbour.is_permanent);
            objects.extend(permanent.map(Object::Neighbour));
            if self.are_vxlan {
                let forward = |entry| Object::Forward { link: device.index, entry };
                objects.extend(netlink.fdb(dev)?.into_iter().map(forward));
            }
            let is_stranger = |route: &MarkedRoute| !matches!(route.protocol, PROTOCOL_OVERLAY | PROTOCOL_KERNEL);
            objects.extend(netlink.routes_of_link(dev)?.into_iter().filter(is_stranger).map(Object::Route));
        }
        self.look_at_wireguard(&mut objects)?;
        let relayed = self.relay.iter().flat_map(Relay::subnets);
        objects.extend(relayed.map(|(subnet, endpoint)| Object::Relay { subnet, endpoint }));
        Ok(objects)
    }

    fn look_at_wireguard(&mut self, objects: &mut Vec<Object>) -> Result<(), NetlinkError> {
        self.answering.clear();
        let Some(wireguard) = &mut self.wireguard else { return Ok(()) };
        for device in &self.devices {
            let link = device.index;
            for state in wireguard.device(device.dev())?.peers {
                let age = state.last_handshake.map(|at| at.elapsed().unwrap_or_default());
                if age.is_some_and(|age| age < KEY_LIFE) {
                    self.answering.insert((link, state.peer.public_key));
                }
                objects.push(Object::WireGuard { link, peer: Box::new(state.peer) });
            }
        }
        Ok(())
    }

    /// A node that answers is where it answers from, as behind NAT it may be elsewhere than it says: that is no
    /// difference.
    pub(crate) fn follow_endpoints<O>(&self, have: &mut [Object], want: &[(Object, O)]) {
        if self.answering.is_empty() {
            return;
        }
        let wanted: BTreeMap<_, _> = want.iter().filter_map(|(object, _)| endpoint(object)).collect();
        for object in have {
            if let Object::WireGuard { link, peer } = object
                && let key = (*link, peer.public_key)
                && self.answering.contains(&key)
                && let Some(endpoint) = wanted.get(&key)
            {
                peer.endpoint = *endpoint;
            }
        }
    }

    fn look_at_nexthops(&mut self) -> Result<Vec<Object>, NetlinkError> {
        let mut objects = Vec::new();
        for listed in self.netlink.nexthops()? {
            let on_ours = listed.nexthop.filter(|hop| self.devices.iter().any(|device| device.index == hop.link));
            let is_marked = listed.protocol == PROTOCOL_OVERLAY;
            match on_ours {
                Some(hop) if is_marked => self.ids.adopt(hop.gw, listed.id),
                Some(_) => {}
                None if is_marked => {}
                None => {
                    self.ids.give_up(listed.id);
                    continue;
                }
            }
            objects.push(Object::Nexthop(listed));
        }
        Ok(objects)
    }

    /// Routes without our mark that lead where the wanted plain routes do: a daemon before this one made them.
    pub(crate) fn look_at_forerunners<O>(
        &mut self,
        plan: &Plan,
        want: &[(Object, O)],
    ) -> Result<Vec<Object>, NetlinkError> {
        let mut found = Vec::new();
        for direct in plan.lanes().filter_map(|lane| lane.direct.as_ref()) {
            let wanted: BTreeMap<_, Way> = want
                .iter()
                .filter_map(|(object, _)| match object {
                    Object::Route(route) => Some((object.key(), route.way)),
                    _ => None,
                })
                .collect();
            let dev = Dev { index: direct.link, name: "the external interface" };
            let routes = self.netlink.routes_of_link(dev)?.into_iter();
            let routes = routes.filter(|route| route.protocol != PROTOCOL_OVERLAY).map(Object::Route);
            found.extend(routes.filter(|object| match object {
                Object::Route(route) => wanted.get(&object.key()) == Some(&route.way),
                _ => false,
            }));
        }
        // Both families may have one link.
        found.sort_unstable_by_key(Object::key);
        found.dedup();
        Ok(found)
    }

    /// The link with this index, by the name that it has if it is ours.
    fn dev(&self, index: u32) -> Dev<'_> {
        self.devices
            .iter()
            .find(|device| device.index == index)
            .map_or(Dev { index, name: "a link that is gone" }, Device::dev)
    }
}

fn endpoint(object: &Object) -> Option<((u32, PublicKey), Option<SocketAddr>)> {
    match object {
        Object::WireGuard { link, peer } => Some(((*link, peer.public_key), peer.endpoint)),
        _ => None,
    }
}
