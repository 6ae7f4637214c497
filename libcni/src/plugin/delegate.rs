use std::borrow::Cow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::convert::{self, ConvertError};
use crate::env::{Env, Verb};
use crate::error::{CniError, ErrorCode, ErrorReply};
use crate::exec::{self, ExecError};
use crate::json;
use crate::plugin::dispatch::{Call, dispatch};
use crate::plugin::signal::Forwarding;
use crate::plugin::{AnyPlugin, named};
use crate::types::{AddResult, AttachmentId};

/// Another plugin that this one calls for a part of its work, as an IPAM plugin (specification, section 4
/// "Plugin Delegation"): same environment, same configuration.
#[derive(Debug)]
pub struct Delegate<'c> {
    call: &'c Call<'c>,
    name: String,
    runner: Runner<'c>,
    stdin: Cow<'c, [u8]>,
}

enum Runner<'c> {
    /// The executable found is this very file: the plugin is called in this process. Same environment, same bytes
    /// in, same bytes out, no process.
    InProcess(&'c dyn AnyPlugin),
    Executable(PathBuf),
}

impl std::fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InProcess(plugin) => write!(f, "InProcess({})", plugin.name()),
            Self::Executable(path) => write!(f, "Executable({})", path.display()),
        }
    }
}

/// Why a delegate gave no result.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// The configuration names no plugin.
    #[error("no plugin name provided")]
    NoName,
    /// The name has a `/`.
    #[error("invalid plugin name: {0}")]
    InvalidName(String),
    /// `CNI_PATH` is empty.
    #[error("no paths provided")]
    NoPaths,
    /// No directory of `CNI_PATH` has it.
    #[error("failed to find plugin \"{name}\" in path [{}]", display_paths(paths))]
    NotFound {
        /// The type looked for.
        name: String,
        /// The directories of `CNI_PATH`.
        paths: Vec<PathBuf>,
    },
    /// The delegate failed with an error object, which is passed on unchanged.
    #[error("{0}")]
    Reply(ErrorReply),
    /// The delegate could not be run, or did not speak the protocol.
    #[error("delegate plugin \"{name}\" failed")]
    Exec {
        /// Its type.
        name: String,
        /// Why.
        source: ExecError,
    },
    /// Its result cannot be understood.
    #[error("delegate plugin \"{name}\" gave an invalid result")]
    Result {
        /// Its type.
        name: String,
        /// Why.
        source: ConvertError,
    },
}

fn display_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")
}

impl CniError for DelegateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoName | Self::InvalidName(_) | Self::NotFound { .. } => ErrorCode::INVALID_CONFIG,
            Self::NoPaths => ErrorCode::INVALID_ENVIRONMENT,
            Self::Reply(reply) => reply.code,
            Self::Exec { .. } => ErrorCode::INTERNAL,
            Self::Result { .. } => ErrorCode::DECODING,
        }
    }

    fn reply(&self) -> ErrorReply {
        match self {
            Self::Reply(reply) => reply.clone(),
            _ => ErrorReply::new(self.code(), self.to_string(), crate::error::causes(std::error::Error::source(self))),
        }
    }
}

/// The executable of plugin `name` in the first of `paths` that has one: a regular file or a link to one.
///
/// # Errors
/// [`DelegateError::NoName`], [`DelegateError::InvalidName`], [`DelegateError::NoPaths`], [`DelegateError::NotFound`].
pub fn find_in_path(name: &str, paths: &[PathBuf]) -> Result<PathBuf, DelegateError> {
    if name.is_empty() {
        return Err(DelegateError::NoName);
    }
    if name.contains('/') || name == "." || name == ".." {
        return Err(DelegateError::InvalidName(name.to_owned()));
    }
    if paths.is_empty() {
        return Err(DelegateError::NoPaths);
    }
    paths
        .iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| DelegateError::NotFound { name: name.to_owned(), paths: paths.to_owned() })
}

/// Whether `path` is the file that this process runs.
fn is_this_executable(path: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    let this = identity(Path::new("/proc/self/exe"));
    this.is_some() && this == identity(path)
}

impl<'c> Delegate<'c> {
    /// The plugin `name` from `CNI_PATH`, which will get `stdin`.
    pub(crate) fn find(call: &'c Call<'c>, name: &str, stdin: Cow<'c, [u8]>) -> Result<Self, DelegateError> {
        let path = find_in_path(name, &call.env.cni_path())?;
        let ours = named(call.plugins, name).filter(|_| is_this_executable(&path));
        let runner = ours.map_or(Runner::Executable(path), Runner::InProcess);
        Ok(Self { call, name: name.to_owned(), runner, stdin })
    }

