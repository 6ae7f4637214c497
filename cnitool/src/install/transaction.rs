//! A change of the files of a directory: all of it or nothing, also after a kill in the middle.
//!
//! New files are copied beside (a full disk is met here), what they replace gets a second name, and the record says what is
//! about to change; then each gets its name by rename(2). Whoever finds such a change unfinished undoes it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use libcni::store::{self, Lock, StoreError};
use sha2::{Digest, Sha256};

use super::record::{Change, Folder, Record, Sums};

/// A directory that is changed by nobody else meanwhile.
#[derive(Debug)]
pub(super) struct Target {
    dir: PathBuf,
    folder: Folder,
    record: Record,
    /// New names and those that stay as they are, with their sums.
    wanted: Sums,
    /// What changes: whether the name will be there, in `next/` until then, or gone.
    changes: BTreeMap<String, bool>,
    /// The first file of each content and mode: copies of images have lost the plugins' hard links.
    contents: BTreeMap<(Vec<u8>, u32), (PathBuf, String)>,
    /// Sums of files by device and inode.
    sums: BTreeMap<(u64, u64), String>,
    _lock: Lock,
}

/// What `uninstall` did.
#[derive(Debug)]
pub(super) struct Uninstalled {
    pub(super) removed: usize,
    pub(super) restored: usize,
    /// These were replaced by somebody else since, and stay.
    pub(super) foreign: Vec<String>,
}

impl Target {
    /// # Errors
    /// [`StoreError`] if the directory cannot be written.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let lock = File::open(dir).map_err(StoreError::on("open", dir)).and_then(|file| Lock::of(file, dir))?;
        let folder = Folder::of(dir);
        store::ensure_dir(folder.path(), 0o755)?;
        let mut target = Self {
            dir: dir.to_owned(),
            record: folder.read()?,
            folder,
            wanted: Sums::new(),
            changes: BTreeMap::new(),
            contents: BTreeMap::new(),
            sums: BTreeMap::new(),
            _lock: lock,
        };
        target.recover()?;
        empty(&target.folder.next())?;
        Ok(target)
    }

    /// `None` if nothing was ever installed in `dir`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn find(dir: &Path) -> Result<Option<Self>, StoreError> {
        let folder = Folder::of(dir);
        if stat(folder.path())?.is_some() { Self::open(dir).map(Some) } else { Ok(None) }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Copies a file that is to be `name` in the directory, unless it is there already.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn stage_copy(&mut self, from: &Path, name: &str) -> Result<(), StoreError> {
        let read = fs::metadata(from).and_then(|meta| Ok((fs::read(from)?, meta.mode() & 0o777)));
        let (wanted, to) = (read.map_err(StoreError::on("read", from))?, self.dir.join(name));
        let there = stat(&to)?;
        if there.as_ref().is_some_and(Metadata::is_dir) {
            return Err(StoreError::on("replace", to)(io::ErrorKind::IsADirectory.into()));
        }
        let staged = self.folder.next().join(name);
        store::remove_file(&staged)?;
        let sum = match self.contents.get(&wanted) {
            Some((first, sum)) => {
                if !is_one_file(first, there.as_ref())? {
                    link(first, &staged)?;
                }
                sum.clone()
            }
            None => {
                let sum = sum_of(&wanted.0);
                let is_there = match there.filter(|there| there.is_file() && there.mode() & 0o777 == wanted.1) {
                    Some(_) => fs::read(&to).map_err(StoreError::on("read", &to))? == wanted.0,
                    None => false,
                };
                if !is_there {
                    store::write_atomic(&staged, &wanted.0, wanted.1)?;
                }
                self.contents.insert(wanted, (if is_there { to } else { staged.clone() }, sum.clone()));
                sum
            }
        };
        self.wanted.insert(name.to_owned(), sum);
        if stat(&staged)?.is_some() {
            self.changes.insert(name.to_owned(), true);
        }
        Ok(())
    }

    /// Gives what was staged their names. How many files that are, and how many of them are new or others than before.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub(super) fn install(&mut self) -> Result<(usize, usize), StoreError> {
        let (count, changed) = (self.wanted.len(), self.changes.len());
        let mut installed = self.record.installed.clone();
        installed.append(&mut self.wanted);
        if changed > 0 {
            self.commit(installed)?;
        } else if installed != self.record.installed {
            self.record.installed = installed;
            self.folder.write(&self.record)?;
        }
        Ok((count, changed))
    }

    /// Undoes the last change, and keeps what it had brought: to roll back again is to go forward. How many files are put
    /// back and how many removed; `None` if there was no change.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub(super) fn roll_back(&mut self) -> Result<Option<(usize, usize)>, StoreError> {
        let Some(Change { installed, names }) = self.record.previous.clone() else { return Ok(None) };
        let previous = self.folder.previous();
        for name in &names {
            self.stage_kept(&previous, name)?;
        }
        let back = self.changes.values().filter(|&&stays| stays).count();
        self.commit(installed)?;
        Ok(Some((back, names.len() - back)))
    }

    /// Removes what was installed, and everything that was remembered; with `restore`, files that were there before are
    /// put back.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub(super) fn uninstall(&mut self, restore: bool) -> Result<Uninstalled, StoreError> {
        let mut others = Vec::new();
        for name in self.record.installed.clone().into_keys() {
            match stat(&self.dir.join(&name))? {
                None => {}
                Some(_) if !self.is_ours(&name)? => others.push(name),
                Some(_) if restore => self.stage_kept(&self.folder.foreign(), &name)?,
                Some(_) => drop(self.changes.insert(name, false)),
            }
        }
        let restored = self.changes.values().filter(|&&stays| stays).count();
        let removed = self.changes.len();
        self.commit(Sums::new())?;
        remove_all(self.folder.path())?;
        Ok(Uninstalled { removed, restored, foreign: others })
    }

    /// A kept file gets its name back; without one, the name goes.
    fn stage_kept(&mut self, kept: &Path, name: &str) -> Result<(), StoreError> {
        let kept = kept.join(name);
        let is_kept = stat(&kept)?.is_some();
        if is_kept {
            link(&kept, &self.folder.next().join(name))?;
        }
        self.changes.insert(name.to_owned(), is_kept);
        Ok(())
    }

    fn commit(&mut self, installed: Sums) -> Result<(), StoreError> {
        let begun = self.keep().and_then(|()| {
            let names: BTreeSet<String> = self.changes.keys().cloned().collect();
            self.record.pending = Some(Change { installed: self.record.installed.clone(), names });
            self.folder.write(&self.record)
        });
        let changed = begun.and_then(|()| self.apply());
        if let Err(fault) = changed {
            // The first failure says why; what cannot be undone now, the next call undoes.
            let _ = self.recover();
            return Err(fault);
        }
        self.record.installed = installed;
        self.finish()
    }

    /// Second names for all that is about to be replaced, by hard links: they cost nothing.
    fn keep(&mut self) -> Result<(), StoreError> {
        let (pending, foreign) = (self.folder.pending(), self.folder.foreign());
        empty(&pending)?;
        for name in self.changes.keys().cloned().collect::<Vec<_>>() {
            let there = self.dir.join(&name);
            if stat(&there)?.is_none() {
                continue;
            }
            link(&there, &pending.join(&name))?;
            if !self.is_ours(&name)? {
                store::ensure_dir(&foreign, 0o755)?;
                link(&there, &foreign.join(&name))?;
            }
        }
        sync(&pending)
    }

    fn apply(&self) -> Result<(), StoreError> {
        for (name, stays) in &self.changes {
            let to = self.dir.join(name);
            if *stays {
                link(&self.folder.next().join(name), &to)?;
            } else {
                store::remove_file(&to)?;
            }
        }
        sync(&self.dir)
    }

    /// What has been replaced is the previous generation now.
    fn finish(&mut self) -> Result<(), StoreError> {
        let (pending, previous) = (self.folder.pending(), self.folder.previous());
        remove_all(&previous)?;
        fs::rename(&pending, &previous).map_err(StoreError::on("rename", &pending))?;
        self.record.previous = self.record.pending.take();
        self.folder.write(&self.record)
    }

    /// Undoes a change that was killed, or failed, in the middle.
    fn recover(&mut self) -> Result<(), StoreError> {
        let (pending, previous) = (self.folder.pending(), self.folder.previous());
        if let Some(change) = self.record.pending.clone() {
            // Killed in the last steps, after all names had changed: what was kept has its last name already.
            let kept = if stat(&pending)?.is_some() { &pending } else { &previous };
            for name in &change.names {
                let (kept, to) = (kept.join(name), self.dir.join(name));
                if stat(&kept)?.is_some() { link(&kept, &to)? } else { store::remove_file(&to)? }
            }
            if kept == &previous || stat(&previous)?.is_none() {
                self.record.previous = None;
            }
            self.record.pending = None;
            self.folder.write(&self.record)?;
        }
        remove_all(&pending)
    }

    /// Whether the file is still what was installed.
    fn is_ours(&mut self, name: &str) -> Result<bool, StoreError> {
        let Some(installed) = self.record.installed.get(name) else { return Ok(false) };
        let path = self.dir.join(name);
        let Some(meta) = stat(&path)?.filter(Metadata::is_file) else { return Ok(false) };
        let sum = match self.sums.entry((meta.dev(), meta.ino())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let content = fs::read(&path).map_err(StoreError::on("read", &path))?;
                unknown.insert(sum_of(&content))
            }
        };
        Ok(sum == installed)
    }
}

