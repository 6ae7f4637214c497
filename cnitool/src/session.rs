//! What every command needs: the runtime, the configuration directory, the streams.

use std::fmt::Display;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use libcni::plugin::Env;
use libcni::runtime::{Attachment, DEFAULT_CACHE_DIR, NetworkList, Networks, Runtime, find_network};
use libcni::store::StoreError;
use libcni::types::{AttachmentId, CniArgs};
use serde_json::{Map, Value};
use sha2::{Digest, Sha512};

use crate::args::{Global, Target};
use crate::error::ToolError;
use crate::node::Sources;
use crate::terminal::{self, Cell, Progress, ProgressLine, Screen, Section, Streams, Tone};

const DEFAULT_CONF_DIR: &str = "/etc/cni/net.d";
/// Where plugins are looked for without `CNI_PATH`. (None is executed from there for an attachment: as with the Go cnitool.)
const DEFAULT_PLUGIN_DIR: &str = "/opt/cni/bin";
/// The lines of a warning stand behind `Warning: `, in columns.
const WARNING_INDENT: usize = 9;

pub(crate) struct Session<'s> {
    pub(crate) runtime: Runtime,
    conf_dir: PathBuf,
    ifname: String,
    env: &'s Env,
    streams: Streams<'s>,
    progress: ProgressLine,
}

impl<'s> Session<'s> {
    pub(crate) fn new(options: &Global, env: &'s Env, streams: Streams<'s>) -> Result<Self, ToolError> {
        require_utf8(env)?;
        let cache_dir = options.cache_dir.clone().or_else(|| env.var("CNI_CACHE_DIR").map(PathBuf::from));
        let mut runtime =
            Runtime::new(env.cni_path()).with_cache_dir(&cache_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_CACHE_DIR)));
        runtime.env = env.clone();
        runtime.timeout = options.timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let ifname = options.ifname.as_deref().or_else(|| env.var("CNI_IFNAME")).unwrap_or("eth0");
        Ok(Self {
            runtime,
            conf_dir: env.var("NETCONFPATH").unwrap_or(DEFAULT_CONF_DIR).into(),
            ifname: ifname.to_owned(),
            env,
            progress: ProgressLine::of(streams.stderr.screen),
            streams,
        })
    }

    /// Without `CNI_PATH`, for who looks at the node: plugins are where runtimes have them.
    pub(crate) fn assume_plugin_dir(&mut self) {
        if self.runtime.plugin_dirs.is_empty() {
            self.runtime.plugin_dirs.push(PathBuf::from(DEFAULT_PLUGIN_DIR));
        }
    }

    /// Where the inventory of the node is read.
    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources { cache: &self.runtime.cache, conf_dir: &self.conf_dir }
    }

    /// The names of all networks; files that cannot be used have none.
    pub(crate) fn networks(&self) -> Result<Vec<String>, StoreError> {
        Ok(Networks::read(&self.conf_dir)?.lists.iter().map(|(_, list)| list.name.to_string()).collect())
    }

    /// `NETCONFPATH`.
    pub(crate) fn conf_dir(&self) -> &Path {
        &self.conf_dir
    }

    /// The network of this name; files that cannot be used are named on stderr.
    pub(crate) fn network(&mut self, name: &str) -> Result<NetworkList, ToolError> {
        let found = find_network(&self.conf_dir, name)?;
        for skipped in &found.skipped {
            self.warn(skipped);
        }
        Ok(found.list)
    }

    /// The attachment that the command line and the environment describe.
    pub(crate) fn attachment(&self, target: &Target) -> Result<Attachment, ToolError> {
        let netns =
            absolute(&target.netns).map_err(|source| ToolError::Netns { path: target.netns.clone(), source })?;
        let container_id = container_id(&netns);
        let id = AttachmentId {
            container_id: container_id.parse().map_err(|_rule| ToolError::Variable {
                variable: "NETNS",
                value: container_id,
                expected: "a path",
            })?,
            ifname: self.ifname.parse().map_err(|rule| ToolError::IfName(self.ifname.clone(), rule))?,
        };
        let args = self.cni_args()?.unwrap_or_default();
        Ok(Attachment { id, netns: Some(netns), args, capability_args: self.capability_args()?.unwrap_or_default() })
    }

    /// `attachment` with the arguments of its ADD where the environment has none: plugins such as portmap need them
    /// to find what they made.
    pub(crate) fn with_cached_args(
        &self,
        list: &NetworkList,
        mut attachment: Attachment,
    ) -> Result<Attachment, ToolError> {
        if let Ok(Some(cached)) = self.runtime.cache.read(&list.name, &attachment.id) {
            if self.cni_args()?.is_none() {
                attachment.args = cached.attachment.args;
            }
            if self.capability_args()?.is_none() {
                attachment.capability_args = cached.attachment.capability_args;
            }
        }
        Ok(attachment)
    }

    /// `CNI_ARGS`: each pair exactly one `=`, something on both sides.
    fn cni_args(&self) -> Result<Option<CniArgs>, ToolError> {
        let Some(text) = self.env.var("CNI_ARGS") else { return Ok(None) };
        let pair = |pair: &str| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
                Ok((key.to_owned(), value.to_owned()))
            }
            _ => Err(ToolError::CniArgs(pair.to_owned())),
        };
        let pairs = text.split(';').map(pair).collect::<Result<_, _>>()?;
        CniArgs::from_pairs(pairs).map(Some).map_err(ToolError::UnusableArgs)
    }

    fn capability_args(&self) -> Result<Option<Map<String, Value>>, ToolError> {
        let Some(text) = self.env.var("CAP_ARGS") else { return Ok(None) };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Some(object)),
            Ok(Value::Null) => Ok(None),
            Ok(_) | Err(_) => Err(ToolError::Variable {
                variable: "CAP_ARGS",
                value: text.to_owned(),
                expected: "a JSON object such as {\"portMappings\": []}",
            }),
        }
    }

    /// What stdout is shown on: its width, and how to colour.
    pub(crate) fn screen(&self) -> Screen {
        self.streams.stdout.screen
    }

    /// Writes `text` to stdout as it stands.
    pub(crate) fn print(&mut self, text: impl Display) -> Result<(), ToolError> {
        self.progress.erase();
        self.streams.stdout.write(text).map_err(ToolError::Output)
    }

    /// Writes rows under a head to stdout, as wide as it may be. A field is a text, or a [`Cell`] with a tone.
    pub(crate) fn table<const N: usize, C: Into<Cell>>(
        &mut self,
        head: [&str; N],
        rows: impl IntoIterator<Item = [C; N]>,
    ) -> Result<(), ToolError> {
        self.progress.erase();
        let rows: Vec<[Cell; N]> = rows.into_iter().map(|cells| cells.map(Into::into)).collect();
        let screen = self.screen();
        terminal::table(self.streams.stdout.writer, screen, head, &rows).map_err(ToolError::Output)
    }

    /// The same in sections.
    pub(crate) fn sections<const N: usize>(
        &mut self,
        head: [&str; N],
        sections: &[Section<N>],
    ) -> Result<(), ToolError> {
        self.progress.erase();
        let screen = self.screen();
        terminal::sections(self.streams.stdout.writer, screen, head, sections).map_err(ToolError::Output)
    }

    /// Writes a line of text to stdout, broken where it does not fit.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), ToolError> {
        let text = self.screen().wrapped(&text.to_string(), 0);
        self.print(format_args!("{text}\n"))
    }

    /// Tells on stderr what is of concern, but no failure.
    pub(crate) fn warn(&mut self, text: impl Display) {
        self.progress.erase();
        let stderr = &mut self.streams.stderr;
        let screen = stderr.screen;
        let text = screen.wrapped(&text.to_string(), WARNING_INDENT);
        // There is nobody to tell that stderr is closed.
        let _ = stderr.write(format_args!("{} {text}\n", screen.paint(Tone::Warning, "Warning:")));
    }

    /// Says on the terminal what is being done, if it takes more than a second, until what this gives is dropped. A
    /// thread does it: a process that is to enter a user namespace must not have one then.
    pub(crate) fn progress(&self, doing: impl Into<String>) -> Progress {
        self.progress.start(doing)
    }
}

