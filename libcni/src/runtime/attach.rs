//! ADD, CHECK and DEL of a network.

use serde_json::Value;

use crate::convert;
use crate::json;
use crate::plugin::{Verb, interrupted};
use crate::runtime::cache::{self, CacheError, CachedAttachment};
use crate::runtime::conflist::{NetworkList, PluginConf};
use crate::runtime::derive::Additions;
use crate::runtime::error::{PluginFault, RuntimeError};
use crate::runtime::{Attachment, Runtime, invoke};
use crate::types::AddResult;

/// What ADD gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// The result of the last plugin.
    pub result: AddResult,
    /// The same in the version of the list, as the plugin wrote it.
    pub wire: Value,
}

/// What DEL did.
#[derive(Debug, Default)]
pub struct Deleted {
    /// A cache entry that could not be used, so that the plugins had no `prevResult`. It is removed.
    pub bad_cache: Option<CacheError>,
}

impl Runtime {
    /// ADD: runs the plugins of `list` in order, each with the result of the one before as `prevResult`, and
    /// remembers the attachment in the cache.
    ///
    /// After a failure, also of writing the cache, what was done is undone, unless [`Runtime::roll_back`] is false.
    /// So it is if the process is asked to end and listens ([`crate::plugin::catch_signals`]).
    ///
    /// # Errors
    /// [`RuntimeError::Plugin`], [`RuntimeError::Cache`], [`RuntimeError::Interrupted`], and
    /// [`RuntimeError::RollBack`] if something is left.
    pub fn add(&self, list: &NetworkList, attachment: &Attachment) -> Result<Added, RuntimeError> {
        self.cache.prepare(&list.name, &attachment.id).map_err(|source| cache_fault("set", list, source))?;
        let mut wire = None;
        for (before, plugin) in list.plugins.iter().enumerate() {
            let outcome = interrupted()
                .map_err(|_signal| RuntimeError::Interrupted)
                .and_then(|()| self.add_plugin(list, plugin, attachment, wire.as_ref()));
            match outcome {
                Ok(result) => wire = Some(result),
                Err(fault) => {
                    let done = before + usize::from(fault.plugin_succeeded());
                    return Err(self.undo(fault, list, done, attachment, wire.as_ref()));
                }
            }
        }
        let wire = wire.unwrap_or_default();
        let entry = CachedAttachment {
            network: list.name.clone(),
            attachment: attachment.clone(),
            config: list.bytes().to_owned(),
            result: Some(wire.clone()),
        };
        if let Err(source) = self.cache.write(&entry) {
            let fault = cache_fault("set", list, source);
            return Err(self.undo(fault, list, list.plugins.len(), attachment, Some(&wire)));
        }
        // It was understood once already, when the plugin gave it.
        let result = convert::result(&wire, list.cni_version).unwrap_or_default();
        Ok(Added { result, wire })
    }

    fn add_plugin(
        &self,
        list: &NetworkList,
        plugin: &PluginConf,
        attachment: &Attachment,
        prev_result: Option<&Value>,
    ) -> Result<Value, RuntimeError> {
        let capability_args = Some(&attachment.capability_args);
        let additions = Additions { prev_result, capability_args, ..Additions::default() };
        let stdout = self.invoke(list, plugin, Verb::Add, Some(attachment), additions)?;
        result(&stdout, list).map_err(|problem| {
            let stdout = String::from_utf8_lossy(&stdout).trim().to_owned();
            invoke::failed(plugin, Verb::Add, PluginFault::Result { problem, stdout })
        })
    }

    /// DEL of the first `done` plugins, after `fault`.
    fn undo(
        &self,
        fault: RuntimeError,
        list: &NetworkList,
        done: usize,
        attachment: &Attachment,
        result: Option<&Value>,
    ) -> RuntimeError {
        if !self.roll_back {
            return fault;
        }
        let added = list.plugins.iter().take(done);
        let failures: Vec<_> =
            added.rev().filter_map(|plugin| self.del_plugin(list, plugin, attachment, result).err()).collect();
        if failures.is_empty() { fault } else { RuntimeError::RollBack { source: Box::new(fault), failures } }
    }

