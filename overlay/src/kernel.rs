//! The kernel: what of ours is there, and how it is changed.

mod device;

use std::collections::BTreeMap;

use linuxnet::link::Dev;
use linuxnet::netlink::{Failure, Netlink, Request};
use linuxnet::route::{MarkedRoute, PROTOCOL_OVERLAY, Way};
use linuxnet::{NetlinkError, fdb, neigh, nexthop, route};

use crate::desired::{Ids, Object, Plan, Step};
use crate::event::Device;

pub(crate) use self::device::{DeviceError, Ensured, VxlanDevice, ensure_vxlan};

/// `RTPROT_KERNEL` of linux/rtnetlink.h: what the kernel makes itself, for addresses.
const PROTOCOL_KERNEL: u8 = 2;

/// Speaks to the kernel of this namespace.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) netlink: Netlink,
    pub(crate) ids: Ids,
    /// Our links: all on them is ours.
    pub(crate) devices: Vec<Device>,
}

impl Kernel {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Ok(Self { netlink: Netlink::open()?, ids: Ids::default(), devices: Vec::new() })
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
            let forward = |entry| Object::Forward { link: device.index, entry };
            objects.extend(netlink.fdb(dev)?.into_iter().map(forward));
            let is_stranger = |route: &MarkedRoute| !matches!(route.protocol, PROTOCOL_OVERLAY | PROTOCOL_KERNEL);
            objects.extend(netlink.routes_of_link(dev)?.into_iter().filter(is_stranger).map(Object::Route));
        }
        Ok(objects)
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

    /// Does the steps, in order; gives those that failed. What is to be removed and is not there is no failure.
    pub(crate) fn apply<O>(&mut self, steps: &[(Step, Option<O>)]) -> Result<Vec<Failure>, NetlinkError> {
        let requests: Vec<_> = steps.iter().map(|(step, _)| self.request(step)).collect();
        let mut failures = self.netlink.send_each(&requests)?;
        failures.retain(|failure| {
            let is_removal = matches!(steps.get(failure.at), Some((Step::Remove(_), _)));
            !(is_removal && failure.error.is_not_found())
        });
        Ok(failures)
    }

    fn request(&self, step: &Step) -> Request {
        match step {
            Step::Make(Object::Nexthop(listed)) => match &listed.nexthop {
                Some(hop) => nexthop::create(hop),
                None => nexthop::remove(listed.id),
            },
            Step::Change(Object::Nexthop(listed)) => match &listed.nexthop {
                Some(hop) => nexthop::set(hop),
                None => nexthop::remove(listed.id),
            },
            Step::Remove(Object::Nexthop(listed)) => nexthop::remove(listed.id),
            Step::Make(Object::Route(route)) => route::create_marked(route),
            Step::Change(Object::Route(route)) => route::set_marked(route),
            Step::Remove(Object::Route(route)) => route::remove_marked(route),
            Step::Make(Object::Neighbour(there)) | Step::Change(Object::Neighbour(there)) => match there.mac {
                Some(mac) => neigh::set(self.dev(there.link), there.ip, mac),
                None => neigh::remove(self.dev(there.link), there.ip),
            },
            Step::Remove(Object::Neighbour(there)) => neigh::remove(self.dev(there.link), there.ip),
            Step::Make(Object::Forward { link, entry }) | Step::Change(Object::Forward { link, entry }) => {
                match entry.dst {
                    Some(dst) => fdb::set(self.dev(*link), entry.mac, dst),
                    None => fdb::remove(self.dev(*link), entry),
                }
            }
            Step::Remove(Object::Forward { link, entry }) => fdb::remove(self.dev(*link), entry),
        }
    }

    /// The link with this index, by the name that it has if it is ours.
    fn dev(&self, index: u32) -> Dev<'_> {
        self.devices
            .iter()
            .find(|device| device.index == index)
            .map_or(Dev { index, name: "a link that is gone" }, Device::dev)
    }
}
