//! Who is in: what stores tell of nodes is not trusted, and those that are at odds with this node, the cluster or each
//! other are refused, so that the others work.
//!
//! Of two nodes that claim the same, the one that holds it stays; of several that want it at once, the one that was
//! known first, or comes first by name. A node that is refused for another's sake waits, and is looked at again when that
//! one leaves. A change costs O(log n) for each node that it admits, moves or lets wait elsewhere.

mod held;
mod own;
mod refusal;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use libcni::types::MacAddr;

use crate::network::Network;
use crate::peer::Peer;
use crate::store::{News, Record};

use self::held::{Held, Thing, last};
pub(crate) use self::own::Own;
pub(crate) use self::refusal::Refusal;

/// A node's name in the store.
pub(crate) type Name = Arc<str>;

/// A node that others should know differently from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: Name,
    /// What it is now; `None`: it is not believed any more, or gone.
    pub(crate) peer: Option<Arc<Peer>>,
}

/// All nodes that the store told of.
#[derive(Debug)]
pub(crate) struct Roster {
    network: Network,
    own: Own,
    nodes: BTreeMap<Name, Node>,
    held: Held,
    /// Those that wait for something, the ones that were known first first.
    waiting: BTreeMap<Thing, BTreeSet<(u64, Name)>>,
    /// Counts the news.
    clock: u64,
    refused: usize,
}

#[derive(Debug)]
struct Node {
    /// The news that it came with.
    since: u64,
    said: Result<Arc<Peer>, Refusal>,
    standing: Standing,
}

#[derive(Debug, PartialEq)]
enum Standing {
    /// Nobody has looked yet.
    New,
    Believed,
    /// It is this node itself.
    Us,
    Refused(Refusal, Option<Thing>),
}

/// What one piece of news does.
#[derive(Default)]
struct Round {
    /// What nodes were before.
    before: BTreeMap<Name, Option<Arc<Peer>>>,
    /// What is free again.
    freed: Vec<Thing>,
    /// Those to look at, first those who were believed until now, then those who were known first.
    candidates: BTreeSet<(bool, u64, Name)>,
}

impl Roster {
    pub(crate) fn new(network: Network, own: Own) -> Self {
        Self {
            network,
            own,
            nodes: BTreeMap::new(),
            held: Held::default(),
            waiting: BTreeMap::new(),
            clock: 0,
            refused: 0,
        }
    }

    /// What a store's news changes for those who are believed.
    pub(crate) fn hear(&mut self, news: News) -> Vec<Change> {
        self.clock += 1;
        let mut round = Round::default();
        match news {
            News::All(records) => self.replace_all(records, &mut round),
            News::Changed(record) => self.say(record, &mut round),
            News::Gone(name) => self.forget(&name, &mut round),
            News::Subnets(_) | News::Unreachable(_) | News::Reachable => {}
        }
        self.settle(round)
    }

    /// What was believed in another life, instead of a store's list.
    pub(crate) fn restore(&mut self, peers: impl Iterator<Item = (Name, Arc<Peer>)>) -> Vec<Change> {
        self.clock += 1;
        let mut round = Round::default();
        for (name, peer) in peers {
            self.insert(name, Ok(peer), &mut round);
        }
        self.settle(round)
    }

    /// This node is something else from now on: everybody is looked at again, those who are believed first.
    pub(crate) fn set_own(&mut self, own: Own) -> Vec<Change> {
        if self.own == own {
            return Vec::new();
        }
        self.own = own;
        self.clock += 1;
        self.held = Held::default();
        self.waiting.clear();
        let mut round = Round::default();
        let (believed, others): (Vec<_>, Vec<_>) = self
            .nodes
            .iter()
            .map(|(name, node)| (node.standing == Standing::Believed, name.clone(), node.since))
            .partition(|(is_believed, ..)| *is_believed);
        for (_, name, _) in &believed {
            if let Some(node) = self.nodes.get_mut(name) {
                round.before.insert(name.clone(), node.said.as_ref().ok().cloned());
                node.standing = Standing::New;
            }
            self.judge(name);
        }
        round.candidates.extend(others.into_iter().map(|(_, name, since)| (true, since, name)));
        self.settle(round)
    }

    /// Whether a believed node has this hardware address in this family.
    pub(crate) fn has_mac(&self, is_v4: bool, mac: MacAddr) -> bool {
        self.held.has_mac(is_v4, mac)
    }

    /// Whether a believed node has a subnet that begins there.
    pub(crate) fn has_subnet_at(&self, base: IpAddr) -> bool {
        self.held.has_subnet_at(base)
    }

