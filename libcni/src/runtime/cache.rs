//! What the runtime remembers of its attachments: one file each, in the format of the Go libcni (`cniCacheV1`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base64;
use crate::convert;
use crate::json;
use crate::names::NetworkName;
use crate::runtime::Attachment;
use crate::runtime::conflist::{ConflistError, NetworkList};
use crate::runtime::load::Skipped;
use crate::store::{self, StoreError};
use crate::types::{AttachmentId, CniArgs};
use crate::version::SpecVersion;

/// The cache directory of the Go libcni, and so of every runtime that uses it.
pub const DEFAULT_CACHE_DIR: &str = "/var/lib/cni";

const KIND: &str = "cniCacheV1";

/// NAME_MAX of Linux's file systems, in bytes.
const NAME_MAX: usize = 255;

/// `.` before and `.<process id>` after the name of a file while it is written, in bytes.
const TEMPORARY: usize = 12;

/// The files `<network>-<container id>-<ifname>` in `<cache directory>/results`.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// What is known of an attachment from its ADD.
#[derive(Clone, Debug)]
pub struct CachedAttachment {
    /// The network.
    pub network: NetworkName,
    /// What was given to ADD. Where the entry does not name the namespace, it is the one that the result says.
    pub attachment: Attachment,
    /// The bytes of the list that ADD was done with.
    pub config: Vec<u8>,
    /// The result of the last plugin, in the version that it was given in. `None`: there was none.
    pub result: Option<Value>,
}

/// What a cache holds, in the order of its file names.
#[derive(Clone, Debug, Default)]
pub struct Attachments {
    /// The attachments.
    pub attachments: Vec<CachedAttachment>,
    /// Files that are no entries: half-written, foreign, or bare results of an old libcni.
    pub skipped: Vec<Skipped>,
}

/// Why an entry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content is no cache entry.
    #[error("invalid cache entry {}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong: the field, its value, what was expected.
        problem: String,
    },
    /// The names run together with `-`, so two attachments can share a file name.
    #[error("cache entry {} belongs to {owner} of network {network}", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// The network of the attachment that has it.
        network: NetworkName,
        /// The attachment that has it.
        owner: AttachmentId,
    },
    /// The three names together are too long for a file name.
    #[error("network name, container ID and interface name are too long together for the file {name}, expected at most {} characters", NAME_MAX - TEMPORARY)]
    NameTooLong {
        /// The file name.
        name: String,
    },
}

/// An entry on disk.
#[derive(Serialize, Deserialize)]
struct Entry {
    kind: String,
    #[serde(rename = "containerId")]
    container_id: String,
    config: Option<String>,
    #[serde(rename = "ifName")]
    ifname: String,
    #[serde(rename = "networkName")]
    network: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    netns: String,
    #[serde(rename = "cniArgs", default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<(String, String)>,
    #[serde(rename = "capabilityArgs", default, skip_serializing_if = "Map::is_empty")]
    capability_args: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Map<String, Value>>,
}