impl Drop for Target {
    /// What was staged in vain must not take the room.
    fn drop(&mut self) {
        let _ = remove_all(&self.folder.next());
        // Of a first installation that failed.
        let _ = fs::remove_dir(self.folder.path());
    }
}

/// The file itself, where it is a link; `None` if it is not there.
fn stat(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(StoreError::on("examine", path)(e)),
    }
}

fn is_one_file(first: &Path, there: Option<&Metadata>) -> Result<bool, StoreError> {
    let inode = |meta: &Metadata| (meta.dev(), meta.ino());
    Ok(there.is_some() && stat(first)?.as_ref().map(inode) == there.map(inode))
}

fn sum_of(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Another name for a file, in the place of what has that name: by rename within the directory, since containerd reads its
/// networks when a file there is renamed, not when one appears.
fn link(first: &Path, to: &Path) -> Result<(), StoreError> {
    let Some(name) = to.file_name() else { return Ok(()) };
    let temporary = to.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    store::remove_file(&temporary)?;
    fs::hard_link(first, &temporary).map_err(StoreError::on("link", &temporary))?;
    let renamed = fs::rename(&temporary, to).map_err(StoreError::on("replace", to));
    // rename(2) does nothing if both are names of one file already.
    store::remove_file(&temporary)?;
    renamed
}

fn empty(dir: &Path) -> Result<(), StoreError> {
    remove_all(dir)?;
    store::ensure_dir(dir, 0o755)
}

fn remove_all(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::on("remove", dir)(e)),
        _ => Ok(()),
    }
}

/// What has which name in `dir` is on the disk.
fn sync(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::on("sync", dir))
}
