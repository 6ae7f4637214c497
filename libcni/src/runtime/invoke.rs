//! Runs one plugin for one verb.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use crate::exec::{self, Stderr};
use crate::plugin::{Env, Verb, find_in_path};
use crate::runtime::conflist::{NetworkList, PluginConf};
use crate::runtime::derive::{self, Additions};
use crate::runtime::error::{PluginFault, RuntimeError};
use crate::runtime::observe::{Call, Outcome};
use crate::runtime::{Attachment, Runtime};

impl Runtime {
    /// Runs `plugin` of `list` and gives what it wrote to stdout.
    pub(super) fn invoke(
        &self,
        list: &NetworkList,
        plugin: &PluginConf,
        verb: Verb,
        attachment: Option<&Attachment>,
        additions: Additions<'_>,
    ) -> Result<Vec<u8>, RuntimeError> {
        derive::stdin(list, plugin, additions)
            .map_err(PluginFault::Input)
            .and_then(|stdin| self.run(verb, &plugin.plugin_type, &self.environment(verb, attachment), &stdin))
            .map_err(|fault| failed(plugin, verb, fault))
    }

    /// Runs the plugin of this type.
    pub(super) fn run(&self, verb: Verb, plugin_type: &str, env: &Env, stdin: &[u8]) -> Result<Vec<u8>, PluginFault> {
        let path = find_in_path(plugin_type, &self.plugin_dirs);
        let Some(observer) = &self.observer else {
            return self.exec(&path.map_err(PluginFault::Find)?, env, stdin, Stderr::Capture);
        };
        let found = path.as_deref().ok().map(Path::to_owned);
        let call = Call { verb, plugin_type, path: found.as_deref(), env, stdin };
        observer.before(&call);
        let (started, mut stderr) = (Instant::now(), Vec::new());
        let outcome =
            path.map_err(PluginFault::Find).and_then(|path| self.exec(&path, env, stdin, Stderr::Keep(&mut stderr)));
        let took = started.elapsed();
        observer.after(&call, &Outcome { result: outcome.as_deref(), stderr: &stderr, took });
        outcome
    }

    fn exec(&self, path: &Path, env: &Env, stdin: &[u8], stderr: Stderr<'_>) -> Result<Vec<u8>, PluginFault> {
        exec::exec(path, env, stdin, stderr, self.timeout, |_pid| {}).map_err(PluginFault::Exec)
    }

    /// The environment of a call. All variables of the protocol are set, so that none of this process's own calls
    /// shines through.
    pub(super) fn environment(&self, verb: Verb, attachment: Option<&Attachment>) -> Env {
        let id = attachment.map(|a| &a.id);
        let netns = attachment.and_then(|a| a.netns.as_deref()).unwrap_or(Path::new(""));
        // A directory with a `:` in its name cannot be in a search path; it would only not be found.
        let path = std::env::join_paths(&self.plugin_dirs).unwrap_or_else(|_| OsString::new());
        let env = self
            .env
            .clone()
            .with("CNI_COMMAND", verb.as_str())
            .with("CNI_CONTAINERID", id.map(|id| id.container_id.as_str()).unwrap_or_default())
            .with("CNI_NETNS", netns)
            .with("CNI_IFNAME", id.map(|id| id.ifname.as_str()).unwrap_or_default())
            .with("CNI_ARGS", attachment.map(|a| a.args.to_string()).unwrap_or_default())
            .with("CNI_PATH", path);
        self.trace.as_ref().map_or(env.clone(), |trace| trace.apply(env))
    }
}

pub(super) fn failed(plugin: &PluginConf, verb: Verb, source: PluginFault) -> RuntimeError {
    RuntimeError::Plugin {
        plugin_type: plugin.plugin_type.clone(),
        name: plugin.name.clone(),
        verb,
        source: Box::new(source),
    }
}
