//! The steps of a case: what is done, and what must come of it.

mod change;
mod reach;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use change::{Change, What};
pub use reach::{Closed, Fetch, Ping};

/// One step. In its strings `${a.ip4}` and the like stand for what is known of container `a`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// What is done.
    #[serde(rename = "do")]
    pub action: Action,
    /// What must come of it; success, if absent.
    #[serde(default)]
    pub expect: Expect,
    /// Only at this version of the specification and newer ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only before this version of the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// What is done. In a place, `host` and `outside` are the node's, every other name is a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// ADD of the plugins, in order.
    Add(Call),
    /// CHECK of the plugins, in order.
    Check(Call),
    /// DEL of the plugins, in reverse order.
    Del(Call),
    /// GC of the plugins.
    Gc(Gc),
    /// STATUS of the plugins.
    Status(Call),
    /// VERSION of the plugins.
    Version(Call),
    /// One execution of a plugin with exactly this environment and input.
    Exec(Exec),
    /// A verb of many containers, `n0`, `n1`, …, at the same time.
    AtOnce(AtOnce),
    /// A verb whose plugins are killed (SIGKILL, with all that they started) at a random moment.
    Interrupt(Interrupt),
    /// Steps, several times.
    Repeat(Repeat),
    /// The machine starts anew: namespaces, links and firewalls are gone, and what is in /run; other files stay.
    Reboot(Empty),
    /// How `conformance-ipam` was called since the last such step: exactly so, in this order.
    IpamCalls(Vec<IpamCall>),
    /// The container's namespace ends, as when its runtime does not wait for DEL. Its path is gone.
    EndNetns(String),
    /// Something is done to the machine by other means than the plugins.
    Change(Change),
    /// An echo request that is answered.
    Ping(Ping),
    /// A service that answers, on TCP or UDP.
    Fetch(Fetch),
    /// A TCP port that nobody answers on.
    Closed(Closed),
    /// A file is there, or not.
    File(FileState),
    /// What there is in a place: links, addresses, routes, rules, …
    Look(Look),
    /// A command, split at white space; without its program the case is skipped.
    Run(Run),
    /// Of what the steps before made, nothing is left but infrastructure that plugins keep by design.
    NothingLeft(Empty),
    /// The interface of a container is there, or is not.
    Interface(InterfaceIs),
    /// The kernel has what the result of a container's ADD says.
    ResultHolds(ResultHolds),
    /// Links, addresses and routes are written down, for `unchanged`.
    Note(Scope),
    /// Links, addresses and routes are as they were at the last `note`.
    Unchanged(Scope),
}

/// An execution of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Its type, in the directory under test.
    pub plugin: String,
    /// All of its environment, but `PATH`. An empty `CNI_PATH` and `CNI_NETNS` are filled in.
    pub env: BTreeMap<String, String>,
    /// JSON for stdin; `cniVersion` is filled in if absent.
    #[serde(default)]
    pub config: Value,
    /// Anything else for stdin.
    pub stdin: Option<String>,
}

/// A verb of many containers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtOnce {
    /// `ADD`, `DEL` or `CHECK`.
    pub verb: String,
    /// How many.
    pub count: usize,
}

/// A verb that is killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interrupt {
    /// `ADD`, `DEL`, …
    pub verb: String,
    /// Whose attachment, and what differs.
    #[serde(default)]
    pub call: Call,
}

/// Steps, several times.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// How often.
    pub times: usize,
    /// What.
    pub steps: Vec<Step>,
}

/// A call of `conformance-ipam`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpamCall {
    /// Its `CNI_COMMAND`.
    pub verb: String,
    /// Variables that it must have had, with these values.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Parts of the configuration that it must have had, by JSON pointer.
    #[serde(default)]
    pub stdin: BTreeMap<String, Value>,
}

/// A file, or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileState {
    /// Where.
    pub path: String,
    /// Whether it is there.
    #[serde(default = "yes")]
    pub there: bool,
}

fn yes() -> bool {
    true
}

