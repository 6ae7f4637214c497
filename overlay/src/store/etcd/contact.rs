//! Whether etcd is reachable: told when it changes, and not each time that it fails.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use libcni::error::causes;

use super::error::EtcdError;
use crate::store::{News, Teller};

/// Who speaks to etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Keeps this node's own place.
    Member,
    /// Follows the others.
    Watcher,
}

/// It is reachable when nobody is without an answer.
#[derive(Debug)]
pub(super) struct Contact {
    teller: Teller,
    without: Mutex<BTreeSet<Who>>,
}

impl Contact {
    pub(super) fn new(teller: Teller) -> Self {
        Self { teller, without: Mutex::new(BTreeSet::new()) }
    }

    pub(super) fn tell(&self, news: News) {
        self.teller.tell(news);
    }

    /// `who` got no answer, or none that it can use.
    pub(super) fn lost(&self, who: Who, error: &EtcdError) {
        let mut without = self.without.lock().unwrap_or_else(PoisonError::into_inner);
        if without.is_empty() {
            self.tell(News::Unreachable(causes(Some(error))));
        }
        without.insert(who);
    }

    /// `who` got what it asked for.
    pub(super) fn found(&self, who: Who) {
        let mut without = self.without.lock().unwrap_or_else(PoisonError::into_inner);
        if without.remove(&who) && without.is_empty() {
            self.tell(News::Reachable);
        }
    }
}
