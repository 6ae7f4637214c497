//! What a container runtime does: loads a network, runs its plugins, remembers what it attached.
//!
//! ```no_run
//! use libcni::runtime::{Attachment, Runtime, find_network};
//! use libcni::types::AttachmentId;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = find_network("/etc/cni/net.d".as_ref(), "pods")?.list;
//! let runtime = Runtime::new(["/opt/cni/bin"]);
//! let id = AttachmentId { container_id: "web-1".parse()?, ifname: "eth0".parse()? };
//! let attachment = Attachment::new(id, "/run/netns/web-1");
//! let result = runtime.add(&network, &attachment)?;
//! runtime.check(&network, &attachment)?;
//! runtime.del(&network, &attachment)?;
//! # Ok(()) }
//! ```
//!
//! The cache, the environment of plugins and what they read on stdin are those of the Go libcni, so that a container
//! attached by one can be checked and detached by the other. Where this one differs:
//!
//! * a failed ADD is rolled back ([`Runtime::roll_back`]);
//! * one broken file in a configuration directory does not hide the others;
//! * plugins do not see `capabilities`, as the specification wants, and numbers are not rounded;
//! * GC detaches with the configuration that the attachment was made with;
//! * cache entries are written atomically, and hold the plugins of drop-in files.

mod attach;
mod cache;
mod conflist;
mod derive;
mod error;
mod fields;
mod gc;
mod invoke;
mod load;
mod observe;
mod status;
mod trace;
mod validate;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::plugin::Env;
use crate::types::{AttachmentId, CniArgs};

pub use attach::{Added, Deleted};
pub use cache::{Attachments, Cache, CacheError, CachedAttachment, DEFAULT_CACHE_DIR};
pub use conflist::{ConflistError, NetworkList, PluginConf};
pub use error::{PluginFault, RuntimeError};
pub use gc::Collected;
pub use load::{Found, LoadError, Networks, Skipped, find_network};
pub use observe::{Call, Observer, Outcome};
pub use trace::{InvalidTraceParent, TraceContext};
pub use validate::PluginVersions;

/// Runs the plugins of networks. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Where plugins are looked for, in this order: `CNI_PATH`.
    pub plugin_dirs: Vec<PathBuf>,
    /// Where attachments are remembered.
    pub cache: Cache,
    /// What each plugin gets to do its work; then it is told to end (SIGTERM), and 5 s later killed. Default: no
    /// limit.
    pub timeout: Option<Duration>,
    /// Whether a failed ADD is undone: DEL of the plugins that had succeeded, in reverse order. The plugin that
    /// failed has to clean up itself, and is not sent a DEL, since what it found in its way may be somebody else's.
    /// Default: true. (The Go libcni leaves this to the caller.)
    pub roll_back: bool,
    /// Whether DEL stops at the first plugin that fails, as the specification says: what is left of the chain is
    /// still there for another DEL. Default: true. Otherwise all plugins are called and all failures reported.
    pub stop_at_failed_del: bool,
    /// The environment that plugins get besides the variables of the protocol. Default: this process's.
    pub env: Env,
    /// The trace that plugins take part in. Default: what `env` says.
    pub trace: Option<TraceContext>,
    /// Who sees each call of a plugin. Default: nobody.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Runtime {
    /// A runtime with plugins in `plugin_dirs` and the cache in [`DEFAULT_CACHE_DIR`].
    #[must_use]
    pub fn new<P: Into<PathBuf>>(plugin_dirs: impl IntoIterator<Item = P>) -> Self {
        Self {
            plugin_dirs: plugin_dirs.into_iter().map(Into::into).collect(),
            cache: Cache::new(Path::new(DEFAULT_CACHE_DIR)),
            timeout: None,
            roll_back: true,
            stop_at_failed_del: true,
            env: Env::of_process(),
            trace: None,
            observer: None,
        }
    }

    /// This runtime with another cache directory.
    #[must_use]
    pub fn with_cache_dir(mut self, cache_dir: &Path) -> Self {
        self.cache = Cache::new(cache_dir);
        self
    }

    /// This runtime taking part in a trace, for one operation: `runtime.traced(context).add(…)`.
    #[must_use]
    pub fn traced(&self, trace: TraceContext) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }
}

/// What ADD, CHECK and DEL are about: an interface in a container, and what the plugins are told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// `CNI_CONTAINERID` and `CNI_IFNAME`.
    pub id: AttachmentId,
    /// `CNI_NETNS`: the path of the network namespace. `None`: it is gone, as on a late DEL.
    pub netns: Option<PathBuf>,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// Values for capabilities, as `portMappings`; each plugin gets those whose `capabilities` it declares, as
    /// `runtimeConfig`.
    pub capability_args: Map<String, Value>,
}

impl Attachment {
    /// The attachment `id` in the namespace at `netns`, with no arguments.
    #[must_use]
    pub fn new(id: AttachmentId, netns: impl Into<PathBuf>) -> Self {
        Self { id, netns: Some(netns.into()), args: CniArgs::default(), capability_args: Map::new() }
    }
}
