//! Follows the other nodes: one list, and then what changes, from one revision to the next.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::contact::{Contact, Who};
use super::error::EtcdError;
use super::member::{Listing, Own, Place};
use super::messages::{self, EventKind, RangeResponse, WatchEvent, WatchResponse};
use super::stream::Stream;
use super::{about, for_servers};
use crate::race::{First, first};
use crate::store::News;
use crate::store::pause::Pauses;

/// How long it may take to answer.
const PROBE_S: u64 = 5;

/// What both the watcher and the keeper of this node's own place look at.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) contact: Contact,
    own: Mutex<Own>,
    /// Somebody did something to this node's key, or may have.
    pub(super) look: Notify,
    /// This node's key is another one.
    moved: Notify,
}

impl Shared {
    pub(super) fn new(contact: Contact) -> Self {
        Self { contact, own: Mutex::new(Own::default()), look: Notify::new(), moved: Notify::new() }
    }

    pub(super) fn own(&self) -> Own {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells which subnets this node has, if they are others than before.
    pub(super) fn set_own(&self, own: Own) {
        let mut held = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if held.subnets != own.subnets {
            self.contact.tell(News::Subnets(own.subnets.clone()));
        }
        if !held.key.is_empty() && held.key != own.key {
            self.moved.notify_one();
        }
        *held = own;
    }
}

/// How far the watcher is.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    place: &'a Place,
    shared: &'a Shared,
    cluster: u64,
    /// Of the next event.
    next: i64,
}

/// Why a watch came to its end, without a fault of the server.
enum End {
    /// What comes next has been forgotten, the store is another one, or what was passed over as this node's own is not.
    Behind,
    /// There are new certificates.
    Renewed,
}

impl<'a> Watcher<'a> {
    /// Begins with `listing`, and tells it.
    pub(super) fn new(place: &'a Place, shared: &'a Shared, listing: Listing) -> Self {
        let mut watcher = Self { place, shared, cluster: 0, next: 0 };
        watcher.tell_all(listing);
        watcher
    }

    fn tell_all(&mut self, listing: Listing) {
        let own = self.shared.own().key;
        let others = listing.kvs.iter().filter(|kv| own.as_bytes() != kv.key);
        let records = others.map(|kv| self.place.layout.record(&kv.key, &kv.value)).collect();
        self.shared.contact.tell(News::All(records));
        (self.cluster, self.next) = (listing.cluster, listing.revision + 1);
    }

    /// Follows for ever.
    pub(super) async fn run(mut self) {
        let mut pause = for_servers();
        loop {
            let error = match self.follow(&mut pause).await {
                Ok(End::Renewed) => continue,
                Ok(End::Behind) => match self.list_again().await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.shared.contact.lost(Who::Watcher, &error);
            sleep(pause.next()).await;
        }
    }

    async fn list_again(&mut self) -> Result<(), EtcdError> {
        let listing = self.place.list().await?;
        tracing::debug!(nodes = listing.kvs.len(), revision = listing.revision, "nodes were listed again");
        self.tell_all(listing);
        self.shared.look.notify_one();
        Ok(())
    }

    /// Watches until something is wrong.
    async fn follow(&mut self, pause: &mut Pauses) -> Result<End, EtcdError> {
        let body = messages::watch(&self.place.layout.subnets, self.next);
        let mut stream = self.place.client.stream("/v3/watch", &body).await?;
        let end = self.read(&mut stream, pause).await;
        match &end {
            Err(error) if error.is_of_server() => self.place.client.leave(stream.server),
            // A token that is no longer good is no reason that servers give for ending a watch: they do not permit it.
            Err(_) => self.place.client.forget_token(),
            Ok(_) => {}
        }
        end
    }

    async fn read(&mut self, stream: &mut Stream, pause: &mut Pauses) -> Result<End, EtcdError> {
        let mut is_silent = true;
        let mut check = Instant::now() + about(self.place.check);
        loop {
            let other = first(self.shared.moved.notified(), sleep_until(check));
            match first(stream.next::<WatchResponse>(), other).await {
                First::A(response) => {
                    is_silent = false;
                    if let Some(end) = self.take(response?, &stream.endpoint)? {
                        return Ok(end);
                    }
                    pause.reset();
                }
                First::B(First::A(())) => return Ok(End::Behind),
                First::B(First::B(())) => {
                    if self.place.client.refresh() {
                        return Ok(End::Renewed);
                    }
                    if std::mem::replace(&mut is_silent, true) {
                        self.probe(stream).await?;
                    }
                    check = Instant::now() + about(self.place.check);
                }
            }
        }
    }

    /// What an answer of the watch means.
    fn take(&mut self, response: WatchResponse, endpoint: &str) -> Result<Option<End>, EtcdError> {
        let header = response.header;
        if response.compact_revision != 0 {
            return Ok(Some(End::Behind));
        }
        if response.canceled {
            let reason = response.cancel_reason;
            return Err(EtcdError::WatchEnded { endpoint: endpoint.to_owned(), reason });
        }
        if response.created {
            // A store that was made anew or restored is behind: nothing would come until it has caught up.
            if header.cluster_id != self.cluster || header.revision + 1 < self.next {
                return Ok(Some(End::Behind));
            }
            self.shared.contact.found(Who::Watcher);
        } else if response.events.is_empty() {
            self.next = self.next.max(header.revision + 1);
        }
        for event in response.events {
            // Not the header's: a server that catches up sends several answers.
            self.next = event.kv.mod_revision + 1;
            self.tell(&event);
        }
        Ok(None)
    }

    fn tell(&self, event: &WatchEvent) {
        let layout = &self.place.layout;
        let own = self.shared.own();
        if own.key.as_bytes() == event.kv.key {
            if !own.wrote(&event.kv) {
                self.shared.look.notify_one();
            }
            return;
        }
        self.shared.contact.tell(match event.kind {
            EventKind::Put => News::Changed(layout.record(&event.kv.key, &event.kv.value)),
            EventKind::Delete => News::Gone(layout.name(&event.kv.key)),
        });
    }

    /// Asks the server that is watched for something that it must have a majority for.
    async fn probe(&self, stream: &Stream) -> Result<(), EtcdError> {
        let body = messages::one(&self.place.layout.config);
        let _: RangeResponse = self.place.client.call_at(stream.server, "/v3/kv/range", &body, PROBE_S).await?;
        Ok(())
    }
}
