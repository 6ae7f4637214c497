//! The environment of a plugin's call: `CNI_COMMAND` and its companions (specification, section "Parameters").

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::error::{ErrorCode, ErrorReply};
use crate::names::{ContainerId, IfName, NameError};
use crate::types::AttachmentId;

/// `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Make an attachment.
    Add,
    /// Remove one.
    Del,
    /// Compare one with what was made.
    Check,
    /// Remove what no valid attachment owns.
    Gc,
    /// Say whether ADD would work.
    Status,
    /// Say which versions are supported.
    Version,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// The value of `CNI_COMMAND`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The verb of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }

    /// Whether it is about one attachment.
    #[must_use]
    pub const fn has_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }
}

/// The environment of a call: the whole of it, since a delegate inherits it.
#[derive(Clone, Debug, Default)]
pub struct Env {
    vars: BTreeMap<OsString, OsString>,
}

impl Env {
    /// This process's environment.
    #[must_use]
    pub fn of_process() -> Self {
        Self { vars: std::env::vars_os().collect() }
    }

    /// The value of `key`, if it is set, not empty, and UTF-8.
    #[must_use]
    pub fn var(&self, key: &str) -> Option<&str> {
        self.vars.get(OsStr::new(key)).and_then(|v| v.to_str()).filter(|v| !v.is_empty())
    }

    /// This environment with `key` set to `value`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.vars.insert(key.into(), value.into());
        self
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars.iter().map(|(k, v)| (k.as_os_str(), v.as_os_str()))
    }

    /// The directories of `CNI_PATH`.
    #[must_use]
    pub fn cni_path(&self) -> Vec<PathBuf> {
        self.var("CNI_PATH").map(|list| std::env::split_paths(list).collect()).unwrap_or_default()
    }

    /// Validates what `command` requires, in the reference's order: `CNI_COMMAND`, `CNI_CONTAINERID`, `CNI_NETNS`,
    /// `CNI_IFNAME`, `CNI_PATH`. A value that is present and invalid is reported at once, missing ones together.
    /// An unknown command is judged as VERSION is, because the configuration is looked at first.
    pub(crate) fn validate(&self, command: &str) -> Result<Option<AttachmentId>, ErrorReply> {
        let verb = Verb::find(command);
        let has_attachment = verb.is_some_and(Verb::has_attachment);
        let mut missing = Vec::new();
        if command.is_empty() {
            missing.push("CNI_COMMAND");
        }
        let mut require = |key: &'static str| {
            let value = self.var(key);
            if value.is_none() {
                missing.push(key);
            }
            value
        };
        let mut container_id = None;
        let mut ifname = None;
        if has_attachment {
            container_id =
                require("CNI_CONTAINERID").map(str::parse::<ContainerId>).transpose().map_err(|e| invalid_env(&e))?;
            if verb != Some(Verb::Del) {
                require("CNI_NETNS");
            }
            ifname = require("CNI_IFNAME").map(str::parse::<IfName>).transpose().map_err(|e| invalid_env(&e))?;
        }
        // The specification wants CNI_PATH for every verb but VERSION and (1.1.0) STATUS; the reference wants it
        // there too. A plugin without delegates needs it for none, so STATUS is let through.
        if has_attachment || verb == Some(Verb::Gc) {
            require("CNI_PATH");
        }
        if !missing.is_empty() {
            let list = missing.join(",");
            return Err(ErrorReply::new(
                ErrorCode::INVALID_ENVIRONMENT,
                format!("required env variables [{list}] missing"),
                "",
            ));
        }
        Ok(container_id.zip(ifname).map(|(container_id, ifname)| AttachmentId { container_id, ifname }))
    }

    /// `CNI_NETNS`; `None` if empty or absent, as on DEL after the namespace is gone.
    pub(crate) fn netns(&self) -> Option<PathBuf> {
        self.var("CNI_NETNS").map(PathBuf::from)
    }

    /// Whether `CNI_NETNS_OVERRIDE` allows the plugin's own namespace (`TRUE` in any case, or `1`).
    pub(crate) fn allows_own_netns(&self) -> bool {
        self.var("CNI_NETNS_OVERRIDE").is_some_and(|v| v == "1" || v.eq_ignore_ascii_case("true"))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Self {
        Self { vars: vars.into_iter().map(|(k, v)| (k.into(), v.into())).collect() }
    }
}

fn invalid_env(fault: &NameError) -> ErrorReply {
    ErrorReply::new(ErrorCode::INVALID_ENVIRONMENT, fault.to_string(), fault.details())
}