    /// CHECK: asks each plugin whether what its ADD made is as it was made, with the result from the cache as
    /// `prevResult`. With `disableCheck`, nothing is asked.
    ///
    /// # Errors
    /// The first failure; [`RuntimeError::NotInVersion`] for lists before 0.4.0.
    pub fn check(&self, list: &NetworkList, attachment: &Attachment) -> Result<(), RuntimeError> {
        if !list.cni_version.has_check() {
            return Err(RuntimeError::NotInVersion { version: list.cni_version, verb: Verb::Check });
        }
        if list.disable_check {
            return Ok(());
        }
        let cached = self.cache.result(&list.name, &attachment.id, list.cni_version);
        let prev_result = cached.map_err(|source| cache_fault("get", list, source))?;
        let additions = Additions {
            prev_result: prev_result.as_ref(),
            capability_args: Some(&attachment.capability_args),
            ..Additions::default()
        };
        for plugin in &list.plugins {
            self.invoke(list, plugin, Verb::Check, Some(attachment), additions)?;
        }
        Ok(())
    }

    /// DEL: runs the plugins of `list` in reverse order, with the result from the cache as `prevResult` (lists of
    /// 0.4.0 and later), and forgets the attachment once all have succeeded. A cache entry that is missing or bad
    /// does not stop it.
    ///
    /// # Errors
    /// The first failure; or, unless [`Runtime::stop_at_failed_del`], all of them.
    pub fn del(&self, list: &NetworkList, attachment: &Attachment) -> Result<Deleted, RuntimeError> {
        let mut deleted = Deleted::default();
        let prev_result = if list.cni_version.has_check() {
            self.cache.result(&list.name, &attachment.id, list.cni_version).unwrap_or_else(|fault| {
                deleted.bad_cache = Some(fault);
                None
            })
        } else {
            None
        };
        let mut failures = Vec::new();
        for plugin in list.plugins.iter().rev() {
            match self.del_plugin(list, plugin, attachment, prev_result.as_ref()) {
                Err(fault) if self.stop_at_failed_del => return Err(fault),
                outcome => failures.extend(outcome.err()),
            }
        }
        RuntimeError::of_all(failures)?;
        self.cache.remove(&list.name, &attachment.id).map_err(|source| cache_fault("remove", list, source))?;
        Ok(deleted)
    }

    fn del_plugin(
        &self,
        list: &NetworkList,
        plugin: &PluginConf,
        attachment: &Attachment,
        prev_result: Option<&Value>,
    ) -> Result<(), RuntimeError> {
        let prev_result = prev_result.filter(|_| list.cni_version.has_check());
        let capability_args = Some(&attachment.capability_args);
        let additions = Additions { prev_result, capability_args, ..Additions::default() };
        self.invoke(list, plugin, Verb::Del, Some(attachment), additions).map(drop)
    }
}

/// The result in `stdout`, in the version of `list`. One without `cniVersion` has the list's, and `null` is an empty
/// one, as in the reference.
fn result(stdout: &[u8], list: &NetworkList) -> Result<Value, String> {
    let value = match json::parse(stdout).map_err(|e| e.to_string())? {
        Value::Null => Value::Object(serde_json::Map::new()),
        value => value,
    };
    let Value::Object(mut object) = value else { return Err("expected an object".to_owned()) };
    let unversioned = match object.get("cniVersion") {
        None | Some(Value::Null) => true,
        Some(version) => version == "",
    };
    if unversioned {
        object.insert("cniVersion".to_owned(), list.cni_version.as_str().into());
    }
    cache::in_version(Value::Object(object), list.cni_version)
}

pub(super) fn cache_fault(doing: &'static str, list: &NetworkList, source: CacheError) -> RuntimeError {
    RuntimeError::Cache { doing, network: list.name.to_string(), source: Box::new(source) }
}