/// Refuses values that are no UTF-8: they would be taken for absent, and the defaults used instead.
fn require_utf8(env: &Env) -> Result<(), ToolError> {
    const READ: [&str; 6] = ["CNI_PATH", "NETCONFPATH", "CNI_ARGS", "CAP_ARGS", "CNI_IFNAME", "CNI_CACHE_DIR"];
    for (key, value) in env.iter() {
        if let Some(variable) = READ.into_iter().find(|name| key == *name)
            && value.to_str().is_none()
        {
            let value = value.to_string_lossy().into_owned();
            return Err(ToolError::Variable { variable, value, expected: "UTF-8" });
        }
    }
    Ok(())
}

/// The container ID that the Go tool derives from the absolute path of the namespace.
fn container_id(netns: &Path) -> String {
    let digest = Sha512::digest(netns.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("cnitool-{hex}")
}

/// `path` made absolute and cleaned of `.`, `..` and `//` by its text alone, as Go's `filepath.Abs` does, so that the
/// container ID is the same.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let whole = if path.is_absolute() { path.to_owned() } else { std::env::current_dir()?.join(path) };
    let mut clean = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => clean.push(part),
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_id_is_that_of_the_go_tool() {
        assert_eq!(container_id(Path::new("/var/run/netns/testing")), "cnitool-77383ca0a0715733ca6f");
    }

    #[test]
    fn tables_go_to_stdout_and_warnings_to_stderr() {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let env = Env::from_iter([("CNI_PATH", "/opt/cni/bin")]);
        let mut session = Session::new(&Global::default(), &env, Streams::buffers(&mut stdout, &mut stderr)).unwrap();
        let doing = session.progress("waiting");
        session.table(["A", "B"], [["1", "2"]]).unwrap();
        session.warn("a long text that nobody breaks, since this is no terminal and has no width at all");
        drop(doing);
        assert_eq!(String::from_utf8(stdout).unwrap(), "A  B\n1  2\n");
        assert!(stderr.starts_with(b"Warning: a long") && stderr.ends_with(b"width at all\n"));
    }

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, clean) in [("/a//b/./c/", "/a/b/c"), ("/a/../../b", "/b"), ("/", "/")] {
            assert_eq!(absolute(Path::new(path)).unwrap(), Path::new(clean));
        }
        assert_eq!(absolute(Path::new("x/../y")).unwrap(), std::env::current_dir().unwrap().join("y"));
        assert_eq!(absolute(Path::new("")).unwrap(), std::env::current_dir().unwrap());
    }
}
