//! What was before ADD, on disk: DEL finds it there.
//!
//! `<dataDir>/<container ID>_<ifname>.json`, mode 0600, in the reference's form, so that either can set back what the
//! other has set:
//! ```json
//! {
//!  "mac": "0a:58:0a:01:02:03",
//!  "mtu": 1500,
//!  "ferrule": {
//!   "network": "pods",
//!   "interface": {"index": 2, "mac": "c2:11:22:33:44:55"},
//!   "sysctl": {"net/ipv4/conf/eth0/arp_filter": "0"}
//!  }
//! }
//! ```
//! The reference passes over the key `ferrule`. It is ours: the network, for GC; which interface it was, by number and
//! the address that it has after ADD, so that what an earlier container of this ID left is not taken for ours; and the
//! sysctls, which the reference does not set back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use libcni::json::{self, FieldError};
use libcni::names::NetworkName;
use libcni::store::{StoreError, ensure_dir, files, read_if_present, remove_file, remove_unfinished, write_atomic};
use libcni::types::{AttachmentId, MacAddr};
use serde::{Deserialize, Serialize};

use crate::error::TuningError;
use crate::settings::Settings;
use crate::sysctl::Values;

/// What an interface and its namespace were set to, of what was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Originals {
    pub(crate) interface: Settings,
    pub(crate) sysctls: Values,
}

impl Originals {
    /// These, and those of `later` of what these say nothing about.
    pub(crate) fn or(self, later: Self) -> Self {
        let mut sysctls = later.sysctls;
        sysctls.extend(self.sysctls);
        Self { interface: self.interface.or(later.interface), sysctls }
    }
}

/// Which interface it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The kernel's number of it.
    pub(crate) index: u32,
    /// The address that it has after ADD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<MacAddr>,
}

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) network: NetworkName,
    /// `None` if there was none: sysctls alone were set.
    pub(crate) interface: Option<Identity>,
}

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    pub(crate) originals: Originals,
    /// `None`: the Go plugin wrote it.
    pub(crate) owner: Option<Owner>,
}

/// The key `ferrule` on the wire.
#[derive(Serialize, Deserialize)]
struct Ours {
    network: NetworkName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<Identity>,
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    sysctl: Values,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WithOurs {
    ferrule: Option<Ours>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    interface: &'a Settings,
    #[serde(skip_serializing_if = "Option::is_none")]
    ferrule: Option<Ours>,
}

impl Backup {
    fn parse(text: &[u8]) -> Result<Self, FieldError> {
        let value = json::parse(text).map_err(|e| FieldError { path: String::new(), problem: e.to_string() })?;
        let interface = json::decode(&value)?;
        let WithOurs { ferrule } = json::decode(&value)?;
        let (owner, sysctls) = match ferrule {
            Some(Ours { network, interface, sysctl }) => (Some(Owner { network, interface }), sysctl),
            None => (None, Values::new()),
        };
        Ok(Self { originals: Originals { interface, sysctls }, owner })
    }

    /// Indented by one space, as the reference writes it.
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let ferrule = self.owner.clone().map(|Owner { network, interface }| {
            let sysctl = self.originals.sysctls.clone();
            Ours { network, interface, sysctl }
        });
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        Document { interface: &self.originals.interface, ferrule }
            .serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
        Ok(text)
    }
}

/// The file of one attachment.
#[derive(Clone, Debug)]
pub(crate) struct File {
    path: PathBuf,
}

