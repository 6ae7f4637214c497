//! What the daemon knows: the attachments and who waits for an address; and what it does when somebody asks, or
//! something happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libcni::CniError;
use libcni::error::causes;
use libcni::store::StoreError;
use libcni::types::AddResult;

use super::holder::{Holder, Notice, release_from_host};
use super::log;
use super::place::Presence;
use super::refusal::Refusal;
use crate::lease::{Ending, Event, Time, Timing};
use crate::protocol::{Outcome, Request, What, WireOptions};
use crate::record::{Owner, Record, Records};

/// What the flags say.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where the root of the host is seen.
    pub(super) host_prefix: String,
    pub(super) broadcast: bool,
    pub(super) timing: Timing,
}

impl Settings {
    /// Where a path of the host is seen.
    pub(super) fn on_host(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("{}{}", self.host_prefix, path.display()))
    }
}

/// The number of a connection.
pub(super) type Asker = u64;

/// What an asker is told: at once, or when it is known.
pub(super) type Answers = Vec<(Asker, Outcome)>;

/// The daemon, without its sockets.
#[derive(Debug)]
pub(super) struct Server {
    settings: Settings,
    records: Records,
    holders: BTreeMap<Owner, Holder>,
    /// Who waits for an address.
    askers: BTreeMap<Owner, Asker>,
}

impl Server {
    pub(super) fn new(settings: Settings, records: Records) -> Self {
        Self { settings, records, holders: BTreeMap::new(), askers: BTreeMap::new() }
    }

