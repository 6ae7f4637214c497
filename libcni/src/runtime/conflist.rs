//! Network configuration lists: what administrators write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::json::{self, FieldError, SyntaxError};
use crate::names::NetworkName;
use crate::runtime::fields::{flag, name, version, wrong};
use crate::store::{self, StoreError};
use crate::version::SpecVersion;

/// The members of a JSON object, each value as it was written: nothing is rounded, reordered or normalized on the way
/// from the administrator's file to a plugin's stdin. The last of duplicate keys wins, as in Go.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// A network: a list of plugins that are called one after the other (specification, section 1 "Network
/// configuration format").
#[derive(Clone, Debug)]
pub struct NetworkList {
    /// `name`.
    pub name: NetworkName,
    /// The version spoken with the plugins: the newest one of `cniVersions` and `cniVersion` that exists here;
    /// 0.1.0 where neither is given.
    pub cni_version: SpecVersion,
    /// `disableCheck`: CHECK is not sent.
    pub disable_check: bool,
    /// `disableGC`: nothing is collected, as for networks that several configurations share.
    pub disable_gc: bool,
    /// `loadOnlyInlinedPlugins`: there are no drop-in files.
    pub load_only_inlined_plugins: bool,
    /// The plugins in the order of ADD: those in the list, then those of drop-in files. At least one.
    pub plugins: Vec<PluginConf>,
    has_drop_ins: bool,
    bytes: Vec<u8>,
}