/// What there must be, or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Where.
    #[serde(rename = "in")]
    pub place: String,
    /// `link`, `address`, `route`, `rule`, `neighbour`, `qdisc`, `filter`, `nft-table`, `nft-chain`, `nft-set`,
    /// `nft-element` or `nft-rule`.
    pub kind: String,
    /// The link that it is on.
    pub dev: Option<String>,
    /// Words of its line, in this order and next to each other: `via 10.88.0.1`. All of these.
    #[serde(default)]
    pub says: Vec<String>,
    /// How many there are; at least one, if absent.
    pub count: Option<usize>,
}

/// A command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Where.
    #[serde(rename = "in")]
    pub place: String,
    /// The program and its arguments.
    pub command: String,
}

/// A list of no settings: `{}`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// How the interface of a container is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceIs {
    /// Whose interface.
    pub container: String,
    /// Its name; `CNI_IFNAME`, if absent.
    pub ifname: Option<String>,
    /// What is wanted.
    pub is: Is,
}

/// How a link is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Is {
    /// It is there, and up.
    Up,
    /// It is not there.
    Absent,
}

/// What of a result is to be found in the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultHolds {
    /// Whose result.
    pub container: String,
    /// What of it.
    pub of: Vec<Aspect>,
}

/// A part of a result.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Aspect {
    /// `interfaces`: each is there, with its hardware address and MTU, and `CNI_IFNAME` is one of them.
    Interfaces,
    /// `ips[].interface`: each is the index of an interface in the container.
    Indices,
    /// The addresses are on `CNI_IFNAME`, but for those that belong to another interface.
    Addresses,
    /// The routes are in the container.
    Routes,
}

/// Of what links, addresses and routes are looked at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// The inside of this container alone; `host`: the host and files of plugins; absent: that, and the inside of all
    /// containers.
    pub of: Option<String>,
}

/// A call of the plugins, and how it differs from a right one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Call {
    /// Whose attachment.
    pub container: String,
    /// Only the plugin of this type; all of the list, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// `CNI_IFNAME`; the usual, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// Variables that are set otherwise; `null`: not set at all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// What is changed in the configuration on stdin: a JSON merge patch (RFC 7386), so `null` removes a key.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// Something else for stdin, as it stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            container: "a".to_owned(),
            plugin: None,
            ifname: None,
            env: BTreeMap::new(),
            config: Value::Null,
            stdin: None,
        }
    }
}

impl Call {
    /// Whether it is as any runtime would do it, so that another runtime can.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plugin.is_none()
            && self.ifname.is_none()
            && self.env.is_empty()
            && self.config.is_null()
            && self.stdin.is_none()
    }
}

/// A GC, and what is said to be valid.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gc {
    /// The containers whose attachments are valid.
    pub valid: Vec<String>,
    /// The value of `cni.dev/valid-attachments` instead, right or wrong; `"absent"`: no such key.
    pub list: Option<Value>,
    /// How the call differs besides.
    pub call: Call,
}

/// What must come of a step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// Whether it succeeds.
    pub outcome: Outcome,
    /// The code of the error object is one of these; any, if empty.
    pub codes: Vec<u64>,
    /// What `msg` and `details` of the error object say, somewhere, in any case of letters.
    pub says: Option<String>,
    /// Parts of the JSON on stdout, by JSON pointer.
    pub reply: BTreeMap<String, Value>,
    /// JSON pointers that lead to something, whatever it is.
    pub has: Vec<String>,
    /// JSON pointers that lead to nothing.
    pub lacks: Vec<String>,
    /// All addresses of the result, in order, as `10.1.0.5/16`.
    pub addresses: Option<Vec<String>>,
    /// What stdout is, whatever stands in it.
    pub stdout: Option<Stdout>,
    /// The result still says what `prevResult` on stdin said.
    pub keeps_prev_result: bool,
}

/// Whether a step succeeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It must.
    #[default]
    Success,
    /// It must not; a plugin says why by an error object.
    Failure,
    /// It may or may not; a plugin that fails says why by an error object.
    Any,
}

/// What may stand on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stdout {
    /// Whatever: a plugin that fails SHOULD write an error object, but it is not what the case is about.
    Any,
    /// Nothing at all.
    Empty,
    /// Exactly one JSON object, and white space.
    Object,
}
