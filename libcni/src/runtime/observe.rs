//! Watching the calls of plugins: for traces, metrics and logs.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::plugin::{Env, Verb};
use crate::runtime::error::PluginFault;

/// Sees every call of a plugin, on the thread that makes it; the plugin waits meanwhile. Set it as
/// [`Runtime::observer`](crate::runtime::Runtime::observer).
///
/// ```
/// use std::sync::Arc;
/// use libcni::runtime::{Call, Observer, Outcome, Runtime};
///
/// #[derive(Debug)]
/// struct Times;
///
/// impl Observer for Times {
///     fn after(&self, call: &Call<'_>, outcome: &Outcome<'_>) {
///         eprintln!("{} {}: {:?}", call.plugin_type, call.verb.as_str(), outcome.took);
///     }
/// }
///
/// let mut runtime = Runtime::new(["/opt/cni/bin"]);
/// runtime.observer = Some(Arc::new(Times));
/// ```
pub trait Observer: fmt::Debug + Send + Sync {
    /// A plugin is about to be run.
    fn before(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// It has ended, or could not be started.
    fn after(&self, call: &Call<'_>, outcome: &Outcome<'_>);
}

/// A call of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What it is asked. A DEL within an ADD is the roll-back.
    pub verb: Verb,
    /// Its `type`.
    pub plugin_type: &'a str,
    /// Its executable; `None`: there is none.
    pub path: Option<&'a Path>,
    /// The environment it gets: the whole of it.
    pub env: &'a Env,
    /// What it reads on stdin: its configuration, with `prevResult` and `runtimeConfig`.
    pub stdin: &'a [u8],
}

/// What came of a call.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// What the plugin wrote to stdout, or why that is not what was asked for. (Whether it is a result is looked at
    /// later.)
    pub result: Result<&'a [u8], &'a PluginFault>,
    /// What it wrote to stderr. With an observer it is not passed on to this process's stderr.
    pub stderr: &'a [u8],
    /// From before its start to after its end.
    pub took: Duration,
}
