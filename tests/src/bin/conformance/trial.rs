//! One case at one version with one firewall backend, on a node of its own.
#![expect(clippy::indexing_slicing, reason = "of JSON values, where it does not panic")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use ferrule_tests::{Binaries, Container, Firewall, Invocation, Node, Output, Place, Snapshot};
use serde_json::{Value, json};

use crate::case::{Action, Case, Exec, Fetch, Step, VERSIONS};

/// A case under way.
pub(crate) struct Trial<'a> {
    case: &'a Case,
    version: &'a str,
    binaries: &'a Binaries,
    cnitool: PathBuf,
    node: Node,
    network: String,
    containers: HashMap<String, Container>,
    before: Snapshot,
}

impl<'a> Trial<'a> {
    /// A node for the case, with the configuration list in its directory. `None` if the node cannot be had here.
    pub(crate) fn new(
        case: &'a Case,
        version: &'a str,
        firewall: Firewall,
        binaries: &'a Binaries,
        cnitool: PathBuf,
        number: usize,
    ) -> Option<Self> {
        let node = Node::start_with(firewall)?;
        // cnitool keeps its cache in one directory for all, so every trial has its own name.
        let network = format!("{}-{number}", case.name);
        let mut conflist = case.conflist.clone();
        if conflist.is_object() {
            conflist["name"] = json!(network);
            conflist["cniVersion"] = json!(version);
            let conflist = node.network_by(conflist, binaries).conflist;
            let dir = node.dir().join("net.d");
            std::fs::create_dir_all(&dir).expect("configuration directory");
            let file = std::fs::File::create(dir.join("10.conflist")).expect("configuration list");
            serde_json::to_writer_pretty(file, &conflist).expect("configuration list");
        }
        let before = node.snapshot();
        Some(Self { case, version, binaries, cnitool, node, network, containers: HashMap::new(), before })
    }

    /// Runs the steps.
    ///
    /// # Errors
    /// The first step that does not go as the case says.
    pub(crate) fn run(mut self) -> Result<(), String> {
        for (number, step) in self.case.steps.iter().enumerate() {
            if !self.applies(step) {
                continue;
            }
            let outcome = self.step(step);
            let verdict = match (&step.fails, outcome) {
                (None, outcome) => outcome,
                (Some(text), Err(message)) if message.contains(text.as_str()) => Ok(()),
                (Some(text), Err(message)) => Err(format!("{message:?} does not say {text:?}")),
                (Some(text), Ok(())) => Err(format!("succeeds, but should fail with {text:?}")),
            };
            verdict.map_err(|e| format!("step {}: {:.60}: {e}", number + 1, format!("{:?}", step.action)))?;
        }
        Ok(())
    }