/// The configuration of one plugin of a list.
#[derive(Clone, Debug)]
pub struct PluginConf {
    /// `type`: the file name of the plugin.
    pub plugin_type: String,
    /// `name`, which some give their plugins; for messages.
    pub name: Option<String>,
    /// The keys of `capabilities` that are true: what the plugin wants in `runtimeConfig`.
    pub capabilities: BTreeSet<String>,
    pub(super) members: Members,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConflistError {
    /// The file or its drop-in directory cannot be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// It is no JSON.
    #[error("network configuration is no valid JSON")]
    Syntax(#[source] SyntaxError),
    /// A value is missing or wrong.
    #[error("invalid network configuration")]
    Field(#[source] FieldError),
    /// There is no plugin in it or beside it.
    #[error("no plugin configs found{}", .0.as_ref().map(|d| format!(" in the list or in {}", d.display())).unwrap_or_default())]
    NoPlugins(Option<PathBuf>),
    /// A drop-in file cannot be used, and without its plugin the network would be another one.
    #[error("cannot use drop-in file {}", path.display())]
    DropIn {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<ConflistError>,
    },
}

impl NetworkList {
    /// Reads a list from the content of a `.conflist` file. Drop-in files are not looked for.
    ///
    /// # Errors
    /// [`ConflistError`] with the path of the field, its value, and what was expected.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConflistError> {
        let list = Self::parse(bytes)?;
        if list.plugins.is_empty() { Err(ConflistError::NoPlugins(None)) } else { Ok(list) }
    }

    /// Reads a list of one from the content of a `.conf` or `.json` file: the older format for a single plugin.
    ///
    /// # Errors
    /// [`ConflistError`].
    pub fn from_plugin_bytes(bytes: &[u8]) -> Result<Self, ConflistError> {
        let (object, members) = parse_object(bytes)?;
        if object.contains_key("plugins") && json::member(&object, "type").is_none() {
            return Err(ConflistError::Field(FieldError {
                path: "type".to_owned(),
                problem: "missing, expected a plugin's type (hint: a list of plugins belongs in a .conflist file)"
                    .to_owned(),
            }));
        }
        let head = (|| Ok((name(&object)?, version(&object)?)))();
        let (name, cni_version) = head.map_err(ConflistError::Field)?;
        let plugins = vec![PluginConf::new(&object, members).map_err(ConflistError::Field)?];
        let mut list = Self {
            name,
            cni_version,
            disable_check: false,
            disable_gc: false,
            load_only_inlined_plugins: true,
            plugins,
            has_drop_ins: false,
            bytes: Vec::new(),
        };
        let mut head = Members::new();
        head.insert("cniVersion".to_owned(), to_raw_value(&cni_version).map_err(not_json)?);
        head.insert("name".to_owned(), to_raw_value(&list.name).map_err(not_json)?);
        list.bytes = list.inlined(head)?;
        Ok(list)
    }

    /// Reads the file at `path`: by its extension `.conf` or `.json` one plugin, else a list, with the plugins of the
    /// drop-in files `<name of the network>/*.conf` beside it, sorted by name, unless `loadOnlyInlinedPlugins` is true.
    ///
    /// # Errors
    /// [`ConflistError`]; a drop-in file that cannot be used makes the network unusable.
    pub fn from_file(path: &Path) -> Result<Self, ConflistError> {
        let bytes = std::fs::read(path).map_err(StoreError::on("read", path))?;
        if matches!(path.extension().and_then(|e| e.to_str()), Some("conf" | "json")) {
            return Self::from_plugin_bytes(&bytes);
        }
        let mut list = Self::parse(&bytes)?;
        if list.load_only_inlined_plugins {
            return if list.plugins.is_empty() { Err(ConflistError::NoPlugins(None)) } else { Ok(list) };
        }
        let dir = path.with_file_name(list.name.as_str());
        let drop_ins = drop_ins(&dir)?;
        if list.plugins.is_empty() && drop_ins.is_empty() {
            return Err(ConflistError::NoPlugins(Some(dir)));
        }
        if !drop_ins.is_empty() {
            list.plugins.extend(drop_ins);
            list.has_drop_ins = true;
            // So that DEL and GC find the drop-ins in the cache, though the files may be gone by then.
            let (_, head) = parse_object(&bytes)?;
            list.bytes = list.inlined(head)?;
        }
        Ok(list)
    }

    /// Whether some of the plugins come from drop-in files.
    #[must_use]
    pub fn has_drop_ins(&self) -> bool {
        self.has_drop_ins
    }

    /// The list as a file would hold it: the bytes it was read from, or, where there are drop-in files, a list with
    /// their plugins in it. This is what the cache keeps.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A list that may have no plugin yet.
    fn parse(bytes: &[u8]) -> Result<Self, ConflistError> {
        let (object, members) = parse_object(bytes)?;
        (|| {
            let load_only_inlined_plugins = flag(&object, "loadOnlyInlinedPlugins")?;
            Ok(Self {
                name: name(&object)?,
                cni_version: version(&object)?,
                disable_check: flag(&object, "disableCheck")?,
                disable_gc: flag(&object, "disableGC")?,
                load_only_inlined_plugins,
                plugins: inline_plugins(&object, &members, load_only_inlined_plugins)?,
                has_drop_ins: false,
                bytes: bytes.to_owned(),
            })
        })()
        .map_err(ConflistError::Field)
    }

    /// `head` as the bytes of a list with all plugins in it, which can be read again: two levels more of nesting may
    /// be too many.
    fn inlined(&self, mut head: Members) -> Result<Vec<u8>, ConflistError> {
        let plugins: Vec<&Members> = self.plugins.iter().map(|plugin| &plugin.members).collect();
        head.insert("plugins".to_owned(), to_raw_value(&plugins).map_err(not_json)?);
        head.insert("loadOnlyInlinedPlugins".to_owned(), to_raw_value(&true).map_err(not_json)?);
        let bytes = serde_json::to_vec(&head).map_err(not_json)?;
        Self::parse(&bytes).map(|_readable| bytes)
    }
}

impl PluginConf {
    fn new(object: &Map<String, Value>, members: Members) -> Result<Self, FieldError> {
        let plugin_type = match json::member(object, "type") {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            other => return Err(wrong("type", other, "a plugin's type")),
        };
        let name = json::member(object, "name").and_then(Value::as_str).map(str::to_owned);
        let capabilities = match json::member(object, "capabilities") {
            None => BTreeMap::new(),
            Some(value) => {
                json::decode::<BTreeMap<String, Option<bool>>>(value).map_err(|e| e.within("capabilities"))?
            }
        };
        let capabilities = capabilities.into_iter().filter(|(_, on)| *on == Some(true)).map(|(key, _)| key).collect();
        Ok(Self { plugin_type, name, capabilities, members })
    }
}

/// The document twice: parsed, to look into, and as written, to pass on.
fn parse_object(bytes: &[u8]) -> Result<(Map<String, Value>, Members), ConflistError> {
    match json::parse(bytes).map_err(ConflistError::Syntax)? {
        Value::Object(object) => Ok((object, raw(std::str::from_utf8(bytes).unwrap_or_default())?)),
        other => Err(ConflistError::Field(FieldError::new("", other, "an object"))),
    }
}

/// The members of the object in `text`, which is known to be one.
fn raw(text: &str) -> Result<Members, ConflistError> {
    serde_json::from_str(text).map_err(not_json)
}

fn not_json(fault: serde_json::Error) -> ConflistError {
    ConflistError::Syntax(SyntaxError { line: fault.line(), column: fault.column(), problem: fault.to_string() })
}

/// The plugins of `plugins`; none where the key is absent and drop-in files may take its place.
fn inline_plugins(
    object: &Map<String, Value>,
    members: &Members,
    required: bool,
) -> Result<Vec<PluginConf>, FieldError> {
    let values = match object.get("plugins") {
        Some(Value::Array(values)) if !values.is_empty() => values,
        None if !required => return Ok(Vec::new()),
        other => return Err(wrong("plugins", other, "a list of at least one plugin")),
    };
    let again = |path: &str| {
        let path = path.to_owned();
        move |e: serde_json::Error| FieldError { path, problem: e.to_string() }
    };
    let raw = members.get("plugins").map_or("[]", |raw| raw.get());
    let raw: Vec<Box<RawValue>> = serde_json::from_str(raw).map_err(again("plugins"))?;
    values
        .iter()
        .zip(&raw)
        .enumerate()
        .map(|(i, (value, raw))| {
            let path = format!("plugins[{i}]");
            let Value::Object(object) = value else { return Err(wrong(&path, Some(value), "an object")) };
            let members = serde_json::from_str(raw.get()).map_err(again(&path))?;
            PluginConf::new(object, members).map_err(|e| e.within(&path))
        })
        .collect()
}

/// The plugins of the files `*.conf` in `dir`, sorted by name; none if there is no such directory.
fn drop_ins(dir: &Path) -> Result<Vec<PluginConf>, ConflistError> {
    let files = store::files(dir)?;
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "conf"))
        .map(|path| {
            let read = std::fs::read(&path).map_err(|e| StoreError::on("read", &path)(e).into());
            let parsed = read.and_then(|bytes: Vec<u8>| {
                let (object, members) = parse_object(&bytes)?;
                PluginConf::new(&object, members).map_err(ConflistError::Field)
            });
            parsed.map_err(|source| ConflistError::DropIn { path, source: Box::new(source) })
        })
        .collect()
}
