//! Puts plugins and configurations where a container runtime looks for them, for images without a shell.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use libcni::store::{self, StoreError};

use crate::error::ToolError;
use crate::session::Session;

/// `FROM=TO`: a file and its new path, or a directory and the one that its files are to be in.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    from: PathBuf,
    to: PathBuf,
}

impl Placement {
    /// Reads an argument.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Self { from: from.into(), to: to.into() }),
            _ => Err("expected FROM=TO, such as /opt/cni/bin=/host/opt/cni/bin".to_owned()),
        }
    }
}

/// Each file is on the disk before it gets its name, by rename: whoever executes or reads the old one keeps it. Other
/// files stay. Files with one content are one file with several names afterwards: copies of images lose hard links.
///
/// # Errors
/// [`ToolError`] at the first file that cannot be put there; those before it are there.
pub(crate) fn install(session: &mut Session<'_>, placements: &[Placement]) -> Result<(), ToolError> {
    for Placement { from, to } in placements {
        let is_dir = examine(from)?.is_dir();
        let count = if is_dir { place_all(from, to)? } else { place(from, to).map(|()| 1)? };
        session.print(format_args!("{}: {count} installed\n", to.display()))?;
    }
    Ok(())
}

fn examine(path: &Path) -> Result<Metadata, StoreError> {
    fs::metadata(path).map_err(StoreError::on("read", path))
}

/// The files of a directory; how many.
fn place_all(from: &Path, to: &Path) -> Result<usize, StoreError> {
    store::ensure_dir(to, 0o755)?;
    // The first name of each content: all plugins are one file.
    let mut placed: BTreeMap<(Vec<u8>, u32), PathBuf> = BTreeMap::new();
    let files = store::files(from)?;
    for file in &files {
        let Some(name) = file.file_name() else { continue };
        let (to, wanted) = (to.join(name), read(file)?);
        match placed.get(&wanted) {
            Some(first) => link(first, &to)?,
            None => {
                store::write_by_rename(&to, &wanted.0, wanted.1)?;
                placed.insert(wanted, to);
            }
        }
    }
    Ok(files.len())
}

fn place(from: &Path, to: &Path) -> Result<(), StoreError> {
    let (content, mode) = read(from)?;
    store::write_by_rename(to, &content, mode)
}

/// The content and mode of a file.
fn read(path: &Path) -> Result<(Vec<u8>, u32), StoreError> {
    let mode = examine(path)?.mode() & 0o777;
    fs::read(path).map(|content| (content, mode)).map_err(StoreError::on("read", path))
}

/// Another name for a file that is there.
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_content_is_one_file_and_strangers_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("deep/to"));
        for path in [&from, &to] {
            fs::create_dir_all(path).unwrap();
        }
        let put = |path: PathBuf, content: &str| store::write_atomic(&path, content.as_bytes(), 0o755).unwrap();
        put(from.join("bridge"), "new");
        put(from.join("ptp"), "new");
        put(from.join("alone"), "alone");
        put(to.join("bridge"), "old");
        put(to.join("stranger"), "stranger");
        for _ in 0..2 {
            assert_eq!(place_all(&from, &to).unwrap(), 3);
            let names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names.len(), 4, "{names:?}");
            let inode = |name: &str| fs::metadata(to.join(name)).unwrap().ino();
            assert_eq!(inode("bridge"), inode("ptp"));
            assert_ne!(inode("bridge"), inode("alone"));
            assert_eq!(fs::read_to_string(to.join("ptp")).unwrap(), "new");
            assert_eq!(fs::metadata(to.join("ptp")).unwrap().permissions().mode() & 0o777, 0o755);
        }
    }

    /// containerd looks at a directory of networks when a file there is written, renamed or removed. Written without a name,
    /// then linked, the first list of a node was there too late.
    #[test]
    fn bug_a_first_list_was_not_noticed_by_containerd() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for path in [&from, &to] {
            fs::create_dir(path).unwrap();
        }
        store::write_atomic(&from.join("10-pods.conflist"), b"{}", 0o644).unwrap();
        let watched = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        watched.add_watch(&to, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVE).unwrap();
        place_all(&from, &to).unwrap();
        let events = watched.read_events().unwrap();
        let appeared = events.iter().find(|event| event.name.as_deref() == Some("10-pods.conflist".as_ref())).unwrap();
        // It is there when the other half of the rename is told.
        assert!(appeared.mask.contains(AddWatchFlags::IN_MOVED_TO), "{events:?}");
    }

    #[test]
    fn an_argument_has_two_paths() {
        for wrong in ["", "/a", "=/b", "/a="] {
            Placement::parse(wrong).unwrap_err();
        }
        assert_eq!(Placement::parse("/a=/b").unwrap().to, Path::new("/b"));
    }
}
