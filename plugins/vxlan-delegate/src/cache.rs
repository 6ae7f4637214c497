//! What ADD gave the delegate, kept until DEL: by then the subnet file or the configuration may say something else.
//!
//! An attachment's file is `<dataDir>/<containerID>:<ifname>` (no container ID has a `:`). It is linked as
//! `<dataDir>/<containerID>`, which is the name that flannel's plugin gives it, for those who go back to that; of several
//! interfaces of a container only one can have it. A file of that name that is no link of ours is flannel's own.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libcni::names::{ContainerId, IfName};
use libcni::plugin::Call;
use libcni::store::{self, StoreError};
use libcni::types::AttachmentId;

use crate::compose::{Cached, DelegateConf};

/// What flannel's files do not say: Kubernetes calls the interface so.
const FLANNELS_IFNAME: &str = "eth0";

/// The cache of one network. (Several may share the directory.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'a> {
    dir: &'a Path,
    network: &'a str,
}

/// A file of an attachment that is not valid any more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dead {
    /// Whose it is.
    pub(crate) id: AttachmentId,
    /// The file.
    pub(crate) path: PathBuf,
    /// What is in it; `None` if nobody can read it.
    pub(crate) conf: Option<DelegateConf>,
}

impl<'a> Cache<'a> {
    /// The cache of the call's network in `dir`.
    pub(crate) fn of(call: &'a Call<'a>, dir: &'a Path) -> Self {
        Self { dir, network: call.config.name.as_str() }
    }

    fn own_path(&self, id: &AttachmentId) -> PathBuf {
        self.dir.join(format!("{}:{}", id.container_id, id.ifname))
    }

    fn flannels_path(&self, id: &AttachmentId) -> PathBuf {
        self.dir.join(id.container_id.as_str())
    }

    /// Keeps what the delegate of `id` gets.
    pub(crate) fn write(&self, id: &AttachmentId, conf: &DelegateConf) -> Result<(), StoreError> {
        // flannel's modes. A link of an earlier attachment of this ID would not lead to the new file.
        store::ensure_dir(self.dir, 0o700)?;
        self.remove_link(id)?;
        let (own, flannels) = (self.own_path(id), self.flannels_path(id));
        store::write_atomic(&own, &conf.to_bytes(), 0o600)?;
        match fs::hard_link(&own, &flannels) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                store::remove_file(&own)?;
                Err(StoreError::on("make link", flannels)(e))
            }
            _ => Ok(()),
        }
    }

    /// What the delegate of `id` got; `None` if that is not known (any more).
    pub(crate) fn find(&self, id: &AttachmentId) -> Result<Option<DelegateConf>, StoreError> {
        for path in [Some(self.own_path(id)), self.flannels_own(id)?].into_iter().flatten() {
            if let Some(Cached::Conf(conf)) = self.read(&path)? {
                return Ok(Some(conf));
            }
        }
        Ok(None)
    }

    /// Forgets `id`.
    pub(crate) fn remove(&self, id: &AttachmentId) -> Result<(), StoreError> {
        self.remove_link(id)?;
        if let Some(path) = self.flannels_own(id)?
            && self.read(&path)?.is_some()
        {
            store::remove_file(&path)?;
        }
        store::remove_file(&self.own_path(id))
    }

    /// The files of this network's attachments other than `valid`, and those that cannot be read.
    pub(crate) fn dead(&self, valid: &[AttachmentId]) -> Result<Vec<Dead>, StoreError> {
        let mut dead = Vec::new();
        for path in store::files(self.dir)? {
            let Some((container_id, ifname)) = path.file_name().and_then(|name| owner(name.to_str()?)) else {
                continue;
            };
            let is_valid = |id: &AttachmentId| {
                id.container_id == container_id && ifname.as_ref().is_none_or(|ifname| id.ifname == *ifname)
            };
            // A link of ours goes with the file that it leads to.
            if valid.iter().any(is_valid) || (ifname.is_none() && is_link(metadata(&path)?.as_ref())) {
                continue;
            }
            let Some(ifname) = ifname.or_else(|| FLANNELS_IFNAME.parse().ok()) else { continue };
            let id = AttachmentId { container_id, ifname };
            match self.read(&path)? {
                Some(Cached::Conf(conf)) => dead.push(Dead { id, path, conf: Some(conf) }),
                Some(Cached::Garbled) => dead.push(Dead { id, path, conf: None }),
                None => {}
            }
        }
        Ok(dead)
    }

    /// What is in the file at `path`; `None` if it is gone or another network's.
    fn read(&self, path: &Path) -> Result<Option<Cached>, StoreError> {
        Ok(store::read_if_present(path)?.and_then(|text| DelegateConf::of_cache(&text, self.network)))
    }

    /// The file of the container that flannel's plugin wrote, if there is one.
    fn flannels_own(&self, id: &AttachmentId) -> Result<Option<PathBuf>, StoreError> {
        let path = self.flannels_path(id);
        let found = metadata(&path)?;
        Ok((found.is_some() && !is_link(found.as_ref())).then_some(path))
    }

    /// Removes flannel's name of the file of `id`.
    fn remove_link(&self, id: &AttachmentId) -> Result<(), StoreError> {
        let flannels = self.flannels_path(id);
        let (own, linked) = (metadata(&self.own_path(id))?, metadata(&flannels)?);
        let identity = |file: Metadata| (file.dev(), file.ino());
        if own.is_some() && own.map(identity) == linked.map(identity) {
            return store::remove_file(&flannels);
        }
        Ok(())
    }
}

/// Whose file has this name: a container's interface, or, in flannel's way, a container. `None`: nobody's.
fn owner(name: &str) -> Option<(ContainerId, Option<IfName>)> {
    match name.split_once(':') {
        Some((container, ifname)) => Some((container.parse().ok()?, Some(ifname.parse().ok()?))),
        None => Some((name.parse().ok()?, None)),
    }
}

fn metadata(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::on("look at", path)(e)),
    }
}

/// Whether a file has two names, as ours have.
fn is_link(file: Option<&Metadata>) -> bool {
    file.is_some_and(|file| file.nlink() > 1)
}
