//! The files that are looked at, and the networks in them.

use std::path::{Path, PathBuf};

use libcni::json::{self, SyntaxError};
use libcni::{SpecVersion, store};

use crate::validate::document::{Lines, Node};

/// A file, as it was read.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// What is in it; empty where it cannot be read or is no text.
    pub(crate) text: String,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Json(Node),
    NoJson(SyntaxError),
    /// It cannot be read, and why.
    Unreadable(String),
}

impl File {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).map_err(|fault| fault.to_string());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|fault| fault.to_string()));
        match text {
            Ok(text) => Self::of(path, text),
            Err(fault) => Self { path: path.to_owned(), text: String::new(), content: Content::Unreadable(fault) },
        }
    }

    /// The file at `path`, in which `text` is.
    pub(crate) fn of(path: &Path, text: String) -> Self {
        let content = match json::parse(text.as_bytes()) {
            Err(fault) => Content::NoJson(fault),
            Ok(_) => match Node::parse(&text) {
                Some(root) => Content::Json(root),
                None => Content::Unreadable("it is JSON that cnitool itself cannot place".to_owned()),
            },
        };
        Self { path: path.to_owned(), text, content }
    }

    pub(crate) fn root(&self) -> Option<&Node> {
        if let Content::Json(root) = &self.content { Some(root) } else { None }
    }

    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines::of(&self.text)
    }

    /// Whether its name says that it holds one plugin, the older form.
    pub(crate) fn is_single(&self) -> bool {
        has_extension(&self.path, &["conf", "json"])
    }

    /// The name without the directory.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }
}

/// Whether a runtime reads it.
pub(crate) fn is_configuration(path: &Path) -> bool {
    has_extension(path, &["conflist", "conf", "json"])
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|own| extensions.iter().any(|other| own == *other))
}

/// A network.
#[derive(Clone, Debug)]
pub(crate) struct Network<'f> {
    /// The index of its file.
    pub(crate) file: usize,
    /// The object with `name` and `cniVersion`.
    pub(crate) head: &'f Node,
    /// Whether it is a list; else `head` is also its one plugin.
    pub(crate) is_list: bool,
    /// In the order of ADD.
    pub(crate) plugins: Vec<Plugin<'f>>,
}

/// A plugin of a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plugin<'f> {
    /// The index of its file: that of the network, or a drop-in.
    pub(crate) file: usize,
    pub(crate) node: &'f Node,
}

impl<'f> Network<'f> {
    /// The network in file number `index`; `None` if it is no object. Drop-ins come from the other `files`.
    pub(crate) fn of(files: &'f [File], index: usize) -> Option<Self> {
        let file = files.get(index)?;
        let head = file.root().filter(|root| root.is_object())?;
        let listed = head.exact("plugins");
        let is_list = listed.is_some() || !file.is_single();
        let own = match listed {
            Some(list) => list.items().iter().filter(|item| item.is_object()).collect(),
            None if is_list => Vec::new(),
            None => vec![head],
        };
        let mut plugins: Vec<Plugin<'f>> = own.into_iter().map(|node| Plugin { file: index, node }).collect();
        if is_list && head.is_set("loadOnlyInlinedPlugins").is_none() {
            let dir = drop_in_dir(file, head);
            let drop_ins = files.iter().enumerate().filter(|(_, other)| other.path.parent() == dir.as_deref());
            let drop_ins = drop_ins.filter_map(|(file, other)| Some(Plugin { file, node: other.root()? }));
            plugins.extend(drop_ins.filter(|_| dir.is_some()));
        }
        Some(Self { file: index, head, is_list, plugins })
    }

    pub(crate) fn name(&self) -> Option<&'f str> {
        self.head.exact("name").and_then(Node::text).filter(|text| !text.is_empty())
    }

    /// The version spoken with its plugins, as libcni chooses it; `None` if there is none.
    pub(crate) fn version(&self) -> Option<SpecVersion> {
        let own = self.head.exact("cniVersion").and_then(Node::text).filter(|text| !text.is_empty());
        match self.head.exact("cniVersions") {
            None => own.map_or(Some(SpecVersion::DEFAULT), |text| text.parse().ok()),
            Some(list) => {
                let listed = list.items().iter().filter_map(Node::text);
                listed.chain(own).filter_map(|text| text.parse().ok()).max()
            }
        }
    }

    /// The capabilities that its plugins declare.
    pub(crate) fn capabilities(&self) -> Vec<&'f str> {
        let mut names: Vec<&str> = self.plugins.iter().flat_map(Plugin::capabilities).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl<'f> Plugin<'f> {
    pub(crate) fn kind(&self) -> &'f str {
        self.node.text_of("type").unwrap_or_default()
    }

    /// `ipam`, if it has a type.
    pub(crate) fn ipam(&self) -> Option<&'f Node> {
        self.node.get("ipam").filter(|ipam| ipam.text_of("type").is_some())
    }

    pub(crate) fn ipam_kind(&self) -> &'f str {
        self.ipam().and_then(|ipam| ipam.text_of("type")).unwrap_or_default()
    }

    /// `delegate` of flannel's plugin: the configuration for the plugin that it calls.
    pub(crate) fn delegate(&self) -> Option<&'f Node> {
        let is_flannel = matches!(self.kind(), "flannel" | "vxlan-delegate");
        self.node.get("delegate").filter(|delegate| is_flannel && delegate.is_object())
    }

    /// The capabilities that are declared and true.
    pub(crate) fn capabilities(&self) -> Vec<&'f str> {
        let Some(object) = self.node.get("capabilities") else { return Vec::new() };
        let names = object.members().iter().map(|member| member.key.as_str());
        names.filter(|name| object.is_set(name).is_some()).collect()
    }

    /// Where its type stands; where there is none, all of it.
    pub(crate) fn place(&self) -> &'f Node {
        self.node.get("type").unwrap_or(self.node)
    }
}

/// The files of the drop-in directory of the network in `file`, if it has one.
pub(crate) fn drop_ins(file: &File) -> Vec<PathBuf> {
    let dir = file
        .root()
        .filter(|head| head.is_object() && !file.is_single())
        .and_then(|head| head.is_set("loadOnlyInlinedPlugins").is_none().then(|| drop_in_dir(file, head)).flatten());
    let files = dir.and_then(|dir| store::files(&dir).ok()).unwrap_or_default();
    files.into_iter().filter(|path| has_extension(path, &["conf"])).collect()
}

/// `NAME/` beside the file. A name that is none leads nowhere.
fn drop_in_dir(file: &File, head: &Node) -> Option<PathBuf> {
    let name = head.exact("name")?.text()?.parse::<libcni::names::NetworkName>().ok()?;
    Some(file.path.with_file_name(name.as_str()))
}