    /// Goes on with the leases of an earlier daemon; releases those that nobody has any more.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub(super) fn restore(&mut self) -> Result<(), StoreError> {
        let (records, others) = self.records.all()?;
        for path in others {
            log(format_args!("{} is no lease and is left alone", path.display()));
        }
        for record in records {
            self.restore_one(&record);
        }
        Ok(())
    }

    fn restore_one(&mut self, record: &Record) {
        let owner = &record.owner;
        let Some(grant) = record.grant() else {
            log(format_args!("{owner}: the record of its lease is damaged and is removed"));
            return self.forget(owner);
        };
        // What the daemon of another boot wrote is about namespaces that are gone, by a clock that began anew.
        let resumed = record.is_of_this_boot().then(|| Holder::resume(record, grant.clone(), &self.settings));
        match resumed {
            Some(Ok((holder, notices))) if !record.is_released => {
                holder.log(format_args!("goes on with the lease of {}", grant.address));
                debug_assert!(notices.is_empty(), "resuming sends, and grants nothing");
                self.holders.insert(owner.clone(), holder);
            }
            Some(Ok((mut holder, _))) => {
                holder.log(format_args!("releases {}, as was asked while no daemon ran", grant.address));
                holder.handle(Event::Release);
                self.forget(owner);
            }
            Some(Err(_)) | None => {
                log(format_args!("{owner}: releases {}: its container is gone", grant.address));
                release_from_host(record, grant, &self.settings);
                self.forget(owner);
            }
        }
    }

    fn forget(&self, owner: &Owner) {
        if let Err(e) = self.records.remove(owner) {
            log(format_args!("{owner}: {}", causes(Some(&e))));
        }
    }

    /// The attachments.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.holders.values()
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.holders.values().filter_map(Holder::deadline).min()
    }

    /// Does what a plugin asks.
    pub(super) fn serve(&mut self, asker: Asker, request: Request) -> Answers {
        let Request { network, what, .. } = request;
        let owner = |attachment| Owner { network: network.clone(), attachment };
        let outcome = match what {
            What::Add { attachment, netns, options } => {
                return self.add(asker, owner(attachment), netns, &options);
            }
            What::Del { attachment } => return self.release(&owner(attachment), "DEL", asker),
            What::Check { attachment, netns } => self.check(owner(attachment), netns),
            What::Gc { valid } => {
                let is_stale = |owner: &&Owner| owner.network == network && !valid.contains(&owner.attachment);
                let stale: Vec<Owner> = self.holders.keys().filter(is_stale).cloned().collect();
                let mut answers: Answers = stale.iter().flat_map(|owner| self.drop_holder(owner, "GC")).collect();
                answers.push((asker, Outcome::Done));
                return answers;
            }
            What::Status => Ok(Outcome::Done),
        };
        vec![(asker, outcome.unwrap_or_else(|e| refusal(&e)))]
    }

    fn add(&mut self, asker: Asker, owner: Owner, netns: PathBuf, options: &WireOptions) -> Answers {
        if self.askers.contains_key(&owner) {
            return vec![(asker, refusal(&Refusal::UnderWay(owner)))];
        }
        let mut answers = Vec::new();
        if let Some(holder) = self.holders.get(&owner) {
            let is_same = holder.netns == netns && holder.presence() == Presence::Here;
            if let Some(grant) = holder.grant().filter(|_| is_same) {
                return vec![(asker, Outcome::Result(Box::new(grant.result())))];
            }
            answers = self.drop_holder(&owner, "another ADD");
        }
        match Holder::start(owner.clone(), netns, &options.into(), &self.settings) {
            Ok((holder, notices)) => {
                holder.log("asks for an address");
                self.holders.insert(owner.clone(), holder);
                self.askers.insert(owner.clone(), asker);
                answers.extend(self.note(&owner, notices));
            }
            Err(source) => {
                let ifname = owner.attachment.ifname.to_string();
                answers.push((asker, refusal(&Refusal::Place { ifname, source })));
            }
        }
        answers
    }

    fn release(&mut self, owner: &Owner, why: &str, asker: Asker) -> Answers {
        let mut answers = self.drop_holder(owner, why);
        answers.push((asker, Outcome::Done));
        answers
    }

    fn check(&self, owner: Owner, netns: PathBuf) -> Result<Outcome, Refusal> {
        let Some(holder) = self.holders.get(&owner) else { return Err(Refusal::Unknown(owner)) };
        if let Some(ending) = holder.ending() {
            return Err(Refusal::Lost(owner, ending.clone()));
        }
        if holder.netns != netns || holder.presence() != Presence::Here {
            return Err(Refusal::OtherContainer { owner, netns });
        }
        let grant = holder.grant().ok_or(Refusal::NotYet(owner))?;
        Ok(Outcome::Result(Box::new(grant.result())))
    }

    /// Releases a lease, or stops asking for one.
    fn drop_holder(&mut self, owner: &Owner, why: &str) -> Answers {
        let Some(mut holder) = self.holders.remove(owner) else { return Vec::new() };
        if let Some(grant) = holder.grant() {
            holder.log(format_args!("releases {}: {why}", grant.address));
        }
        holder.handle(Event::Release);
        self.forget(owner);
        let asker = self.askers.remove(owner);
        asker.map(|asker| (asker, refusal(&Refusal::ContainerGone(owner.clone())))).into_iter().collect()
    }

    /// A plugin left before it had its answer: a runtime gave up.
    pub(super) fn abandon(&mut self, asker: Asker) {
        let owner = self.askers.iter().find(|(_, waiting)| **waiting == asker).map(|(owner, _)| owner.clone());
        if let Some(owner) = owner {
            self.askers.remove(&owner);
            self.drop_holder(&owner, "its plugin left");
        }
    }

    /// Time went on.
    pub(super) fn tick(&mut self) -> Answers {
        self.each(|holder| holder.handle(Event::Timer))
    }

    /// A message came for this attachment.
    pub(super) fn receive(&mut self, owner: &Owner) -> Answers {
        let notices = self.holders.get_mut(owner).map(Holder::receive).unwrap_or_default();
        self.note(owner, notices)
    }

    /// Releases what is of this attachment if its container or interface is gone.
    pub(super) fn look_after(&mut self, owner: &Owner) -> Answers {
        let Some(holder) = self.holders.get(owner) else { return Vec::new() };
        match holder.presence() {
            Presence::Here => Vec::new(),
            Presence::NamespaceGone => self.drop_holder(owner, "its container is gone"),
            Presence::LinkGone => self.drop_holder(owner, "its interface is gone"),
        }
    }

    /// As [`Server::look_after`], for all.
    pub(super) fn look_after_all(&mut self) -> Answers {
        let owners: Vec<Owner> = self.holders.keys().cloned().collect();
        owners.iter().flat_map(|owner| self.look_after(owner)).collect()
    }

    /// The daemon ends: leases stay, for the next one; who waits for one is told.
    pub(super) fn end(&mut self) -> Answers {
        let mut answers = Vec::new();
        for (owner, asker) in std::mem::take(&mut self.askers) {
            self.drop_holder(&owner, "the daemon ends");
            answers.push((asker, refusal(&Refusal::Ends)));
        }
        answers
    }

    fn each(&mut self, mut work: impl FnMut(&mut Holder) -> Vec<Notice>) -> Answers {
        let notices: Vec<(Owner, Vec<Notice>)> =
            self.holders.iter_mut().map(|(owner, holder)| (owner.clone(), work(holder))).collect();
        notices.into_iter().flat_map(|(owner, notices)| self.note(&owner, notices)).collect()
    }

    fn note(&mut self, owner: &Owner, notices: Vec<Notice>) -> Answers {
        notices
            .into_iter()
            .flat_map(|notice| match notice {
                Notice::Granted => self.granted(owner),
                Notice::Ended(ending) => self.ended(owner, ending),
            })
            .collect()
    }

    /// A lease is new or prolonged: it is written down before anybody hears of it.
    fn granted(&mut self, owner: &Owner) -> Answers {
        let Some(holder) = self.holders.get(owner) else { return Vec::new() };
        let (Some(grant), Some(record)) = (holder.grant(), holder.record()) else { return Vec::new() };
        let result: AddResult = grant.result();
        let left = grant.end.map_or("for ever".to_owned(), |end| format!("for {} s", (end - grant.since).as_secs()));
        holder.log(format_args!("has {} of {} {left}", grant.address, grant.server));
        match (self.records.save(&record), self.askers.remove(owner)) {
            (Ok(()), asker) => asker.map(|asker| (asker, Outcome::Result(Box::new(result)))).into_iter().collect(),
            (Err(e), Some(asker)) => {
                self.drop_holder(owner, "it cannot be written down");
                vec![(asker, refusal(&Refusal::Record(owner.clone(), e)))]
            }
            (Err(e), None) => {
                // The older record is good enough to ask again.
                log(format_args!("{owner}: {}", causes(Some(&e))));
                Vec::new()
            }
        }
    }

    /// There is no lease, or none any more.
    fn ended(&mut self, owner: &Owner, ending: Ending) -> Answers {
        log(format_args!("{owner}: {}", causes(Some(&ending))));
        if let Some(asker) = self.askers.remove(owner) {
            self.holders.remove(owner);
            let ifname = owner.attachment.ifname.to_string();
            return vec![(asker, refusal(&Refusal::NoLease { ifname, source: ending }))];
        }
        if let Some(holder) = self.holders.get(owner) {
            holder.set_down();
        }
        self.forget(owner);
        Vec::new()
    }
}

fn refusal(refusal: &Refusal) -> Outcome {
    Outcome::Error(refusal.reply())
}
