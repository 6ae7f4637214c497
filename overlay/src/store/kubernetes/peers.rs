//! The other nodes: what is seen of them in the API, as news; what is not new is left out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::Records;
use super::annotations::AnnotationPrefix;
use super::api::{Api, ApiError};
use super::node::Node;
use super::overlay_node::{self, OverlayNode};
use super::session::{Message, Outbox, Part};
use super::watch::{Object, Sight, Target, watch};
use crate::store::{News, Record, Teller};

/// Watches the others for ever.
pub(super) async fn peers(
    api: Api,
    records: Records,
    prefix: AnnotationPrefix,
    us: String,
    teller: Teller,
    outbox: Outbox,
) {
    let mut peers = Peers { teller, outbox, us, told: HashMap::new(), hasher: RandomState::new() };
    if records.are_read_from_annotations() {
        let target = Target { path: "/api/v1/nodes", resource: "nodes", name: None };
        let record = |node: Node| (prefix.record(&node), node.metadata.name);
        watch(&api, &target, |sight| peers.take(sight, record)).await;
    } else {
        let target = Target { path: overlay_node::PATH, resource: overlay_node::RESOURCE, name: None };
        let record = |node: OverlayNode| {
            let name = node.metadata.name;
            (Some(Record { name: name.clone(), claim: node.spec }), name)
        };
        watch(&api, &target, |sight| peers.take(sight, record)).await;
    }
}

struct Peers {
    teller: Teller,
    outbox: Outbox,
    /// This node's name: what others make of its record is told, too.
    us: String,
    /// A hash of what was told last of each. Nodes change all the time, what they say here hardly ever.
    told: HashMap<String, u64>,
    hasher: RandomState,
}

impl Peers {
    fn take<T: Object>(&mut self, sight: Result<Sight<T>, ApiError>, record: impl Fn(T) -> (Option<Record>, String)) {
        match sight {
            Ok(Sight::All(objects)) => self.all(objects.into_iter().filter_map(|object| record(object).0).collect()),
            Ok(Sight::Changed(object)) => match record(object) {
                (Some(record), _) => self.changed(record),
                (None, name) => self.gone(name),
            },
            Ok(Sight::Gone(object)) => self.gone(record(object).1),
            Ok(Sight::Resumed) => {}
            Err(error) => return self.outbox.send(Message::Problem(Part::Peers, Some(error.text()))),
        }
        self.outbox.send(Message::Problem(Part::Peers, None));
    }

    fn all(&mut self, records: Vec<Record>) {
        self.told = records.iter().map(|record| (record.name.clone(), self.hasher.hash_one(record))).collect();
        let ours = records.iter().find(|record| record.name == self.us);
        self.outbox.send(Message::Ours(ours.and_then(|record| record.claim.clone().ok())));
        self.teller.tell(News::All(records));
    }

    fn changed(&mut self, record: Record) {
        let hash = self.hasher.hash_one(&record);
        if self.told.insert(record.name.clone(), hash) == Some(hash) {
            return;
        }
        if record.name == self.us {
            self.outbox.send(Message::Ours(record.claim.clone().ok()));
        }
        self.teller.tell(News::Changed(record));
    }

    fn gone(&mut self, name: String) {
        if self.told.remove(&name).is_none() {
            return;
        }
        if name == self.us {
            self.outbox.send(Message::Ours(None));
        }
        self.teller.tell(News::Gone(name));
    }
}
