//! A network configuration list, run as a container runtime runs it (specification, section 4).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::{Binaries, Container, Failure, Invocation, Output, Place};

/// What a runtime remembers of an attachment between ADD and DEL: the result.
type Cache = Arc<Mutex<HashMap<(String, String), Value>>>;

/// A network: a configuration list, the plugins that serve it, and the attachments made so far.
#[derive(Clone, Debug)]
pub struct Network {
    /// The configuration list.
    pub conflist: Value,
    /// The plugins.
    pub binaries: Binaries,
    host: Arc<Place>,
    /// Whether plugins start in the calling thread's namespace, which is the host's then.
    here: bool,
    /// What executes the plugins instead of the kernel, if anything: `strace -f …`.
    wrapper: Vec<String>,
    path: String,
    /// Where host-local keeps the addresses.
    pub data_dir: PathBuf,
    cache: Cache,
}

impl Network {
    pub(crate) fn new(conflist: Value, binaries: Binaries, host: Arc<Place>, path: String, data_dir: PathBuf) -> Self {
        Self { conflist, binaries, host, here: false, wrapper: Vec::new(), path, data_dir, cache: Cache::default() }
    }

    /// The same network for a thread that is in the host's namespace already: plugins start in the caller's. For
    /// measurements; otherwise each start costs a thread and a change of namespace.
    #[must_use]
    pub fn here(&self) -> Self {
        Self { here: true, ..self.clone() }
    }

    /// The same network, its plugins executed by `wrapper`.
    #[must_use]
    pub fn wrapped_in(&self, wrapper: &[&str]) -> Self {
        Self { wrapper: wrapper.iter().map(|&word| word.to_owned()).collect(), ..self.clone() }
    }

    /// The same network and the same attachments, served by other binaries: what a node looks like when the plugins
    /// are replaced under running containers.
    #[must_use]
    pub fn served_by(&self, binaries: &Binaries) -> Self {
        Self { binaries: binaries.clone(), ..self.clone() }
    }

    /// Attaches `container`: each plugin's ADD, each with the result of the one before. The result of the last.
    ///
    /// # Errors
    /// The first plugin's that fails. Nothing is undone; a runtime sends DEL.
    pub fn add(&self, container: &Container) -> Result<Value, Failure> {
        let mut result = Value::Null;
        for index in 0..self.plugins().len() {
            result = self.run(self.invocation("ADD", index, Some(container), &result)).reply()?;
        }
        self.remember(container, Some(result.clone()));
        Ok(result)
    }

    /// Detaches `container`: each plugin's DEL in reverse order, each with the final result of the ADD.
    ///
    /// # Errors
    /// The first plugin's that fails.
    pub fn del(&self, container: &Container) -> Result<(), Failure> {
        let result = self.result(container);
        for index in (0..self.plugins().len()).rev() {
            self.run(self.invocation("DEL", index, Some(container), &result)).reply()?;
        }
        self.remember(container, None);
        Ok(())
    }

    /// Checks `container`: each plugin's CHECK with the final result of the ADD.
    ///
    /// # Errors
    /// The first plugin's that fails.
    pub fn check(&self, container: &Container) -> Result<(), Failure> {
        let result = self.result(container);
        for index in 0..self.plugins().len() {
            self.run(self.invocation("CHECK", index, Some(container), &result)).reply()?;
        }
        Ok(())
    }

    /// Removes what belongs to attachments other than `valid`: each plugin's GC.
    ///
    /// # Errors
    /// The last plugin's that fails; each is called.
    pub fn gc(&self, valid: &[&Container]) -> Result<(), Failure> {
        let list: Vec<Value> = valid.iter().map(|c| json!({"containerID": c.id, "ifname": c.ifname})).collect();
        let mut outcome = Ok(());
        for index in 0..self.plugins().len() {
            let mut config = self.plugin_config(index, None, &Value::Null);
            config["cni.dev/valid-attachments"] = json!(list);
            config["cni.dev/attachments"] = json!(list);
            if let Err(e) = self.run(self.environment("GC", index, None).config(&config)).reply() {
                outcome = Err(e);
            }
        }
        outcome
    }

    /// Asks whether an ADD would work: each plugin's STATUS.
    ///
    /// # Errors
    /// The first plugin's that fails.
    pub fn status(&self) -> Result<(), Failure> {
        (0..self.plugins().len())
            .try_for_each(|index| self.run(self.invocation("STATUS", index, None, &Value::Null)).reply().map(drop))
    }

    /// Runs a plugin on the network's host, executed as the network's plugins are.
    #[must_use]
    pub fn run(&self, invocation: Invocation) -> Output {
        let wrapper: Vec<&str> = self.wrapper.iter().map(String::as_str).collect();
        let invocation = invocation.wrapped_in(&wrapper);
        if self.here { invocation.run_here() } else { invocation.run(&self.host) }
    }

    /// The result of `container`'s ADD, as a runtime caches it; `null` if there is none.
    #[must_use]
    pub fn result(&self, container: &Container) -> Value {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(&(container.id.clone(), container.ifname.clone())).cloned().unwrap_or_default()
    }

    /// Replaces what the runtime remembers of `container`: a damaged cache, or one that was lost.
    pub fn remember(&self, container: &Container, result: Option<Value>) {
        let key = (container.id.clone(), container.ifname.clone());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Some(result) => cache.insert(key, result),
            None => cache.remove(&key),
        };
    }

    /// One verb of one plugin of the list, ready to run (in the host's namespace). `prev_result` may be `null`.
    #[must_use]
    pub fn invocation(
        &self,
        verb: &str,
        index: usize,
        container: Option<&Container>,
        prev_result: &Value,
    ) -> Invocation {
        self.environment(verb, index, container).config(&self.plugin_config(index, container, prev_result))
    }

    /// The plugins of the list.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn plugins(&self) -> &[Value] {
        self.conflist["plugins"].as_array().expect("a list of plugins")
    }

    fn environment(&self, verb: &str, index: usize, container: Option<&Container>) -> Invocation {
        let program = self.binaries.plugin(self.plugins()[index]["type"].as_str().expect("a type"));
        let invocation = Invocation::new(&program)
            .env("PATH", &self.path)
            .env("CNI_COMMAND", verb)
            .env("CNI_PATH", self.binaries.search_path());
        let Some(container) = container else { return invocation };
        let invocation = invocation
            .env("CNI_CONTAINERID", &container.id)
            .env("CNI_NETNS", &container.netns)
            .env("CNI_IFNAME", &container.ifname);
        if container.args.is_empty() { invocation } else { invocation.env("CNI_ARGS", &container.args) }
    }

    /// What the plugin at `index` reads from stdin: its object of the list, completed.
    fn plugin_config(&self, index: usize, container: Option<&Container>, prev_result: &Value) -> Value {
        let mut config = self.plugins()[index].clone();
        for key in ["name", "cniVersion"] {
            if !self.conflist[key].is_null() {
                config[key] = self.conflist[key].clone();
            }
        }
        if !prev_result.is_null() {
            config["prevResult"] = prev_result.clone();
        }
        let asked = container.and_then(|c| c.capabilities.as_object()).cloned().unwrap_or_default();
        let granted: Map<String, Value> =
            asked.into_iter().filter(|(name, _)| config["capabilities"][name] == Value::Bool(true)).collect();
        if !granted.is_empty() {
            config["runtimeConfig"] = Value::Object(granted);
        }
        config
    }
}
