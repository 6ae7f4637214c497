//! Another runtime in the suite's place: a program with the command line of the Go cnitool drives the plugins.

use std::collections::BTreeMap;
use std::path::Path;

use libcni::store;
use serde_json::Value;

use super::{Stop, Trial, TrialError};
use crate::call::{Execution, Record};
use crate::expect::{has_the_form_of, only_object, parts_of};
use crate::network::{Network, is_at_least};
use crate::node::NodeError;
use crate::step::{Action, Call, Expect, Outcome};

/// Where it finds the configuration list.
const CONF_DIR: &str = "/run/conformance/net.d";

/// Writes the configuration list where the runtime looks.
pub(super) fn configure(network: &Network) -> Result<(), TrialError> {
    let path = Path::new(CONF_DIR).join("10.conflist");
    let fault = |e| NodeError::File(path.clone(), e);
    std::fs::create_dir_all(CONF_DIR).map_err(fault)?;
    let written = store::write_atomic(&path, network.conflist.to_string().as_bytes(), 0o644);
    Ok(written.map_err(|e| fault(std::io::Error::other(e)))?)
}

impl Trial {
    /// Has `program` do it. `None`: it is nothing that the program does.
    pub(super) fn by_runtime(&mut self, program: &Path, action: &Action, expect: &Expect) -> Option<Result<(), Stop>> {
        let (verb, call) = match action {
            Action::Add(call) => ("add", call),
            Action::Check(call) => ("check", call),
            Action::Del(call) => ("del", call),
            Action::Status(call) => ("status", call),
            // It says that nothing is valid.
            Action::Gc(gc) if gc.valid.is_empty() && gc.list.is_none() => ("gc", &gc.call),
            Action::Version(_) | Action::Gc(_) | Action::Interrupt(_) | Action::AtOnce(_) | Action::IpamCalls(_) => {
                return Some(Err(no_runtime_does_that()));
            }
            _ => return None,
        };
        if !call.is_plain() {
            return Some(Err(no_runtime_does_that()));
        }
        Some(self.drive(program, verb, call, expect))
    }

    fn drive(&mut self, program: &Path, verb: &str, call: &Call, expect: &Expect) -> Result<(), Stop> {
        self.container(&call.container)?;
        let Some(container) = self.node.containers.get(&call.container).cloned() else { return Ok(()) };
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), self.network.path.clone()),
            ("CNI_PATH".to_owned(), self.network.search_path()),
            ("NETCONFPATH".to_owned(), CONF_DIR.to_owned()),
            ("CNI_IFNAME".to_owned(), self.network.ifname.clone()),
        ]);
        if !container.args.is_empty() {
            env.insert("CNI_ARGS".to_owned(), container.args.clone());
        }
        if container.capabilities.is_object() {
            env.insert("CAP_ARGS".to_owned(), container.capabilities.to_string());
        }
        let network = self.network.conflist.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let netns = container.netns.display().to_string();
        let execution = Execution {
            program: program.to_owned(),
            arguments: vec![verb.to_owned(), network, netns],
            env,
            stdin: String::new(),
            name: format!("cnitool {verb}"),
        };
        let record = self.execute(&execution)?;
        judge(&record, expect, &self.network.version, verb).map_err(Stop::Fault)?;
        if verb == "add" && record.succeeded() {
            self.remember(&call.container, only_object(&record.stdout).ok());
        }
        Ok(())
    }
}

fn no_runtime_does_that() -> Stop {
    Stop::Skip("it does what no runtime does, and a runtime was given".to_owned())
}

/// A runtime tells a plugin's error in words of its own.
fn judge(record: &Record, expect: &Expect, version: &str, verb: &str) -> Result<(), String> {
    let said = format!("{}{}", record.stdout, record.stderr);
    match (record.succeeded(), expect.outcome) {
        (true, Outcome::Failure) => return Err("it must fail, but exits with code 0".to_owned()),
        // Older lists have no such verb, and runtimes differ in whether that is an error.
        (false, Outcome::Success) if verb == "check" && !is_at_least(version, "0.4.0") => return Ok(()),
        (false, Outcome::Success) => return Err(format!("it must succeed, but {}: {}", record.end, said.trim())),
        (false, Outcome::Failure | Outcome::Any) => {
            return match &expect.says {
                Some(wanted) if !said.to_lowercase().contains(&wanted.to_lowercase()) => {
                    Err(format!("it must say \"{wanted}\", but says \"{}\"", said.trim()))
                }
                _ => Ok(()),
            };
        }
        (true, Outcome::Success | Outcome::Any) => {}
    }
    if verb != "add" {
        return Ok(());
    }
    let result = only_object(&record.stdout)?;
    has_the_form_of(version, &result)?;
    parts_of(&result, expect)
}
