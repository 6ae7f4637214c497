//! The command line and the environment: our few flags, and flannel's, read as Go reads flags.

mod flags;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::flags::{FLAGS, Flag, Kind};
use crate::config::DEFAULT_FILE;
use crate::settings::{SettingError, Settings};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run(Sources),
    /// Read the configuration and say whether it is right.
    CheckConfig(Sources),
    /// Remove all that the daemon made; `store`: what it made known, too.
    Cleanup {
        sources: Sources,
        store: bool,
    },
    Help,
    Version,
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgsError {
    #[error("flag provided but not defined: {0}")]
    Unknown(String),
    #[error("flag needs an argument: {0}")]
    Missing(String),
    #[error("unexpected argument {0:?} (hint: a switch is written without a value, or as --ip-masq=false)")]
    Argument(String),
    #[error("an argument is not UTF-8: {0:?}")]
    NotText(OsString),
}

/// Where settings come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    config: Option<PathBuf>,
    /// Flags without their dashes, with the value as it was given; the last of a flag that is no list wins.
    flags: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// [`ArgsError`]
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, ArgsError> {
    let environment = environment.into_iter();
    let mut sources = Sources {
        // What is not UTF-8 is none of ours.
        environment: environment.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
        ..Sources::default()
    };
    let (mut words, mut check, mut store) = (Vec::new(), false, false);
    let mut arguments = arguments.into_iter().map(|argument| argument.into_string().map_err(ArgsError::NotText));
    while let Some(argument) = arguments.next().transpose()? {
        let Some(name) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            words.push(argument);
            continue;
        };
        let (name, mut value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        match name {
            "h" | "help" => return Ok(Command::Help),
            "version" => return Ok(Command::Version),
            "check" => check = true,
            "store" => store = true,
            _ => {
                let is_switch =
                    name != "config" && find(name).ok_or_else(|| ArgsError::Unknown(argument.clone()))?.is_switch();
                if value.is_none() {
                    value = if is_switch { Some("true".to_owned()) } else { arguments.next().transpose()? };
                }
                let value = value.ok_or_else(|| ArgsError::Missing(argument.clone()))?;
                match name {
                    "config" => sources.config = Some(value.into()),
                    _ => sources.flags.push((name.to_owned(), value)),
                }
            }
        }
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] if store => Err(ArgsError::Unknown("--store".to_owned())),
        [] if check => Ok(Command::CheckConfig(sources)),
        [] => Ok(Command::Run(sources)),
        ["check-config"] => Ok(Command::CheckConfig(sources)),
        ["cleanup"] => Ok(Command::Cleanup { sources, store }),
        ["version"] => Ok(Command::Version),
        [first, ..] => Err(ArgsError::Argument((*first).to_owned())),
    }
}

fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// What `--help` prints.
pub(crate) fn usage() -> String {
    flags::usage()
}

impl Sources {
    /// The configuration's file: what `--config` says, or the default one if it exists.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into()))
    }

    /// An environment variable that is not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The flags that were given and have no effect here.
    pub(crate) fn without_effect(&self) -> Vec<&'static str> {
        let ignored = FLAGS.iter().filter(|flag| flag.kind == Kind::Ignored);
        ignored.filter(|flag| self.given(flag).is_some()).map(|flag| flag.name).collect()
    }

    /// Puts what flags and environment say in place of what the file says.
    ///
    /// # Errors
    /// [`SettingError`] for a value that is not of the flag's kind.
    pub(crate) fn apply(&self, settings: &mut Settings) -> Result<(), SettingError> {
        if let Some(node) = self.variable("NODE_NAME") {
            settings.set("node", "NODE_NAME", Value::from(node));
        }
        self.choose_store(settings)?;
        for flag in FLAGS {
            let Some(Given { place, values }) = self.given(flag) else { continue };
            // Of a store that is not the one: flannel, too, looks at its flags of Kubernetes only with --kube-subnet-mgr.
            if flag.table().is_some_and(|table| table.starts_with("store.") && !settings.has_table(table)) {
                continue;
            }
            if let Some(value) = flag.value(&place, &values)? {
                settings.set(flag.path, &place, value);
            }
        }
        self.healthz(settings)
    }

    /// The store that flags speak of takes the place of the file's.
    fn choose_store(&self, settings: &mut Settings) -> Result<(), SettingError> {
        let kubernetes = match find("kube-subnet-mgr").and_then(|flag| self.given(flag)) {
            Some(Given { place, values }) => flags::boolean(&place, values.last().map_or("", String::as_str))?,
            None => false,
        };
        let is_etcd = |flag: &&Flag| flag.table() == Some("store.etcd");
        let etcd = FLAGS.iter().filter(is_etcd).find_map(|flag| self.given(flag));
        let chosen = match (kubernetes, etcd) {
            (true, _) => "store.kubernetes",
            (false, Some(_)) => "store.etcd",
            (false, None) => return Ok(()),
        };
        for other in ["store.file", "store.etcd", "store.kubernetes"].into_iter().filter(|table| *table != chosen) {
            settings.remove_table(other);
        }
        if kubernetes && !settings.has_table(chosen) {
            // Whoever starts it as flanneld wants to be seen by flanneld.
            settings.set("store.kubernetes.records", "--kube-subnet-mgr", Value::from("annotations"));
        }
        settings.add_table(chosen);
        Ok(())
    }

    /// `--healthz-ip` and `--healthz-port` make one address. Unlike flannel's, it is not a public one by default.
    fn healthz(&self, settings: &mut Settings) -> Result<(), SettingError> {
        let value = |name: &str| find(name).and_then(|flag| self.given(flag));
        let Some(Given { place, values }) = value("healthz-port") else { return Ok(()) };
        let text = values.last().map_or("", String::as_str);
        let port: u16 =
            text.parse().ok().ok_or_else(|| flags::invalid(&place, text, "a whole number from 0 to 65535"))?;
        if port == 0 {
            return Ok(());
        }
        let address = value("healthz-ip").and_then(|given| given.values.last().cloned());
        let address = address.unwrap_or_else(|| "127.0.0.1".to_owned());
        let address = if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        settings.set("http", &place, Value::from(address));
        Ok(())
    }

    fn given(&self, flag: &Flag) -> Option<Given> {
        let values: Vec<String> =
            self.flags.iter().filter(|(name, _)| name == flag.name).map(|(_, value)| value.clone()).collect();
        if !values.is_empty() {
            return Some(Given { place: format!("--{}", flag.name), values });
        }
        let name = flag.variable();
        let value = self.variable(&name)?.to_owned();
        Some(Given { place: name, values: vec![value] })
    }
}

/// What was given for a flag.
struct Given {
    /// The flag with its dashes, or the variable.
    place: String,
    values: Vec<String>,
}