impl CachedAttachment {
    /// The list that ADD was done with. Entries that the Go libcni wrote lack the plugins of drop-in files.
    ///
    /// # Errors
    /// [`ConflistError`].
    pub fn list(&self) -> Result<NetworkList, ConflistError> {
        NetworkList::from_bytes(&self.config)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let value = json::parse(text).map_err(|e| e.to_string())?;
        let object = value.as_object().ok_or_else(|| "expected an object".to_owned())?;
        match json::member(object, "kind") {
            Some(Value::String(kind)) if kind == KIND => {}
            None => return Err("no \"kind\": the bare result of an old libcni, or a foreign file".to_owned()),
            Some(other) => return Err(format!("kind: invalid value {other}, expected \"{KIND}\"")),
        }
        let entry: Entry = json::decode(&value).map_err(|e| e.to_string())?;
        let field =
            |key, value: &str, problem: &dyn std::fmt::Display| format!("{key}: invalid value {value:?}, {problem}");
        let config = entry.config.unwrap_or_default();
        let netns = Some(entry.netns).filter(|path| !path.is_empty());
        let netns = netns.or_else(|| entry.result.as_ref().and_then(sandbox_of));
        Ok(Self {
            network: entry.network.parse().map_err(|e| field("networkName", &entry.network, &e))?,
            attachment: Attachment {
                id: AttachmentId {
                    container_id: entry
                        .container_id
                        .parse()
                        .map_err(|e| field("containerId", &entry.container_id, &e))?,
                    ifname: entry.ifname.parse().map_err(|e| field("ifName", &entry.ifname, &e))?,
                },
                netns: netns.map(PathBuf::from),
                args: CniArgs::from_pairs(entry.args).map_err(|e| format!("cniArgs: {e}"))?,
                capability_args: entry.capability_args,
            },
            config: base64::decode(&config).ok_or_else(|| field("config", &config, &"expected base64"))?,
            result: entry.result.map(Value::Object),
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Attachment { id, netns, args, capability_args } = &self.attachment;
        let entry = Entry {
            kind: KIND.to_owned(),
            container_id: id.container_id.to_string(),
            config: Some(base64::encode(&self.config)),
            ifname: id.ifname.to_string(),
            network: self.network.to_string(),
            netns: netns.as_deref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
            args: args.pairs().to_vec(),
            capability_args: capability_args.clone(),
            result: self.result.as_ref().and_then(Value::as_object).cloned(),
        };
        // Strings, lists and maps with string keys: always JSON.
        serde_json::to_vec(&entry).unwrap_or_default()
    }
}

impl Cache {
    /// The cache in `cache_dir`, by default [`DEFAULT_CACHE_DIR`]. Nothing is made yet.
    #[must_use]
    pub fn new(cache_dir: &Path) -> Self {
        Self { dir: cache_dir.join("results") }
    }

    /// Makes the directory, and makes sure that an entry of this name can be written: before ADD, so that a full
    /// disk is all that can go wrong after it.
    ///
    /// # Errors
    /// [`CacheError::Store`], [`CacheError::NameTooLong`], [`CacheError::Taken`].
    pub fn prepare(&self, network: &NetworkName, id: &AttachmentId) -> Result<(), CacheError> {
        let path = self.path(network, id);
        let name = file_name(network, id);
        if name.len() > NAME_MAX - TEMPORARY {
            return Err(CacheError::NameTooLong { name });
        }
        store::ensure_dir(&self.dir, 0o700)?;
        match self.read(network, id) {
            Err(CacheError::Taken { network, owner, .. }) => Err(CacheError::Taken { path, network, owner }),
            // Whatever else is there will be replaced.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The entry of an attachment; `None` if there is no file.
    ///
    /// # Errors
    /// [`CacheError`] if the file cannot be read, is no entry, or belongs to another attachment.
    pub fn read(&self, network: &NetworkName, id: &AttachmentId) -> Result<Option<CachedAttachment>, CacheError> {
        let path = self.path(network, id);
        let Some(text) = store::read_if_present(&path)? else { return Ok(None) };
        let cached =
            CachedAttachment::parse(&text).map_err(|problem| CacheError::Invalid { path: path.clone(), problem })?;
        if cached.network != *network || cached.attachment.id != *id {
            return Err(CacheError::Taken { path, network: cached.network, owner: cached.attachment.id });
        }
        Ok(Some(cached))
    }

    /// The result of an attachment in the form of `version`, as a `prevResult`; `None` if none is known. A file that
    /// holds nothing but a result, as libcni wrote before 0.8, is read too.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn result(
        &self,
        network: &NetworkName,
        id: &AttachmentId,
        version: SpecVersion,
    ) -> Result<Option<Value>, CacheError> {
        let found = match self.read(network, id) {
            Ok(cached) => cached.and_then(|cached| cached.result),
            Err(fault @ CacheError::Invalid { .. }) => Some(self.bare_result(network, id).ok_or(fault)?),
            Err(fault) => return Err(fault),
        };
        found.map(|result| in_version(result, version)).transpose().map_err(|problem| CacheError::Invalid {
            path: self.path(network, id),
            problem: format!("result: {problem}"),
        })
    }

    fn bare_result(&self, network: &NetworkName, id: &AttachmentId) -> Option<Value> {
        let text = store::read_if_present(&self.path(network, id)).ok().flatten()?;
        let value = json::parse(&text).ok()?;
        let object = value.as_object()?;
        let is_result = ["cniVersion", "ips", "ip4", "ip6", "interfaces"].iter().any(|key| object.contains_key(*key));
        (is_result && !object.contains_key("kind")).then_some(value)
    }

    /// Writes the entry of an attachment, whole or not at all, mode 0600.
    ///
    /// # Errors
    /// [`CacheError::Store`].
    pub fn write(&self, entry: &CachedAttachment) -> Result<(), CacheError> {
        store::ensure_dir(&self.dir, 0o700)?;
        let path = self.path(&entry.network, &entry.attachment.id);
        Ok(store::write_atomic(&path, &entry.to_bytes(), 0o600)?)
    }

    /// Removes the entry of an attachment; absent is success, and the entry of another one stays.
    ///
    /// # Errors
    /// [`CacheError::Store`].
    pub fn remove(&self, network: &NetworkName, id: &AttachmentId) -> Result<(), CacheError> {
        match self.read(network, id) {
            Ok(None) | Err(CacheError::Taken { .. }) => Ok(()),
            Ok(Some(_)) | Err(_) => Ok(store::remove_file(&self.path(network, id))?),
        }
    }

    /// All attachments. One file that cannot be used does not hide the others.
    ///
    /// # Errors
    /// [`CacheError::Store`] if the directory cannot be listed; a missing one is empty.
    pub fn attachments(&self) -> Result<Attachments, CacheError> {
        let mut found = Attachments::default();
        for path in store::files(&self.dir)? {
            // A file that is being written.
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            let entry = match store::read_if_present(&path) {
                // Removed since the directory was listed.
                Ok(None) => continue,
                Ok(Some(text)) => CachedAttachment::parse(&text),
                Err(e) => Err(crate::error::causes(Some(&e))),
            };
            match entry {
                Ok(entry) => found.attachments.push(entry),
                Err(reason) => found.skipped.push(Skipped { path, reason }),
            }
        }
        Ok(found)
    }

    fn path(&self, network: &NetworkName, id: &AttachmentId) -> PathBuf {
        self.dir.join(file_name(network, id))
    }
}

/// None of the names has a `/` or begins with a dot, so the path stays in the directory.
fn file_name(network: &NetworkName, id: &AttachmentId) -> String {
    format!("{network}-{}-{}", id.container_id, id.ifname)
}

/// The namespace that the interfaces of a result are in. Entries of older releases of the Go libcni, such as containerd 1.6's, do
/// not name it elsewhere.
fn sandbox_of(result: &Map<String, Value>) -> Option<String> {
    let interfaces = json::member(result, "interfaces")?.as_array()?;
    let sandbox = |interface: &Value| Some(json::member(interface.as_object()?, "sandbox")?.as_str()?.to_owned());
    interfaces.iter().filter_map(sandbox).find(|path| !path.is_empty())
}

/// `result` in the form of `version`: untouched if it is in it already, so that no key is lost on the way.
pub(super) fn in_version(result: Value, version: SpecVersion) -> Result<Value, String> {
    let parsed = convert::result(&result, version).map_err(|e| crate::error::causes(Some(&e)))?;
    if result.get("cniVersion").and_then(Value::as_str) == Some(version.as_str()) {
        return Ok(result);
    }
    convert::to_wire(&parsed, version).map_err(|e| crate::error::causes(Some(&e)))
}
