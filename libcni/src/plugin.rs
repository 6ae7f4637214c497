//! The plugin side of the protocol: implement [`Plugin`], hand it to [`main`].
//!
//! [`main`] and [`dispatch()`] do all that is the same for every plugin: environment, validation, version gates,
//! the guard against the host's namespace, reading stdin, writing the one reply, the exit code.

mod delegate;
mod dispatch;
mod signal;
mod stderr;
mod stdin;
mod stdout;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::{CniError, ErrorReply};
use crate::types::{AddResult, AttachmentId};
use crate::version::SpecVersion;

pub use crate::env::{Env, Verb};
pub use delegate::{Delegate, DelegateError, find_in_path};
pub use dispatch::{Attachment, Call, dispatch};
pub use signal::{Interrupted, catch_signals, interrupted};

/// A CNI plugin. All five verbs are required: what a verb has nothing to do for is said by an empty body, not by
/// leaving it out.
///
/// Each verb finds its configuration in [`Call::config`]. Whatever ADD made before it failed, ADD undoes.
pub trait Plugin {
    /// What can go wrong.
    type Error: CniError;

    /// The CNI type: the name of the binary.
    fn name(&self) -> &'static str;

    /// Other names that it is installed under and answers to: of a plugin whose place it takes.
    fn other_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// The versions of configuration that this plugin accepts, oldest first.
    fn versions(&self) -> &'static [SpecVersion] {
        &SpecVersion::ALL
    }

    /// ADD: makes the attachment, or changes what earlier plugins of the chain made, and returns the result for the
    /// next. All or nothing.
    ///
    /// # Errors
    /// The plugin's own; nothing is left behind.
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, Self::Error>;

    /// DEL: removes all that ADD made. Success if it is gone already, or was never made.
    ///
    /// # Errors
    /// Only for what is still there and cannot be removed.
    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Self::Error>;

    /// CHECK: whether all that this plugin's ADD made is as it was made.
    ///
    /// # Errors
    /// What differs.
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), Self::Error>;

    /// GC: removes what this network's attachments other than `valid` left.
    ///
    /// # Errors
    /// What could not be removed, after trying all of it.
    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), Self::Error>;

    /// STATUS: whether an ADD could succeed now.
    ///
    /// # Errors
    /// Code 50 or 51 with the reason.
    fn status(&self, call: &Call<'_>) -> Result<(), Self::Error>;

    /// What it does when it is started with `arguments`, by a person or by an init system rather than by a runtime, and
    /// the exit code of that. `None`: they mean nothing to it, as to most plugins.
    fn command(&self, _arguments: &[OsString]) -> Option<ExitCode> {
        None
    }
}

/// A plugin whose error type is erased, so that plugins can stand in one list. Every [`Plugin`] is one.
pub trait AnyPlugin: Sync {
    /// As [`Plugin::name`].
    fn name(&self) -> &'static str;
    /// As [`Plugin::other_names`].
    fn other_names(&self) -> &'static [&'static str];
    /// As [`Plugin::versions`].
    fn versions(&self) -> &'static [SpecVersion];
    /// As [`Plugin::add`].
    ///
    /// # Errors
    /// As [`Plugin::add`].
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, ErrorReply>;
    /// As [`Plugin::del`].
    ///
    /// # Errors
    /// As [`Plugin::del`].
    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), ErrorReply>;
    /// As [`Plugin::check`].
    ///
    /// # Errors
    /// As [`Plugin::check`].
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), ErrorReply>;
    /// As [`Plugin::gc`].
    ///
    /// # Errors
    /// As [`Plugin::gc`].
    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), ErrorReply>;
    /// As [`Plugin::status`].
    ///
    /// # Errors
    /// As [`Plugin::status`].
    fn status(&self, call: &Call<'_>) -> Result<(), ErrorReply>;
    /// As [`Plugin::command`].
    fn command(&self, arguments: &[OsString]) -> Option<ExitCode>;
}

impl<P: Plugin + Sync> AnyPlugin for P {
    fn name(&self) -> &'static str {
        Plugin::name(self)
    }
    fn other_names(&self) -> &'static [&'static str] {
        Plugin::other_names(self)
    }
    fn versions(&self) -> &'static [SpecVersion] {
        Plugin::versions(self)
    }
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, ErrorReply> {
        Plugin::add(self, call, attachment).map_err(|e| e.reply())
    }
    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), ErrorReply> {
        Plugin::del(self, call, attachment).map_err(|e| e.reply())
    }
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), ErrorReply> {
        Plugin::check(self, call, attachment).map_err(|e| e.reply())
    }
    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), ErrorReply> {
        Plugin::gc(self, call, valid).map_err(|e| e.reply())
    }
    fn status(&self, call: &Call<'_>) -> Result<(), ErrorReply> {
        Plugin::status(self, call).map_err(|e| e.reply())
    }
    fn command(&self, arguments: &[OsString]) -> Option<ExitCode> {
        Plugin::command(self, arguments)
    }
}

impl<'p> dyn AnyPlugin + 'p {
    /// All the names that it answers to, its own first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name()).chain(self.other_names().iter().copied())
    }
}

/// The one of `plugins` that answers to `name`.
fn named<'p>(plugins: &[&'p dyn AnyPlugin], name: &str) -> Option<&'p dyn AnyPlugin> {
    plugins.iter().copied().find(|plugin| plugin.names().any(|own| own == name))
}

/// Runs `plugin` as this process: environment, stdin, stdout and exit code are the process's. The one line of a
/// plugin's `main.rs`.
#[must_use]
pub fn main(plugin: &dyn AnyPlugin) -> ExitCode {
    run(&[plugin], plugin)
}

/// Runs the plugin of `plugins` that this process was called as (the file name of `argv[0]`). A delegate that turns
/// out to be this same executable is then called in process. The one line of a multi-call binary's `main.rs`.
///
/// Called by another name with the argument `--names`, it lists the names that it answers to, one a line: those that it
/// is to be installed under.
#[must_use]
pub fn main_multicall(plugins: &[&dyn AnyPlugin]) -> ExitCode {
    let called_as = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = called_as.as_deref().and_then(|p| p.file_name()).and_then(|n| n.to_str()).unwrap_or_default();
    match named(plugins, name) {
        Some(plugin) => run(plugins, plugin),
        None if std::env::args_os().nth(1).is_some_and(|argument| argument == "--names") => {
            dispatch::list_names(plugins)
        }
        None => dispatch::refuse_name(name, plugins),
    }
}

fn run(plugins: &[&dyn AnyPlugin], plugin: &dyn AnyPlugin) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if !arguments.is_empty()
        && let Some(code) = plugin.command(&arguments)
    {
        return code;
    }
    signal::catch_signals();
    let env = Env::of_process();
    let is_silent = env.var("CNI_COMMAND") == Some("VERSION") && !stdin::has_input();
    let stdin: &mut dyn std::io::Read = if is_silent { &mut std::io::empty() } else { &mut std::io::stdin() };
    let code = dispatch(plugin, plugins, &env, stdin, &mut stdout::Stdout, &mut std::io::stderr());
    ExitCode::from(code)
}