impl File {
    /// The file of the attachment `id` in `data_dir`.
    pub(crate) fn of(data_dir: &Path, id: &AttachmentId) -> Self {
        Self { path: data_dir.join(name(id)) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; `None` if there is none.
    ///
    /// # Errors
    /// [`TuningError::Garbled`] if it says nothing, or if it cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Backup>, TuningError> {
        let garbled = |fault| TuningError::Garbled { path: self.path.clone(), fault };
        read_if_present(&self.path)?.map(|text| Backup::parse(&text)).transpose().map_err(garbled)
    }

    /// Writes it anew, whole or not at all.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn write(&self, backup: &Backup) -> Result<(), StoreError> {
        let text = backup.to_json().map_err(|e| StoreError::on("write", &self.path)(e.into()))?;
        if let Some(dir) = self.path.parent() {
            ensure_dir(dir, 0o700)?;
        }
        write_atomic(&self.path, &text, 0o600)
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn remove(&self) -> Result<(), StoreError> {
        remove_file(&self.path)
    }
}

fn name(id: &AttachmentId) -> String {
    format!("{}_{}.json", id.container_id, id.ifname)
}

/// Removes the files of attachments to `network` that are not in `valid`, and what killed processes left unfinished.
/// What the Go plugin wrote names no network, and stays until DEL.
///
/// # Errors
/// All that failed, after trying everything.
pub(crate) fn collect_garbage(data_dir: &Path, network: &NetworkName, valid: &[AttachmentId]) -> Vec<TuningError> {
    let valid: HashSet<String> = valid.iter().map(name).collect();
    let mut faults: Vec<TuningError> = remove_unfinished(data_dir).err().into_iter().map(Into::into).collect();
    let paths = files(data_dir).unwrap_or_else(|e| {
        faults.push(e.into());
        Vec::new()
    });
    let is_valid = |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(|n| valid.contains(n));
    let stale = paths.into_iter().filter(|path| !is_valid(path)).map(|path| File { path });
    faults.extend(stale.filter_map(|file| remove_if_of(&file, network).err()));
    faults
}

fn remove_if_of(file: &File, network: &NetworkName) -> Result<(), TuningError> {
    match file.read() {
        Ok(Some(Backup { owner: Some(owner), .. })) if owner.network == *network => Ok(file.remove()?),
        // Nobody can tell whose it is; the next DEL of the attachment removes it.
        Ok(_) | Err(TuningError::Garbled { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(container_id: &str) -> AttachmentId {
        AttachmentId { container_id: container_id.parse().unwrap(), ifname: "eth0".parse().unwrap() }
    }

    fn backup(network: &str) -> Backup {
        let interface = Settings {
            mac: "0a:58:0a:01:02:03".parse().ok(),
            promisc: Some(false),
            mtu: Some(1500),
            ..Settings::default()
        };
        let sysctls = Values::from([("net/ipv4/conf/eth0/arp_filter".to_owned(), "0".to_owned())]);
        let identity = Identity { index: 2, mac: "c2:11:22:33:44:55".parse().ok() };
        Backup {
            originals: Originals { interface, sysctls },
            owner: Some(Owner { network: network.parse().unwrap(), interface: Some(identity) }),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_in_the_references_form() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::of(&dir.path().join("tuning"), &id("c1"));
        assert_eq!(file.read().unwrap(), None);
        file.write(&backup("pods")).unwrap();
        assert_eq!(file.read().unwrap(), Some(backup("pods")));
        assert!(file.path().ends_with("tuning/c1_eth0.json"));
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(
            text.starts_with(
                "{\n \"mac\": \"0a:58:0a:01:02:03\",\n \"promisc\": false,\n \"mtu\": 1500,\n \"ferrule\": {"
            ),
            "{text}"
        );
        file.remove().unwrap();
        file.remove().unwrap();
    }

    #[test]
    fn the_references_file_is_read() {
        let text = "{\n \"mac\": \"c2:11:22:33:44:55\",\n \"promisc\": false,\n \"mtu\": 1454,\n \"allmulti\": true,\n \"txQLen\": 20000\n}";
        let Backup { originals, owner } = Backup::parse(text.as_bytes()).unwrap();
        assert_eq!(owner, None);
        let all = Settings {
            mac: "c2:11:22:33:44:55".parse().ok(),
            promisc: Some(false),
            mtu: Some(1454),
            allmulti: Some(true),
            tx_queue_len: Some(20000),
        };
        assert_eq!(originals, Originals { interface: all, sysctls: Values::new() });
        assert!(Backup::parse(b"{").is_err() && Backup::parse(b"").is_err() && Backup::parse(b"[]").is_err());
    }

    #[test]
    fn the_first_originals_stay() {
        let first = backup("pods").originals;
        let later = Originals {
            interface: Settings { mtu: Some(1400), allmulti: Some(false), ..Settings::default() },
            sysctls: Values::from([
                ("net/ipv4/conf/eth0/arp_filter".to_owned(), "1".to_owned()),
                ("net/core/somaxconn".to_owned(), "4096".to_owned()),
            ]),
        };
        let both = first.or(later);
        assert_eq!((both.interface.mtu, both.interface.allmulti), (Some(1500), Some(false)));
        assert_eq!(both.sysctls.values().collect::<Vec<_>>(), ["4096", "0"]);
    }

    #[test]
    fn gc_removes_the_networks_own_that_are_not_valid() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |container: &str, network: &str| File::of(dir.path(), &id(container)).write(&backup(network)).unwrap();
        write("valid", "pods");
        write("stale", "pods");
        write("other", "elsewhere");
        for (name, content) in [("go_eth0.json", "{\n \"mtu\": 1500\n}"), ("empty_eth0.json", ""), ("README", "hello")]
        {
            write_atomic(&dir.path().join(name), content.as_bytes(), 0o600).unwrap();
        }
        std::fs::File::create(dir.path().join(".killed_eth0.json.99999999")).unwrap();
        let faults = collect_garbage(dir.path(), &"pods".parse().unwrap(), &[id("valid")]);
        assert!(faults.is_empty(), "{faults:?}");
        let left: Vec<_> = files(dir.path()).unwrap().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(left, ["README", "empty_eth0.json", "go_eth0.json", "other_eth0.json", "valid_eth0.json"]);
        assert!(collect_garbage(&dir.path().join("missing"), &"pods".parse().unwrap(), &[]).is_empty());
    }
}
