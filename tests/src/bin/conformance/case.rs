//! What a case file says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use ferrule_tests::Feature;
use serde::Deserialize;
use serde_json::Value;

/// All versions of the specification.
pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A conformance case: `tests/conformance/<name>.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) name: String,
    /// What is shown, in one sentence.
    pub(crate) about: String,
    /// `fails: <reason>`: what the reference does not do. It must then really fail.
    pub(crate) reference: Option<String>,
    /// The versions that the configuration list is run at; all, if absent.
    #[serde(default = "all_versions")]
    pub(crate) versions: Vec<String>,
    /// `nftables`, `iptables-nft`, `iptables-legacy`; nf_tables alone, if absent.
    #[serde(default = "nftables")]
    pub(crate) firewalls: Vec<String>,
    /// What the kernel must have; without it the case is skipped.
    #[serde(default)]
    pub(crate) needs: Vec<Feature>,
    /// The configuration list, without `cniVersion` and `name`.
    #[serde(default)]
    pub(crate) conflist: Value,
    /// What is asked for each container.
    #[serde(default)]
    pub(crate) containers: BTreeMap<String, Wishes>,
    pub(crate) steps: Vec<Step>,
}

fn all_versions() -> Vec<String> {
    VERSIONS.map(str::to_owned).to_vec()
}

fn nftables() -> Vec<String> {
    vec!["nftables".to_owned()]
}

/// What a runtime asks for a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wishes {
    /// `CNI_ARGS`.
    #[serde(default)]
    pub(crate) args: String,
    /// `CAP_ARGS`.
    #[serde(default)]
    pub(crate) capabilities: Value,
}

/// One step: what is done, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(rename = "do")]
    pub(crate) action: Action,
    /// Only at this version of the specification and newer ones.
    pub(crate) since: Option<String>,
    /// Only before this version of the specification.
    pub(crate) before: Option<String>,
    /// It must fail, with this in its message.
    pub(crate) fails: Option<String>,
}

/// What is done. In a place, `host` and `outside` are the node's, every other name is a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Action {
    /// `cnitool add`; the result must have the form of its version, and these addresses.
    Add { container: String, addresses: Option<Vec<String>>, result: Option<BTreeMap<String, Value>> },
    /// `cnitool check`.
    Check(String),
    /// `cnitool del`.
    Del(String),
    /// `cnitool del` with a namespace path that does not exist any more.
    DelWithoutNetns(String),
    /// `cnitool gc`, which means that no attachment is valid.
    Gc,
    /// `cnitool status`.
    Status,
    /// One execution of a plugin, without cnitool.
    Exec(Box<Exec>),
    /// An echo request that is answered.
    Ping { from: String, to: IpAddr },
    /// A service that answers, on TCP or UDP, at that place on its own port.
    Fetch(Box<Fetch>),
    /// A TCP port that nobody answers on.
    Closed { from: String, to: IpAddr, port: u16 },
    /// A command, and parts of the JSON that it prints, by JSON pointer.
    Look {
        #[serde(rename = "in")]
        place: String,
        run: String,
        #[serde(default)]
        expect: BTreeMap<String, Value>,
    },
    /// Of what the steps before made, nothing is left but infrastructure.
    NothingLeft,
}

/// A request from one place to a service at another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fetch {
    pub(crate) from: String,
    pub(crate) to: IpAddr,
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) udp: bool,
    /// Who must answer, and on which of its ports.
    pub(crate) server: String,
    pub(crate) server_port: u16,
    /// The address that the server must see.
    pub(crate) saw: Option<IpAddr>,
}

/// An execution of a plugin with exactly this environment and input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exec {
    pub(crate) plugin: String,
    /// `CNI_PATH` and `CNI_NETNS` are filled in where they are empty strings.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// JSON for stdin; `cniVersion` is filled in if absent.
    #[serde(default)]
    pub(crate) config: Value,
    /// Anything else for stdin.
    pub(crate) stdin: Option<String>,
    /// The code of the error object.
    pub(crate) code: Option<u64>,
    /// Parts of the reply, by JSON pointer.
    #[serde(default)]
    pub(crate) reply: BTreeMap<String, Value>,
}

impl Case {
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = std::fs::read(path).map_err(|e| fault(&e))?;
        let mut case: Self = serde_json::from_slice(&text).map_err(|e| fault(&e))?;
        path.file_stem().unwrap_or_default().to_string_lossy().as_ref().clone_into(&mut case.name);
        Ok(case)
    }
}
