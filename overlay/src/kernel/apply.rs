//! Steps become requests to the kernel, each by the socket that takes it.

use linuxnet::NetlinkError;
use linuxnet::netlink::{Failure, Request};
use linuxnet::wireguard::{Peer, WireGuard};
use linuxnet::{fdb, neigh, nexthop, route};

use crate::desired::{Object, Step};

use super::Kernel;

/// A step, asked for.
enum Asked {
    /// By rtnetlink.
    Routing(Request),
    /// By WireGuard's socket.
    WireGuard(Request),
    /// It is done: it was this process's own.
    Done,
}

/// Requests to one socket, with the places of their steps.
#[derive(Default)]
struct Part {
    requests: Vec<Request>,
    places: Vec<usize>,
}

impl Part {
    fn push(&mut self, place: usize, request: Request) {
        self.requests.push(request);
        self.places.push(place);
    }

    /// Failures, by the places of their steps.
    fn placed(&self, failures: Vec<Failure>) -> impl Iterator<Item = Failure> {
        failures.into_iter().filter_map(|failure| Some(Failure { at: *self.places.get(failure.at)?, ..failure }))
    }
}

impl Kernel {
    /// Does the steps, in order; gives those that failed. What is to be removed and is not there is no failure.
    ///
    /// Those of WireGuard and of the relay come first: packets that have no route do not miss them, and those that have
    /// one go nowhere else.
    pub(crate) fn apply<O>(&mut self, steps: &[(Step, Option<O>)]) -> Result<Vec<Failure>, NetlinkError> {
        let (mut routing, mut wireguard) = (Part::default(), Part::default());
        for (at, (step, _)) in steps.iter().enumerate() {
            match self.ask(step) {
                Asked::Routing(request) => routing.push(at, request),
                Asked::WireGuard(request) => wireguard.push(at, request),
                Asked::Done => {}
            }
        }
        let mut failures = Vec::new();
        if let Some(socket) = &mut self.wireguard {
            failures.extend(wireguard.placed(socket.send_each(&wireguard.requests)?));
        }
        failures.extend(routing.placed(self.netlink.send_each(&routing.requests)?));
        failures.retain(|failure| {
            let is_removal = matches!(steps.get(failure.at), Some((Step::Remove(_), _)));
            !(is_removal && failure.error.is_not_found())
        });
        Ok(failures)
    }

    /// How many requests it has sent.
    pub(crate) fn sent(&self) -> u64 {
        self.netlink.sent() + self.wireguard.as_ref().map_or(0, WireGuard::sent)
    }

    fn ask(&self, step: &Step) -> Asked {
        let is_removal = matches!(step, Step::Remove(_));
        let request = match step.object() {
            Object::Nexthop(listed) => match (step, &listed.nexthop) {
                (Step::Make(_), Some(hop)) => nexthop::create(hop),
                (Step::Change(_), Some(hop)) => nexthop::set(hop),
                _ => nexthop::remove(listed.id),
            },
            Object::Neighbour(there) => match there.mac {
                Some(mac) if !is_removal => neigh::set(self.dev(there.link), there.ip, mac),
                _ => neigh::remove(self.dev(there.link), there.ip),
            },
            Object::Forward { link, entry } => match entry.dst {
                Some(dst) if !is_removal => fdb::set(self.dev(*link), entry.mac, dst),
                _ => fdb::remove(self.dev(*link), entry),
            },
            Object::Route(route) => match step {
                Step::Make(_) => route::create_marked(route),
                Step::Change(_) => route::set_marked(route),
                Step::Remove(_) => route::remove_marked(route),
            },
            Object::WireGuard { link, peer } => return self.ask_wireguard(*link, peer, is_removal),
            Object::Relay { subnet, endpoint } => {
                match &self.relay {
                    Some(relay) if is_removal => relay.remove(*subnet),
                    Some(relay) => relay.set(*subnet, *endpoint),
                    // Nothing is relayed any more.
                    None => {}
                }
                return Asked::Done;
            }
        };
        Asked::Routing(request)
    }

    fn ask_wireguard(&self, link: u32, peer: &Peer, is_removal: bool) -> Asked {
        match &self.wireguard {
            Some(socket) if is_removal => Asked::WireGuard(socket.remove_peer(self.dev(link), &peer.public_key)),
            Some(socket) => Asked::WireGuard(socket.set_peer(self.dev(link), peer)),
            None => Asked::Done,
        }
    }
}