    fn applies(&self, step: &Step) -> bool {
        let age = |version: &str| VERSIONS.iter().position(|v| *v == version).expect("a version in the case");
        let now = age(self.version);
        step.since.as_ref().is_none_or(|v| now >= age(v)) && step.before.as_ref().is_none_or(|v| now < age(v))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Add { container, addresses, result } => {
                let reply = self.cnitool("add", container)?;
                let reply: Value = serde_json::from_str(&reply).map_err(|e| format!("{e} in result {reply}"))?;
                has_the_form_of(self.version, &reply)?;
                if let Some(expected) = addresses
                    && *expected != addresses_of(&reply)
                {
                    return Err(format!("addresses {:?}", addresses_of(&reply)));
                }
                has_parts(&reply, result.iter().flatten())
            }
            Action::Check(container) => self.cnitool("check", container).map(drop),
            Action::Del(container) => self.cnitool("del", container).map(drop),
            Action::DelWithoutNetns(container) => {
                // cnitool makes the container's ID of the path, so it still means the same one.
                let container = self.container(container);
                self.node.kill(&container);
                self.run_cnitool("del", &container).map(drop)
            }
            Action::Gc => self.cnitool("gc", "nobody").map(drop),
            Action::Status => self.cnitool("status", "nobody").map(drop),
            Action::Exec(exec) => self.exec(exec),
            Action::Ping { from, to } => {
                self.at(from, |place| place.ping(*to)).then_some(()).ok_or_else(|| "no answer".to_owned())
            }
            Action::Fetch(fetch) => self.fetch(fetch),
            Action::Closed { from, to, port } => {
                let closed = self.at(from, |place| place.is_closed_tcp(*to, *port));
                closed.then_some(()).ok_or_else(|| "somebody answers".to_owned())
            }
            Action::Look { place, run, expect } => {
                let text = self.at(place, |place| place.try_sh(run))?;
                let reply = if expect.is_empty() { Value::Null } else { parse(&text)? };
                has_parts(&reply, expect.iter())
            }
            Action::NothingLeft => {
                let left = self.node.left_since(&self.before, &[]);
                left.is_empty().then_some(()).ok_or_else(|| format!("left behind: {}", left.join("; ")))
            }
        }
    }

    fn container(&mut self, name: &str) -> Container {
        let (node, case) = (&self.node, self.case);
        let make = || {
            let wishes = case.containers.get(name).cloned().unwrap_or_default();
            let mut container = node.container(name).with_args(&wishes.args);
            container.capabilities = wishes.capabilities;
            container
        };
        self.containers.entry(name.to_owned()).or_insert_with(make).clone()
    }

    fn at<T>(&mut self, name: &str, work: impl FnOnce(&Place) -> T) -> T {
        match name {
            "host" => work(&self.node.host),
            "outside" => work(&self.node.outside),
            name => work(&self.container(name).place),
        }
    }

    fn cnitool(&mut self, verb: &str, container: &str) -> Result<String, String> {
        let container = self.container(container);
        self.run_cnitool(verb, &container)
    }

    fn run_cnitool(&self, verb: &str, container: &Container) -> Result<String, String> {
        let mut tool = Invocation::new(&self.cnitool)
            .arg(verb)
            .arg(&self.network)
            .arg(&container.netns)
            .env("PATH", self.node.program_path())
            .env("CNI_PATH", self.binaries.dir())
            .env("NETCONFPATH", self.node.dir().join("net.d"));
        if !container.args.is_empty() {
            tool = tool.env("CNI_ARGS", &container.args);
        }
        if !container.capabilities.is_null() {
            tool = tool.env("CAP_ARGS", container.capabilities.to_string());
        }
        let Output { status, stdout, stderr } = tool.run(&self.node.host);
        // What follows is the same for every failure.
        let message = stderr.split("\nUsage:").next().unwrap_or_default();
        if status.success() { Ok(stdout) } else { Err(format!("{stdout}{message}")) }
    }

    fn exec(&mut self, exec: &Exec) -> Result<(), String> {
        let mut config = exec.config.clone();
        if config.is_object() && config["cniVersion"].is_null() {
            config["cniVersion"] = json!(self.version);
        }
        let stdin = exec.stdin.clone().unwrap_or_else(|| config.to_string());
        let mut plugin = Invocation::new(&self.binaries.plugin(&exec.plugin)).stdin(stdin);
        for (name, value) in &exec.env {
            plugin = match (name.as_str(), value.as_str()) {
                ("CNI_PATH", "") => plugin.env(name, self.binaries.dir()),
                ("CNI_NETNS", "") => plugin.env(name, &self.container("a").netns),
                _ => plugin.env(name, value),
            };
        }
        let output = plugin.run(&self.node.host);
        let reply = if output.stdout.is_empty() { Value::Null } else { parse(&output.stdout)? };
        if output.status.success() != exec.code.is_none() || reply["code"].as_u64() != exec.code {
            return Err(format!("{}: {reply} {}", output.status, output.stderr));
        }
        has_parts(&reply, exec.reply.iter())
    }

    fn fetch(&mut self, fetch: &Fetch) -> Result<(), String> {
        let port = fetch.server_port;
        let _service = self.at(&fetch.server, |p| if fetch.udp { p.serve_udp(port) } else { p.serve_tcp(port) });
        let answer = self.at(&fetch.from, |place| {
            if fetch.udp { place.fetch_udp(fetch.to, fetch.port) } else { place.fetch_tcp(fetch.to, fetch.port) }
        });
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.from != fetch.server || fetch.saw.is_some_and(|expected| expected != answer.saw) {
            return Err(format!("{answer:?}"));
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("{e} in {text}"))
}

/// Each part of `value` named by a JSON pointer is as expected.
fn has_parts<'a>(value: &Value, expected: impl Iterator<Item = (&'a String, &'a Value)>) -> Result<(), String> {
    let wrong: BTreeMap<_, _> = expected
        .map(|(pointer, part)| (pointer, value.pointer(pointer), part))
        .filter(|(_, is, part)| *is != Some(part))
        .map(|(pointer, is, _)| (pointer, is))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?} in {value}")) }
}

/// The addresses of a result of any version.
fn addresses_of(result: &Value) -> Vec<String> {
    let list = result["ips"].as_array().into_iter().flatten().map(|ip| &ip["address"]);
    let old = [&result["ip4"]["ip"], &result["ip6"]["ip"]];
    list.chain(old).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Results of each version have keys that the others have not.
fn has_the_form_of(version: &str, result: &Value) -> Result<(), String> {
    let fault = |what: &str| Err(format!("a result of version {version} {what}: {result}"));
    if result["cniVersion"] != version {
        return fault("says another");
    }
    let ips: Vec<&Value> = result["ips"].as_array().into_iter().flatten().collect();
    match version {
        "0.1.0" | "0.2.0" if result.get("ips").is_some() || result.get("interfaces").is_some() => {
            fault("knows ip4 and ip6 only")
        }
        "0.3.0" | "0.3.1" | "0.4.0" if !ips.iter().all(|ip| ip["version"] == "4" || ip["version"] == "6") => {
            fault("needs ips[].version")
        }
        "1.0.0" | "1.1.0" if ips.iter().any(|ip| ip.get("version").is_some()) => fault("knows no ips[].version"),
        _ => Ok(()),
    }
}
