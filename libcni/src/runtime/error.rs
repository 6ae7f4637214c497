use std::error::Error;
use std::fmt;

use crate::error::{ErrorCode, ErrorReply, causes};
use crate::exec::ExecError;
use crate::plugin::{DelegateError, Verb};
use crate::runtime::cache::CacheError;
use crate::version::SpecVersion;

/// Why an operation on a network failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A plugin failed.
    #[error("plugin type=\"{plugin_type}\"{} failed ({})", Named(name.as_deref()), in_words(*verb))]
    Plugin {
        /// Its `type`.
        plugin_type: String,
        /// Its `name`, if the list gives it one.
        name: Option<String>,
        /// What it was asked.
        verb: Verb,
        /// What happened.
        source: Box<PluginFault>,
    },
    /// The list's version does not have this verb.
    #[error("configuration version \"{version}\" does not support the {} command", verb.as_str())]
    NotInVersion {
        /// The list's version.
        version: SpecVersion,
        /// The verb.
        verb: Verb,
    },
    /// A plugin does not support the list's version.
    #[error("plugin {plugin_type} does not support config version \"{version}\", only {}", supported.join(", "))]
    Incompatible {
        /// Its `type`.
        plugin_type: String,
        /// The list's version.
        version: SpecVersion,
        /// What the plugin supports.
        supported: Vec<String>,
    },
    /// What was attached cannot be remembered or recalled.
    #[error("failed to {doing} network \"{network}\" cached result")]
    Cache {
        /// `get`, `set` or `remove`.
        doing: &'static str,
        /// The network.
        network: String,
        /// Why.
        source: Box<CacheError>,
    },
    /// An attachment that is not valid any more could not be detached.
    #[error("failed to delete stale attachment {container_id} {ifname}")]
    Stale {
        /// Its container.
        container_id: String,
        /// Its interface.
        ifname: String,
        /// Why.
        source: Box<RuntimeError>,
    },
    /// This process was asked to end in the middle of an ADD (see [`crate::plugin::catch_signals`]).
    #[error("interrupted by a signal between two plugins")]
    Interrupted,
    /// ADD failed, and then its roll-back did, so something is left.
    #[error("ADD failed and could not be rolled back: {}", Joined(failures))]
    RollBack {
        /// Why ADD failed.
        source: Box<RuntimeError>,
        /// Why the roll-back did.
        failures: Vec<RuntimeError>,
    },
    /// Several failures, of DEL, GC or validation, which go on after one.
    #[error("{}", Joined(.0))]
    Several(Vec<RuntimeError>),
}

/// What went wrong with one plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginFault {
    /// It is not there.
    #[error(transparent)]
    Find(DelegateError),
    /// It cannot be run, or failed; [`RuntimeError::reply`] gives the error object, if there is one.
    #[error(transparent)]
    Exec(ExecError),
    /// It succeeded with something that is no result.
    #[error("the plugin's result cannot be understood: {problem}: \"{stdout}\"")]
    Result {
        /// What is wrong with it.
        problem: String,
        /// What it wrote.
        stdout: String,
    },
    /// The configuration for it cannot be written.
    #[error("cannot write the plugin's configuration")]
    Input(#[source] serde_json::Error),
}

impl RuntimeError {
    /// The error object of the plugin that failed, unchanged, if it wrote one. Of several, the first.
    #[must_use]
    pub fn reply(&self) -> Option<&ErrorReply> {
        match self {
            Self::Plugin { source, .. } => match &**source {
                PluginFault::Exec(ExecError::Reply(reply)) => Some(reply),
                _ => None,
            },
            Self::Stale { source, .. } | Self::RollBack { source, .. } => source.reply(),
            Self::Several(failures) => failures.iter().find_map(Self::reply),
            Self::NotInVersion { .. } | Self::Incompatible { .. } | Self::Cache { .. } | Self::Interrupted => None,
        }
    }

    /// The code of that error object, or the one that says the same of this side.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Plugin { source, .. } => match &**source {
                PluginFault::Find(_) => ErrorCode::INVALID_CONFIG,
                PluginFault::Exec(ExecError::Reply(reply)) => reply.code,
                PluginFault::Exec(_) => ErrorCode::INTERNAL,
                PluginFault::Result { .. } | PluginFault::Input(_) => ErrorCode::DECODING,
            },
            Self::NotInVersion { .. } | Self::Incompatible { .. } => ErrorCode::INCOMPATIBLE_VERSION,
            Self::Cache { .. } => ErrorCode::IO,
            Self::Interrupted => ErrorCode::TRY_AGAIN_LATER,
            Self::Stale { source, .. } | Self::RollBack { source, .. } => source.code(),
            Self::Several(failures) => failures.first().map_or(ErrorCode::INTERNAL, Self::code),
        }
    }

    /// Whether the plugin did its work and only its answer was of no use.
    pub(super) fn plugin_succeeded(&self) -> bool {
        matches!(self, Self::Plugin { source, .. } if matches!(**source, PluginFault::Result { .. }))
    }

    /// `failures` as one error; success if there are none.
    pub(super) fn of_all(mut failures: Vec<Self>) -> Result<(), Self> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Several(failures)),
        }
    }
}

/// The reference's words for verbs in this message.
fn in_words(verb: Verb) -> &'static str {
    match verb {
        Verb::Add => "add",
        Verb::Del => "delete",
        Verb::Check => "check",
        Verb::Gc => "gc",
        Verb::Status => "status",
        Verb::Version => "version",
    }
}

struct Named<'a>(Option<&'a str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, " name=\"{name}\""))
    }
}

/// Each failure with its causes, since a list of errors has no one source.
struct Joined<'a>(&'a [RuntimeError]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, failure) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            let failure: &(dyn Error + 'static) = failure;
            write!(f, "{separator}{}", causes(Some(failure)))?;
        }
        Ok(())
    }
}
