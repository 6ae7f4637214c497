//! STATUS of a network.

use crate::plugin::Verb;
use crate::runtime::Runtime;
use crate::runtime::conflist::NetworkList;
use crate::runtime::derive::Additions;
use crate::runtime::error::RuntimeError;

impl Runtime {
    /// STATUS: asks each plugin in order whether an ADD could succeed. Lists before 1.1.0 have no such verb, and are
    /// taken to be ready.
    ///
    /// # Errors
    /// The first failure; [`RuntimeError::code`] is then 50 or 51 if the plugin is not ready.
    pub fn status(&self, list: &NetworkList) -> Result<(), RuntimeError> {
        if !list.cni_version.has_gc_and_status() {
            return Ok(());
        }
        for plugin in &list.plugins {
            self.invoke(list, plugin, Verb::Status, None, Additions::default())?;
        }
        Ok(())
    }
}
