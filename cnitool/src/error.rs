use std::io::ErrorKind;
use std::path::PathBuf;

use libcni::ErrorCode;
use libcni::netns::NetnsError;
use libcni::runtime::{CacheError, LoadError, PluginFault, RuntimeError};
use libcni::socket::AskError;
use libcni::store::StoreError;
use libcni::types::ArgsError;

/// Exit codes, as `--help` lists them.
pub(crate) const OK: u8 = 0;
pub(crate) const PLUGIN_FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const CONFIGURATION: u8 = 3;
pub(crate) const STATE: u8 = 4;
pub(crate) const NOT_READY: u8 = 5;
pub(crate) const NOT_WELL: u8 = 6;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("invalid value \"{value}\" of {variable}, expected {expected}")]
    Variable { variable: &'static str, value: String, expected: &'static str },
    #[error("invalid CNI_ARGS pair \"{0}\", expected KEY=VALUE;KEY=VALUE")]
    CniArgs(String),
    #[error("invalid CNI_ARGS")]
    UnusableArgs(#[source] ArgsError),
    #[error("invalid interface name \"{0}\": {1}")]
    IfName(String, libcni::names::NameError),
    #[error("cannot make \"{}\" an absolute path", path.display())]
    Netns { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("cannot read the cache")]
    Cache(#[from] CacheError),
    #[error(
        "cannot tell which attachments of network \"{network}\" are alive: {} is no cache entry: {reason}",
        path.display()
    )]
    UnknownAttachment { network: String, path: PathBuf, reason: String },
    #[error("cannot keep {value}: {problem}")]
    Keep { value: String, problem: String },
    #[error("cannot read the list of attachments to keep")]
    KeepFile(#[source] StoreError),
    #[error("{object} is in use, and its owner cannot be named to the plugins: {owner}")]
    Nameless { object: String, owner: String },
    #[error(transparent)]
    Install(#[from] StoreError),
    #[error("cannot install \"{}\": the name is not UTF-8 text", .0.display())]
    FileName(PathBuf),
    #[error("there is nothing to roll back in {}", .0.display())]
    NothingToRollBack(PathBuf),
    #[error("nothing on this node is called \"{0}\"")]
    NotOnNode(String),
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
    #[error("cannot read the answer")]
    Input(#[source] std::io::Error),
    #[error("overlayd cannot be asked")]
    Overlayd(#[from] AskError),
    #[error("overlayd does not understand the question, or this cnitool not the answer: {0}")]
    OverlaydAnswer(String),
    #[error("the overlay is not ready on this node")]
    NodeNotReady,
    #[error("something of the overlay is not as it should be on this node")]
    OverlayFault,
    #[error("something is not as it should be on this node")]
    NodeNotWell,
    #[error("{count} {what}{} found", if *count == 1 { "" } else { "s" })]
    Findings { count: usize, what: &'static str },
    #[error("there is no schema \"{name}\"")]
    NoSchema { name: String, present: Vec<&'static str> },
    #[error("nothing can be tried")]
    Namespace(#[source] NetnsError),
    #[error("the conformance suite cannot run")]
    Conformance(#[from] conformance::RunError),
    #[error("cannot use {}", path.display())]
    Profile { path: PathBuf, source: std::io::Error },
    #[error("cannot find the file of this program")]
    ThisProgram(#[source] std::io::Error),
    #[error("a trial of the conformance suite could not be finished")]
    UnfinishedTrials,
    #[error("a plugin does not do what the specification says it must")]
    NotConforming,
}

impl ToolError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Load(_)
            | Self::Variable { .. }
            | Self::CniArgs(_)
            | Self::UnusableArgs(_)
            | Self::IfName(..)
            | Self::Netns { .. }
            | Self::Findings { .. }
            | Self::NoSchema { .. }
            | Self::NotOnNode(_)
            | Self::FileName(_)
            | Self::NothingToRollBack(_)
            | Self::Profile { .. }
            | Self::Keep { .. }
            | Self::KeepFile(_) => CONFIGURATION,
            Self::Conformance(fault) => conformance_exit_code(fault),
            Self::ThisProgram(_) | Self::UnfinishedTrials => STATE,
            Self::NotConforming => PLUGIN_FAILED,
            Self::Runtime(fault) => runtime_exit_code(fault),
            Self::Cache(_)
            | Self::UnknownAttachment { .. }
            | Self::Nameless { .. }
            | Self::Install(_)
            | Self::Output(_)
            | Self::Input(_)
            | Self::Namespace(_) => STATE,
            Self::Overlayd(_) | Self::OverlaydAnswer(_) | Self::NodeNotReady => NOT_READY,
            Self::OverlayFault | Self::NodeNotWell => NOT_WELL,
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Load(LoadError::NotFound { present, .. }) if !present.is_empty() => {
                Some(format!("the networks there are: {}", present.join(", ")))
            }
            Self::Load(LoadError::NotFound { .. } | LoadError::Empty(_)) => {
                Some("set NETCONFPATH to the directory of your .conflist files".to_owned())
            }
            Self::Load(LoadError::Directory(_)) | Self::Cache(_) => {
                Some("run as root, or inside a user namespace that owns the directory".to_owned())
            }
            Self::UnknownAttachment { .. } => {
                Some("remove the file, after a look at what it was; or remove all attachments with --all".to_owned())
            }
            Self::NoSchema { present, .. } => Some(format!("the schemas there are: {}", present.join(", "))),
            Self::Nameless { .. } => {
                Some("name it with --keep CONTAINER/IFNAME, and with it all others that are to stay".to_owned())
            }
            Self::Runtime(fault) => runtime_hint(fault),
            Self::Install(fault) => store_hint(fault),
            Self::NothingToRollBack(_) => Some("name a directory that `cnitool install` has put files into".to_owned()),
            Self::NotOnNode(_) => Some("cnitool show, without a name, shows all".to_owned()),
            Self::Overlayd(AskError::Absent(_)) => {
                Some("start overlayd; --socket names another place, which is `socket` in its configuration".to_owned())
            }
            Self::Overlayd(AskError::Dead(_)) => Some("start overlayd; its log says why it ended".to_owned()),
            Self::Overlayd(AskError::Silent { .. }) => Some("the socket is for root alone".to_owned()),
            Self::OverlaydAnswer(_) => Some("use the cnitool and the overlayd of one release".to_owned()),
            Self::Overlayd(AskError::Garbled { .. })
            | Self::NodeNotReady
            | Self::Conformance(_)
            | Self::Profile { .. }
            | Self::ThisProgram(_)
            | Self::UnfinishedTrials
            | Self::NotConforming
            | Self::OverlayFault
            | Self::NodeNotWell
            | Self::Input(_)
            | Self::Namespace(_)
            | Self::Variable { .. }
            | Self::CniArgs(_)
            | Self::UnusableArgs(_)
            | Self::IfName(..)
            | Self::Netns { .. }
            | Self::Findings { .. }
            | Self::Keep { .. }
            | Self::KeepFile(_)
            | Self::FileName(_)
            | Self::Output(_) => None,
        }
    }
}

fn store_hint(fault: &StoreError) -> Option<String> {
    let hint = match fault.source.kind() {
        ErrorKind::PermissionDenied => "run as root, or as the owner of the directory".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "mount it writable; in a pod, without readOnly".to_owned(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room; what was there before is there".to_owned(),
        ErrorKind::InvalidData => format!("remove {}: what was replaced cannot be put back then", fault.path.display()),
        _ => return None,
    };
    Some(hint)
}

fn conformance_exit_code(fault: &conformance::RunError) -> u8 {
    match fault {
        conformance::RunError::Job(_) => STATE,
        conformance::RunError::UnknownGroup { .. } => USAGE,
        conformance::RunError::Catalog(_)
        | conformance::RunError::BinDir { .. }
        | conformance::RunError::NoPlugin { .. }
        | conformance::RunError::NoPlugins(_) => CONFIGURATION,
    }
}

fn runtime_exit_code(fault: &RuntimeError) -> u8 {
    match fault {
        RuntimeError::Plugin { verb: libcni::plugin::Verb::Status, .. }
            if matches!(fault.code(), ErrorCode::PLUGIN_NOT_AVAILABLE | ErrorCode::LIMITED_CONNECTIVITY) =>
        {
            NOT_READY
        }
        RuntimeError::Interrupted => PLUGIN_FAILED,
        RuntimeError::Plugin { source, .. } => match **source {
            PluginFault::Find(_) => CONFIGURATION,
            PluginFault::Exec(_) | PluginFault::Result { .. } | PluginFault::Input(_) => PLUGIN_FAILED,
        },
        RuntimeError::NotInVersion { .. } | RuntimeError::Incompatible { .. } => CONFIGURATION,
        RuntimeError::Cache { .. } => STATE,
        RuntimeError::Stale { source, .. } | RuntimeError::RollBack { source, .. } => runtime_exit_code(source),
        RuntimeError::Several(failures) => failures.first().map_or(PLUGIN_FAILED, runtime_exit_code),
    }
}

fn runtime_hint(fault: &RuntimeError) -> Option<String> {
    match fault {
        RuntimeError::Plugin { source, .. } => match &**source {
            PluginFault::Find(_) => Some("set CNI_PATH to the directory of the plugins".to_owned()),
            PluginFault::Exec(_) | PluginFault::Result { .. } | PluginFault::Input(_) => code_hint(fault.code()),
        },
        RuntimeError::NotInVersion { .. } => Some("raise the cniVersion of the network".to_owned()),
        RuntimeError::Incompatible { .. } => {
            Some("change the cniVersion of the network, or update the plugin".to_owned())
        }
        RuntimeError::Cache { .. } => {
            Some("choose another cache directory with --cache-dir or CNI_CACHE_DIR".to_owned())
        }
        RuntimeError::RollBack { .. } => Some("once the cause is gone, `cnitool del` removes what is left".to_owned()),
        RuntimeError::Interrupted => None,
        RuntimeError::Stale { source, .. } => runtime_hint(source),
        RuntimeError::Several(failures) => failures.iter().find_map(runtime_hint),
    }
}

fn code_hint(code: ErrorCode) -> Option<String> {
    let hint = match code {
        ErrorCode::TRY_AGAIN_LATER => "the condition passes by itself: try again",
        ErrorCode::INVALID_NETNS => "give the path of the container's namespace, not of your own",
        ErrorCode::INCOMPATIBLE_VERSION => "`cnitool validate` lists what the plugins support",
        _ => return None,
    };
    Some(hint.to_owned())
}
