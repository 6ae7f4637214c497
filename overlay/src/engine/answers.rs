//! What operators ask.

use std::net::IpAddr;
use std::time::Instant;

use libcni::error::causes;
use linuxnet::link::Dev;
use linuxnet::wireguard::PublicKey;

use crate::config::Programming;
use crate::desired::Step;
use crate::event::Ask;
use crate::network::Backend;
use crate::peer::{How, Peer};
use crate::report::{Explanation, PeerRow, Status};
use crate::roster::Name;

use super::peers::{Programmed, endpoints, subnets};
use super::{Engine, StoreState};

impl Engine {
    pub(super) fn answer(&mut self, ask: Ask) {
        // Nobody may be waiting any more.
        match ask {
            Ask::Status(to) => drop(to.send(self.status())),
            Ask::Peers(to) => drop(to.send(self.rows())),
            Ask::Diff(to) => drop(to.send(self.differences())),
            Ask::Explain(address, to) => drop(to.send(self.explain(address))),
        }
    }

    fn status(&self) -> Status {
        Status {
            not_ready: self.not_ready(),
            node: self.node.name.clone(),
            backend: self.backend(),
            subnets: self.subnets.iter().flatten().map(ToString::to_string).collect(),
            mtu: self.mtu(),
            store: match &self.store {
                StoreState::Silent => "not heard of yet".to_owned(),
                StoreState::Reachable => "reachable".to_owned(),
                StoreState::Unreachable(since, why) => {
                    let seconds = since.elapsed().unwrap_or_default().as_secs();
                    format!("unreachable for {seconds} s: {why}")
                }
            },
            peers: self.peers.len(),
            refused: self.roster.refused_count(),
            failing: self.peers.values().filter(|programmed| programmed.trouble.is_some()).count(),
            stale: if self.is_stale { self.peers.len() } else { 0 },
            drift_repaired: self.drift,
        }
    }

    fn backend(&self) -> String {
        match (&self.network.backend, self.base.programming) {
            (Backend::Vxlan(_), Some(Programming::Nexthops)) => "vxlan (nexthop objects)".to_owned(),
            (Backend::Vxlan(_), Some(_)) => "vxlan (neighbours)".to_owned(),
            (backend, _) => backend.name().to_owned(),
        }
    }

