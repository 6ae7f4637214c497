//! GC of a network.

use crate::plugin::Verb;
use crate::runtime::Runtime;
use crate::runtime::attach::cache_fault;
use crate::runtime::cache::CachedAttachment;
use crate::runtime::conflist::NetworkList;
use crate::runtime::derive::Additions;
use crate::runtime::error::RuntimeError;
use crate::runtime::load::Skipped;
use crate::types::AttachmentId;

/// What GC did.
#[derive(Debug, Default)]
pub struct Collected {
    /// The attachments of the cache that were detached.
    pub deleted: Vec<AttachmentId>,
    /// Files of the cache that are no entries; they stay.
    pub skipped: Vec<Skipped>,
}

impl Runtime {
    /// GC: detaches the cached attachments of the network that are not in `valid` (a full DEL, with the
    /// configuration and arguments of their ADD), then, for lists of 1.1.0 and later, tells each plugin which
    /// attachments are valid, so that it can remove everything else. With `disableGC`, nothing is done.
    ///
    /// An attachment that is not in `valid` is detached though its container may live. ADD and DEL of the same
    /// network must not run at the same time (specification, section "GC").
    ///
    /// # Errors
    /// All failures, after trying everything.
    pub fn gc(&self, list: &NetworkList, valid: &[AttachmentId]) -> Result<Collected, RuntimeError> {
        let mut collected = Collected::default();
        if list.disable_gc {
            return Ok(collected);
        }
        let mut failures = Vec::new();
        match self.cache.attachments() {
            Ok(cached) => {
                collected.skipped = cached.skipped;
                let stale = cached
                    .attachments
                    .into_iter()
                    .filter(|entry| entry.network == list.name && !valid.contains(&entry.attachment.id));
                for entry in stale {
                    match self.del_stale(list, &entry) {
                        Ok(()) => collected.deleted.push(entry.attachment.id),
                        Err(fault) => failures.push(fault),
                    }
                }
            }
            Err(fault) => failures.push(cache_fault("get", list, fault)),
        }
        if list.cni_version.has_gc_and_status() {
            let additions = Additions { valid: Some(valid), ..Additions::default() };
            let called = list.plugins.iter().map(|plugin| self.invoke(list, plugin, Verb::Gc, None, additions));
            failures.extend(called.filter_map(Result::err));
        }
        RuntimeError::of_all(failures).map(|()| collected)
    }

    /// DEL with the list that the attachment was made with. Where that cannot be used, or the Go libcni wrote it
    /// without the plugins of drop-in files, the network's present list has to do.
    fn del_stale(&self, list: &NetworkList, entry: &CachedAttachment) -> Result<(), RuntimeError> {
        let made_with = entry.list().ok().filter(|then| then.load_only_inlined_plugins || !list.has_drop_ins());
        let made_with = made_with.filter(|then| then.name == list.name);
        self.del(made_with.as_ref().unwrap_or(list), &entry.attachment).map(drop).map_err(|source| {
            RuntimeError::Stale {
                container_id: entry.attachment.id.container_id.to_string(),
                ifname: entry.attachment.id.ifname.to_string(),
                source: Box::new(source),
            }
        })
    }
}
