//! Reading the file of all nodes, or the files of a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libcni::error::causes;
use nix::fcntl::OFlag;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::entry::Entry;

/// The largest file of one node, in bytes: it has a dozen short fields.
const NODE_BYTES: u64 = 64 << 10;
/// The largest file of all nodes, in bytes: some ten thousand of them.
const CLUSTER_BYTES: u64 = 8 << 20;
/// How much is told of why a node cannot be read, in characters.
const WHY_CHARACTERS: usize = 200;

/// A node's entry, or why it cannot be read.
pub(super) type Told = Result<Entry, String>;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is no file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} has {bytes} bytes, more than {limit}", path.display())]
    TooLarge { path: PathBuf, bytes: u64, limit: u64 },
    #[error("{} is no text in UTF-8", .0.display())]
    NotText(PathBuf),
    #[error("{} is no directory, which `publish` needs", .0.display())]
    NotADirectory(PathBuf),
    #[error("{} is neither .toml nor .json", .0.display())]
    UnknownFormat(PathBuf),
    /// With the line, where the parser knows it.
    #[error("{}: {why}", path.display())]
    Syntax { path: PathBuf, why: String },
    #[error("{} is not the directory any more that it was", .0.display())]
    Vanished(PathBuf),
    #[error("{} and {} are of the same node (hint: remove one)", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
}

impl ReadError {
    pub(super) fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Toml,
    Json,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The name of the node whose file in a directory has this name; `None`: it is no node's.
pub(super) fn node_of(file: &Path) -> Option<String> {
    Format::of(file)?;
    let stem = file.file_stem()?.to_str()?;
    (!stem.starts_with('.')).then(|| stem.to_owned())
}

/// The paths that the file of a node may have. Overlayd writes the first.
pub(super) fn paths_of(directory: &Path, node: &str) -> [PathBuf; 2] {
    ["toml", "json"].map(|extension| directory.join(format!("{node}.{extension}")))
}

/// The nodes of one file: `{"nodes": {"n1": {…}, "n2": {…}}}`.
pub(super) fn cluster(path: &Path) -> Result<BTreeMap<String, Told>, ReadError> {
    fn entries<V>(parsed: Cluster<V>, entry: impl Fn(V) -> Told) -> BTreeMap<String, Told> {
        parsed.nodes.into_iter().map(|(name, value)| (name, entry(value).and_then(usable))).collect()
    }
    let (format, text) = text(path, CLUSTER_BYTES)?;
    let syntax = |why| ReadError::Syntax { path: path.to_owned(), why };
    Ok(match format {
        Format::Toml => {
            let parsed: Cluster<toml::Value> = from_toml(&text).map_err(syntax)?;
            entries(parsed, |value| Entry::deserialize(value).map_err(|e| cut(e.message())))
        }
        Format::Json => {
            let parsed: Cluster<serde_json::Value> = from_json(&text).map_err(syntax)?;
            entries(parsed, |value| Entry::deserialize(value).map_err(|e| cut(&e.to_string())))
        }
    })
}

/// The nodes of a directory.
pub(super) fn directory(path: &Path) -> Result<BTreeMap<String, Told>, ReadError> {
    let entries = path.read_dir().map_err(ReadError::on("list", path))?;
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(ReadError::on("list", path))?;
        if let Some(name) = node_of(Path::new(&entry.file_name())) {
            files.entry(name).or_default().push(entry.path());
        }
    }
    let read = |(name, files): (String, Vec<PathBuf>)| told(only(files)).map(|told| (name, told));
    Ok(files.into_iter().filter_map(read).collect())
}

/// A node of a directory; `None`: it has no file.
pub(super) fn node(directory: &Path, name: &str) -> Option<Told> {
    told(entry(directory, name))
}

/// The file of a node in a directory: where it is and what it says.
pub(super) fn entry(directory: &Path, name: &str) -> Result<Option<Entry>, ReadError> {
    only(paths_of(directory, name).into_iter().filter(|path| path.symlink_metadata().is_ok()).collect())
}

/// What the only one of these files says, which are of one node.
fn only(files: Vec<PathBuf>) -> Result<Option<Entry>, ReadError> {
    match <[PathBuf; 2]>::try_from(files) {
        Ok([first, second]) => Err(ReadError::Twice(first, second)),
        Err(files) => files.first().map_or(Ok(None), |path| file(path)),
    }
}

/// What is told of a node whose file was read; `None`: there is none.
fn told(read: Result<Option<Entry>, ReadError>) -> Option<Told> {
    let read = read.map_err(|e| cut(&with_causes(&e))).transpose()?;
    Some(read.and_then(usable))
}

/// `None`: it went away meanwhile.
fn file(path: &Path) -> Result<Option<Entry>, ReadError> {
    let (format, text) = match text(path, NODE_BYTES) {
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let parsed = match format {
        Format::Toml => from_toml(&text),
        Format::Json => from_json(&text),
    };
    parsed.map(Some).map_err(|why| ReadError::Syntax { path: path.to_owned(), why })
}

/// A node's entry tells where its containers are.
fn usable(entry: Entry) -> Told {
    if entry.subnets.is_empty() { Err("subnets are missing".to_owned()) } else { Ok(entry) }
}

/// The text of a file of at most so many bytes.
fn text(path: &Path, limit: u64) -> Result<(Format, String), ReadError> {
    let format = Format::of(path).ok_or_else(|| ReadError::UnknownFormat(path.to_owned()))?;
    // A pipe is not waited for.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(ReadError::on("open", path))?;
    let meta = file.metadata().map_err(ReadError::on("examine", path))?;
    if !meta.is_file() {
        return Err(ReadError::NotAFile(path.to_owned()));
    }
    if meta.len() > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), bytes: meta.len(), limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    // It may be growing.
    file.take(limit).read_to_end(&mut bytes).map_err(ReadError::on("read", path))?;
    let text = String::from_utf8(bytes).map_err(|_bytes| ReadError::NotText(path.to_owned()))?;
    Ok((format, text))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster<V> {
    #[serde(default = "BTreeMap::new")]
    nodes: BTreeMap<String, V>,
}

fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|e: toml::de::Error| {
        let line = e.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
        let at = line.map(|line| format!(" at line {line}")).unwrap_or_default();
        cut(&format!("{}{at}", e.message()))
    })
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| cut(&e.to_string()))
}

/// The error and its causes in one line.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    match causes(error.source()) {
        causes if causes.is_empty() => error.to_string(),
        causes => format!("{error}: {causes}"),
    }
}

/// What a stranger wrote may be long.
fn cut(why: &str) -> String {
    why.replace('\n', " ").chars().take(WHY_CHARACTERS).collect()
}