    fn rows(&self) -> Vec<PeerRow> {
        let row = |name: &Name, peer: Option<&Peer>, state| PeerRow {
            name: crate::peer::cut(name),
            subnets: peer
                .iter()
                .flat_map(|peer| peer.sides())
                .flat_map(|side| &side.subnets)
                .map(ToString::to_string)
                .collect(),
            endpoints: peer.iter().flat_map(|peer| peer.sides()).map(|side| side.endpoint.to_string()).collect(),
            how: peer.map(|peer| self.how(peer)).unwrap_or_default(),
            state,
        };
        let programmed = self.peers.iter().map(|(name, there)| row(name, Some(&there.peer), self.state(there)));
        let refused = self.roster.refused();
        let refused = refused.map(|(name, said, why)| row(name, said.map(|said| &**said), format!("refused: {why}")));
        let mut rows: Vec<_> = programmed.chain(refused).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    /// Such as `vxlan 0a:58:…`, of all families.
    fn how(&self, peer: &Peer) -> String {
        let mut words = vec![self.network.backend.name().to_owned()];
        for side in peer.sides() {
            let lane = self.plan.as_ref().and_then(|plan| plan.lane(side.endpoint));
            let word = match &side.how {
                _ if lane.is_some_and(|lane| lane.direct_to(side.endpoint).is_some()) => "direct".to_owned(),
                How::Vxlan { mac } => mac.to_string(),
                How::WireGuard { key, .. } => PublicKey(*key).to_string(),
                How::Plain => continue,
            };
            words.push(word);
        }
        words.join(" ")
    }

    fn state(&self, programmed: &Programmed) -> String {
        match &programmed.trouble {
            Some(trouble) => match trouble.next {
                Some(next) => {
                    let seconds = next.saturating_duration_since(Instant::now()).as_secs();
                    format!("failing: {} (next try in {seconds} s)", trouble.why)
                }
                None => format!("failing: {}", trouble.why),
            },
            None if self.is_stale => "stale".to_owned(),
            None => "ok".to_owned(),
        }
    }

    /// From a container's address to the wire.
    fn explain(&mut self, address: IpAddr) -> Explanation {
        let mut explanation = Explanation { steps: Vec::new(), faults: Vec::new() };
        if let Some(subnet) = self.subnets.iter().flatten().find(|subnet| subnet.contains(&address)) {
            explanation.steps.push(format!("{address} is in {subnet}, the subnet of this node"));
            return explanation;
        }
        let holder = self.roster.holder(address).map(|(subnet, name)| (*subnet, name.clone()));
        let Some((subnet, name)) = holder else {
            self.explain_nobody(address, &mut explanation);
            return explanation;
        };
        let Some(programmed) = self.peers.get(&name) else { return explanation };
        let (peer, state) = (programmed.peer.clone(), self.state(programmed));
        let at = endpoints(&peer);
        explanation.steps.push(format!("{address} is in {subnet} of node {}, at {at}", crate::peer::cut(&name)));
        if state != "ok" {
            explanation.faults.push(state);
        }
        self.explain_objects(&name, &peer, address, &mut explanation);
        if let Some(side) = peer.sides().find(|side| side.endpoint.is_ipv4() == address.is_ipv4()) {
            self.explain_route(side.endpoint, &mut explanation);
        }
        explanation
    }

    fn explain_nobody(&self, address: IpAddr, explanation: &mut Explanation) {
        explanation.faults.push(format!("{address} is in no node's subnet"));
        for (name, said, why) in self.roster.refused() {
            if let Some(said) = said
                && said.sides().any(|side| side.subnets.iter().any(|subnet| subnet.contains(&address)))
            {
                let subnets = subnets(said);
                explanation
                    .faults
                    .push(format!("node {} claims {subnets}, and is refused: {why}", crate::peer::cut(name)));
            }
        }
    }

    /// What should be in the kernel for this node, and what of it is not.
    fn explain_objects(&mut self, name: &Name, peer: &Peer, address: IpAddr, explanation: &mut Explanation) {
        let Some(plan) = &self.plan else {
            explanation.faults.extend(self.not_ready());
            return;
        };
        let of_family = Peer {
            v4: peer.v4.clone().filter(|_| address.is_ipv4()),
            v6: peer.v6.clone().filter(|_| address.is_ipv6()),
            mtu: None,
        };
        let mut objects = Vec::new();
        // Why it cannot be reached is in its state.
        let _ = plan.objects(&of_family, &mut self.kernel.ids, &mut objects);
        explanation.steps.extend(objects.iter().map(|object| self.shown(object)));
        match self.compare() {
            Ok(comparison) => {
                let keys: Vec<_> = objects.iter().map(|object| object.key()).collect();
                let wrong = comparison.steps.iter().filter(|(step, _)| keys.contains(&step.object().key()));
                explanation.faults.extend(wrong.map(|(step, _)| {
                    let what = if matches!(step, Step::Make(_)) { "missing" } else { "different" };
                    format!("{what} in the kernel: {}", self.shown(step.object()))
                }));
            }
            Err(e) => explanation.faults.push(causes(Some(&e))),
        }
        self.unreachable.clear();
        tracing::debug!(name = crate::peer::cut(name), "explained");
    }

    /// How packets to another node leave this one.
    fn explain_route(&mut self, endpoint: IpAddr, explanation: &mut Explanation) {
        match self.kernel.netlink.find_route(endpoint) {
            Ok(Some(route)) => {
                let link = route.link.unwrap_or_default();
                let via = route.gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
                explanation.steps.push(format!("{endpoint}{via} dev {}", self.link_name(link)));
                if self.kernel.devices.iter().any(|device| device.index == link) {
                    explanation.faults.push(format!("packets to {endpoint} go into the overlay themselves"));
                }
            }
            Ok(None) => explanation.faults.push(format!("there is no route to {endpoint}")),
            Err(e) => explanation.faults.push(causes(Some(&e))),
        }
    }

    /// An object as `ip` and `bridge` show it.
    pub(super) fn shown(&self, object: &crate::desired::Object) -> String {
        object.shown(&|index| self.link_name(index))
    }

    fn link_name(&self, index: u32) -> String {
        let devices = self.kernel.devices.iter().map(|device| device.dev());
        let underlays = [&self.node.v4, &self.node.v6].into_iter().flatten();
        let underlays = underlays.map(|underlay| Dev { index: underlay.link, name: &underlay.name });
        let name = devices.chain(underlays).find(|dev| dev.index == index).map(|dev| dev.name.to_owned());
        name.unwrap_or_else(|| index.to_string())
    }
}
