//! The three ways in which plugins write firewall rules.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Feature, require};

/// A firewall backend: a setting of the plugins and, for the two kinds of iptables, which program `iptables` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// `iptables`, as the program that writes nf_tables rules.
    IptablesNft,
    /// `iptables`, as the program of old with its own kernel interface.
    IptablesLegacy,
    /// nf_tables.
    Nftables,
}

impl Firewall {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::IptablesNft, Self::IptablesLegacy, Self::Nftables];

    /// As it stands in tables of results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IptablesNft => "iptables-nft",
            Self::IptablesLegacy => "iptables-legacy",
            Self::Nftables => "nftables",
        }
    }

    /// The value of the plugins' `backend` and `ipMasqBackend`.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::IptablesNft | Self::IptablesLegacy => "iptables",
            Self::Nftables => "nftables",
        }
    }

    /// Whether this machine has it; if not, the calling test is skipped.
    #[must_use]
    pub fn available(self) -> bool {
        self != Self::IptablesLegacy || require(Feature::IptablesLegacy)
    }

    /// Sets `conflist`'s plugins to this backend.
    #[must_use]
    pub fn configure(self, mut conflist: Value) -> Value {
        for plugin in conflist["plugins"].as_array_mut().into_iter().flatten() {
            match plugin["type"].as_str() {
                Some("bridge" | "ptp") => plugin["ipMasqBackend"] = json!(self.setting()),
                // A test that lets the plugin choose says so.
                Some("firewall") if !plugin["backend"].is_null() => {}
                Some("portmap" | "firewall") => plugin["backend"] = json!(self.setting()),
                _ => {}
            }
        }
        conflist
    }

    /// Makes a directory of links in `dir`, to be put in front of `PATH`, in which `iptables` is this program.
    pub(crate) fn programs(self, dir: &Path) -> PathBuf {
        let programs = dir.join("programs");
        let flavour = if self == Self::IptablesLegacy { "legacy" } else { "nft" };
        // Made anew: a node may be told to change its backend.
        let _ = std::fs::remove_dir_all(&programs);
        std::fs::create_dir_all(&programs).expect("make directory of programs");
        for family in ["iptables", "ip6tables"] {
            for verb in ["", "-save", "-restore"] {
                let program = format!("/usr/sbin/{family}-{flavour}{verb}");
                std::os::unix::fs::symlink(program, programs.join(format!("{family}{verb}"))).expect("link program");
            }
        }
        programs
    }
}