    /// Which believed node has an address, in which subnet.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<(&IpNet, &Name)> {
        self.held.find(address)
    }

    #[cfg(test)]
    pub(crate) fn believed(&self) -> impl Iterator<Item = (&Name, &Arc<Peer>)> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.standing == Standing::Believed)
            .filter_map(|(name, node)| Some((name, node.said.as_ref().ok()?)))
    }

    /// Those who are refused: what they say, if that makes sense in itself, and why it is not believed.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&Name, Option<&Arc<Peer>>, &Refusal)> {
        self.nodes.iter().filter_map(|(name, node)| match &node.standing {
            Standing::Refused(why, _) => Some((name, node.said.as_ref().ok(), why)),
            _ => None,
        })
    }

    /// How many are refused.
    pub(crate) fn refused_count(&self) -> usize {
        self.refused
    }

    fn replace_all(&mut self, records: Vec<Record>, round: &mut Round) {
        let told: BTreeSet<&str> = records.iter().map(|record| record.name.as_str()).collect();
        let gone: Vec<_> = self.nodes.keys().filter(|name| !told.contains(&***name)).cloned().collect();
        for name in gone {
            self.forget(&name, round);
        }
        for record in records {
            self.say(record, round);
        }
    }

    fn forget(&mut self, name: &str, round: &mut Round) {
        let Some((name, _)) = self.nodes.get_key_value(name) else { return };
        let name = name.clone();
        self.withdraw(&name, round);
        self.nodes.remove(&name);
    }

    fn say(&mut self, record: Record, round: &mut Round) {
        let said = match record.claim {
            Ok(claim) => Peer::check(&claim, &self.network).map(Arc::new),
            Err(why) => Err(Refusal::Unreadable(why)),
        };
        let name = match self.nodes.get_key_value(record.name.as_str()) {
            Some((_, node)) if node.said == said => return,
            Some((name, _)) => name.clone(),
            None => Name::from(record.name),
        };
        self.insert(name, said, round);
    }

    fn insert(&mut self, name: Name, said: Result<Arc<Peer>, Refusal>, round: &mut Round) {
        self.withdraw(&name, round);
        let since = self.clock;
        let node = self.nodes.entry(name.clone()).or_insert_with(|| Node {
            since,
            said: Err(Refusal::Nothing),
            standing: Standing::New,
        });
        node.said = said;
        let is_new = !matches!(round.before.get(&name), Some(Some(_)));
        round.candidates.insert((is_new, node.since, name));
    }

    /// Takes back what a node holds, or that it waits.
    fn withdraw(&mut self, name: &Name, round: &mut Round) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let standing = std::mem::replace(&mut node.standing, Standing::New);
        let was = match (&standing, &node.said) {
            (Standing::Believed, Ok(peer)) => Some(peer.clone()),
            _ => None,
        };
        if let Some(peer) = &was {
            self.held.release(name, peer);
            round.freed.extend(peer.sides().flat_map(|side| {
                let mac = side.mac().map(|mac| Thing::Mac(mac, side.endpoint));
                let subnets = side.subnets.iter().map(|subnet| Thing::Subnet(*subnet));
                let key = side.key().map(|key| Thing::Key(side.endpoint.is_ipv4(), key));
                subnets.chain([Thing::Endpoint(side.endpoint)]).chain(mac).chain(key)
            }));
        }
        if let Standing::Refused(_, thing) = standing {
            self.refused -= 1;
            let since = node.since;
            if let Some(thing) = thing {
                self.stop_waiting(thing, since, name);
            }
        }
        round.before.entry(name.clone()).or_insert(was);
    }

    fn stop_waiting(&mut self, thing: Thing, since: u64, name: &Name) {
        if let Some(queue) = self.waiting.get_mut(&thing) {
            queue.remove(&(since, name.clone()));
            if queue.is_empty() {
                self.waiting.remove(&thing);
            }
        }
    }

    /// Looks at all candidates, and at those who waited for what is free now.
    fn settle(&mut self, mut round: Round) -> Vec<Change> {
        let mut things = BTreeSet::new();
        for freed in &round.freed {
            self.waiting_for(freed, &mut things);
        }
        for thing in things {
            self.call_first(&thing, &mut round);
        }
        while let Some((.., name)) = round.candidates.pop_first() {
            let Some(node) = self.nodes.get(&name) else { continue };
            let waited = match &node.standing {
                Standing::Refused(_, thing) => *thing,
                _ => None,
            };
            round.before.entry(name.clone()).or_insert(None);
            let waits = self.judge(&name);
            // Those behind it in the queue wait for the same: if it is held still, they need not be asked.
            if let Some(thing) = waited
                && waits != waited
            {
                self.call_first(&thing, &mut round);
            }
        }
        self.changes(round.before)
    }

    /// The queues of those who wait for something that overlaps `freed`.
    fn waiting_for(&self, freed: &Thing, things: &mut BTreeSet<Thing>) {
        match *freed {
            Thing::Subnet(subnet) => {
                let within = Thing::Subnet(subnet)..=Thing::Subnet(last(subnet));
                things.extend(self.waiting.range(within).map(|(thing, _)| *thing));
                let within = Thing::Endpoint(subnet.network())..=Thing::Endpoint(subnet.broadcast());
                things.extend(self.waiting.range(within).map(|(thing, _)| *thing));
                self.waiting_around(subnet, things);
            }
            Thing::Endpoint(address) => self.waiting_around(address.into(), things),
            Thing::Key(..) => things.extend(Some(*freed).filter(|thing| self.waiting.contains_key(thing))),
            Thing::Mac(mac, endpoint) => {
                let (first, last): (IpAddr, IpAddr) = match endpoint {
                    IpAddr::V4(_) => ([0; 4].into(), [255; 4].into()),
                    IpAddr::V6(_) => ([0u8; 16].into(), [255u8; 16].into()),
                };
                let range = Thing::Mac(mac, first)..=Thing::Mac(mac, last);
                things.extend(self.waiting.range(range).map(|(thing, _)| *thing));
            }
        }
    }

    /// The queues of those who wait for a subnet in which `net` is.
    fn waiting_around(&self, net: IpNet, things: &mut BTreeSet<Thing>) {
        let around = std::iter::successors(Some(net), IpNet::supernet).map(Thing::Subnet);
        things.extend(around.filter(|thing| self.waiting.contains_key(thing)));
    }

    fn call_first(&self, thing: &Thing, round: &mut Round) {
        let first = self.waiting.get(thing).and_then(|queue| queue.first());
        round.candidates.extend(first.map(|(since, name)| (true, *since, name.clone())));
    }

    /// Decides about a node; gives what it waits for.
    fn judge(&mut self, name: &Name) -> Option<Thing> {
        let node = self.nodes.get(name)?;
        let since = node.since;
        let (standing, peer) = match &node.said {
            Err(why) => (Standing::Refused(why.clone(), None), None),
            Ok(peer) => (self.opinion(name, peer), Some(peer.clone())),
        };
        if let (Standing::Believed, Some(peer)) = (&standing, peer) {
            self.held.take(name, &peer);
        }
        let waits = match &standing {
            Standing::Refused(_, thing) => *thing,
            _ => None,
        };
        let node = self.nodes.get_mut(name)?;
        let before = std::mem::replace(&mut node.standing, standing);
        if let Standing::Refused(why, _) = &node.standing {
            self.refused += 1;
            if !matches!(before, Standing::Refused(..)) {
                tracing::warn!(name = crate::peer::cut(name), reason = %why, "peer refused");
            }
        }
        if let Standing::Refused(_, thing) = before {
            self.refused -= 1;
            if let Some(thing) = thing
                && waits != Some(thing)
            {
                self.stop_waiting(thing, since, name);
            }
        }
        if let Some(thing) = waits {
            self.waiting.entry(thing).or_default().insert((since, name.clone()));
        }
        waits
    }

    fn opinion(&self, name: &Name, peer: &Peer) -> Standing {
        let Own { name: own, subnets: ours, addresses, .. } = &self.own;
        if **name == **own {
            return Standing::Us;
        }
        if peer.sides().any(|side| addresses.contains(&side.endpoint))
            && peer.sides().all(|side| side.subnets.iter().all(|subnet| ours.contains(subnet)))
        {
            // Stores that name nodes by their subnets tell of this one by another name.
            return Standing::Us;
        }
        if let Some(why) = peer.sides().find_map(|side| self.own.conflict(side)) {
            return Standing::Refused(why, None);
        }
        match self.held.conflict(peer) {
            Some((thing, why)) => Standing::Refused(why, Some(thing)),
            None => Standing::Believed,
        }
    }

    fn changes(&self, before: BTreeMap<Name, Option<Arc<Peer>>>) -> Vec<Change> {
        let now = |name: &Name| match self.nodes.get(name) {
            Some(Node { standing: Standing::Believed, said: Ok(peer), .. }) => Some(peer.clone()),
            _ => None,
        };
        before
            .into_iter()
            .map(|(name, before)| (before, Change { peer: now(&name), name }))
            .filter(|(before, change)| *before != change.peer)
            .map(|(_, change)| change)
            .collect()
    }
}
