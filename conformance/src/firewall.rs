//! The three ways in which known plugins write firewall rules: a setting of theirs and, for the two kinds of iptables,
//! which program `iptables` is.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::case::Firewall;
use crate::node::NodeError;
use crate::sandbox;

/// Sets a plugin to the backend, if it is one that has such a setting.
pub(crate) fn configure(plugin: &mut Value, firewall: Firewall) {
    let setting = match firewall {
        Firewall::Nftables => "nftables",
        Firewall::IptablesNft | Firewall::IptablesLegacy => "iptables",
    };
    let key = match plugin.get("type").and_then(Value::as_str) {
        Some("bridge" | "ptp") => "ipMasqBackend",
        // A case that lets the plugin choose says so.
        Some("firewall") if plugin.get("backend").is_some() => return,
        Some("portmap" | "firewall") => "backend",
        _ => return,
    };
    if let Some(object) = plugin.as_object_mut() {
        object.insert(key.to_owned(), setting.into());
    }
}

/// The programs of a flavour of iptables.
fn program(family: &str, flavour: &str, verb: &str) -> PathBuf {
    format!("/usr/sbin/{family}-{flavour}{verb}").into()
}

/// What this machine lacks for a backend.
pub(crate) fn missing(firewall: Firewall) -> Option<&'static str> {
    let (flavour, reason) = match firewall {
        Firewall::Nftables => return None,
        Firewall::IptablesNft => ("nft", "there is no program iptables-nft"),
        Firewall::IptablesLegacy => ("legacy", "there is no program iptables-legacy"),
    };
    (!program("iptables", flavour, "").exists()).then_some(reason)
}

/// Makes a directory of links, to be put in front of `PATH`, in which `iptables` is the program that is meant.
pub(crate) fn programs(firewall: Firewall) -> Result<PathBuf, NodeError> {
    let dir = Path::new(sandbox::DIR).join("programs");
    let flavour = if firewall == Firewall::IptablesLegacy { "legacy" } else { "nft" };
    std::fs::create_dir_all(&dir).map_err(|e| NodeError::File(dir.clone(), e))?;
    for family in ["iptables", "ip6tables"] {
        for verb in ["", "-save", "-restore"] {
            let name = dir.join(format!("{family}{verb}"));
            symlink(program(family, flavour, verb), &name).map_err(|e| NodeError::File(name, e))?;
        }
    }
    Ok(dir)
}

/// `PATH` of the plugins: this process's, with `first` in front and the directories of system programs behind.
pub(crate) fn path(first: Option<&Path>) -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    let first = first.map(|dir| format!("{}:", dir.display())).unwrap_or_default();
    format!("{first}{own}:/usr/sbin:/usr/bin:/sbin:/bin")
}