    /// Its CNI type.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// ADD. If it fails, DEL is sent before the error is returned (specification, section 4).
    ///
    /// # Errors
    /// The delegate's error object, or why there is none.
    pub fn add(&self) -> Result<AddResult, DelegateError> {
        let outcome = self.try_add();
        if outcome.is_err()
            && let Err(e) = self.del()
        {
            self.call.warn(format_args!("after a failed ADD, DEL of {} failed: {}", self.name, e.reply()));
        }
        outcome
    }

    /// ADD alone. If it fails, the caller has to send DEL; it learns so whether that succeeded.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn try_add(&self) -> Result<AddResult, DelegateError> {
        self.invoke(Verb::Add).and_then(|stdout| self.parse(&stdout))
    }

    /// DEL.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn del(&self) -> Result<(), DelegateError> {
        self.invoke(Verb::Del).map(drop)
    }

    /// DEL of another attachment than the call's own, if that has one at all: of one that GC found dead. Its namespace
    /// is not known, nor are its `CNI_ARGS`.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn del_other(&self, id: &AttachmentId) -> Result<(), DelegateError> {
        let env = self.call.env.clone().with("CNI_CONTAINERID", id.container_id.as_str());
        let env = env.with("CNI_IFNAME", id.ifname.as_str()).with("CNI_NETNS", "").with("CNI_ARGS", "");
        self.invoke_in(env, Verb::Del).map(drop)
    }

    /// CHECK.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn check(&self) -> Result<(), DelegateError> {
        self.invoke(Verb::Check).map(drop)
    }

    /// GC.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn gc(&self) -> Result<(), DelegateError> {
        self.invoke(Verb::Gc).map(drop)
    }

    /// STATUS.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn status(&self) -> Result<(), DelegateError> {
        self.invoke(Verb::Status).map(drop)
    }

    fn invoke(&self, verb: Verb) -> Result<Vec<u8>, DelegateError> {
        self.invoke_in(self.call.env.clone(), verb)
    }

    fn invoke_in(&self, env: Env, verb: Verb) -> Result<Vec<u8>, DelegateError> {
        let env = env.with("CNI_COMMAND", verb.as_str());
        match &self.runner {
            Runner::InProcess(plugin) => self.call_in_process(*plugin, &env),
            Runner::Executable(path) => {
                let mut forwarding = None;
                let started = |pid| forwarding = Some(Forwarding::to(pid));
                let outcome = exec::exec(path, &env, &self.stdin, exec::Stderr::Inherit, None, started);
                drop(forwarding);
                outcome.map_err(|e| match e {
                    ExecError::Reply(reply) => DelegateError::Reply(reply),
                    source => DelegateError::Exec { name: self.name.clone(), source },
                })
            }
        }
    }

    fn call_in_process(&self, plugin: &dyn AnyPlugin, env: &Env) -> Result<Vec<u8>, DelegateError> {
        let mut stdout = Vec::new();
        let mut stdin: &[u8] = &self.stdin;
        let mut stderr = self.call.stderr;
        let code = dispatch(plugin, self.call.plugins, env, &mut stdin, &mut stdout, &mut stderr);
        if code == 0 {
            return Ok(stdout);
        }
        let reply = serde_json::from_slice(&stdout)
            .unwrap_or_else(|_| ErrorReply::new(ErrorCode::INTERNAL, String::from_utf8_lossy(&stdout), ""));
        Err(DelegateError::Reply(reply))
    }

    fn parse(&self, stdout: &[u8]) -> Result<AddResult, DelegateError> {
        let fault = |source| DelegateError::Result { name: self.name.clone(), source };
        let value = json::parse(stdout).map_err(|e| fault(ConvertError::Syntax(e)))?;
        convert::result(&value, self.call.config.cni_version).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_by_the_rules_of_the_reference() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("bridge")).unwrap();
        let paths = vec![PathBuf::from("/nowhere"), dir.path().to_owned()];
        assert_eq!(find_in_path("bridge", &paths).unwrap(), dir.path().join("bridge"));
        let message = |name, paths: &[PathBuf]| find_in_path(name, paths).unwrap_err().to_string();
        assert_eq!(message("", &paths), "no plugin name provided");
        assert_eq!(message("../bridge", &paths), "invalid plugin name: ../bridge");
        assert_eq!(message("bridge", &[]), "no paths provided");
        assert_eq!(message("ptp", &["/a".into(), "/b".into()]), "failed to find plugin \"ptp\" in path [/a /b]");
    }
}
