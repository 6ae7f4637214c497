//! Directories as they are found on nodes, and what may happen in the middle.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use libcni::store::{StoreError, write_atomic};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tempfile::TempDir;

use super::Placement;
use super::record::{Change, Folder, Sums};
use super::transaction::Target;

/// A directory that gets files, and one where they come from.
struct Bed(TempDir);

impl Bed {
    fn new(there: &[(&str, &str)]) -> Self {
        let bed = Self(tempfile::tempdir().unwrap());
        fs::create_dir(bed.dir()).unwrap();
        put(&bed.dir(), there);
        bed
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("to")
    }

    fn open(&self) -> Target {
        Target::open(&self.dir()).unwrap()
    }

    fn install(&self, files: &[(&str, &str)]) -> (usize, usize) {
        self.try_install(files).unwrap()
    }

    fn try_install(&self, files: &[(&str, &str)]) -> Result<(usize, usize), StoreError> {
        put(self.0.path(), files);
        let mut target = self.open();
        for (name, _) in files {
            target.stage_copy(&self.0.path().join(name), name)?;
        }
        target.install()
    }

    fn roll_back(&self) {
        self.open().roll_back().unwrap().expect("something to roll back");
    }

    /// All that is there, `.ferrule` too.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(name)).unwrap()
    }
}

fn put(dir: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        write_atomic(&dir.join(name), content.as_bytes(), 0o755).unwrap();
    }
}

#[test]
fn one_content_is_one_file_and_strangers_stay() {
    let bed = Bed::new(&[("bridge", "old"), ("stranger", "stranger")]);
    let files = [("bridge", "new"), ("ptp", "new"), ("alone", "alone")];
    assert_eq!(bed.install(&files), (3, 3));
    assert_eq!(bed.install(&files), (3, 0), "it is there already");
    assert_eq!(bed.names(), [".ferrule", "alone", "bridge", "ptp", "stranger"]);
    let inode = |name: &str| fs::metadata(bed.dir().join(name)).unwrap().ino();
    assert_eq!(inode("bridge"), inode("ptp"));
    assert_ne!(inode("bridge"), inode("alone"));
    assert_eq!(bed.text("ptp"), "new");
    assert_eq!(fs::metadata(bed.dir().join("ptp")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_rollback_is_undone_by_another() {
    let bed = Bed::new(&[]);
    bed.install(&[("bridge", "1"), ("ptp", "1")]);
    bed.install(&[("bridge", "2"), ("ptp", "1"), ("vrf", "2")]);
    // As an init container that is started once more.
    bed.install(&[("bridge", "2"), ("ptp", "1"), ("vrf", "2")]);
    bed.roll_back();
    assert_eq!(
        (bed.text("bridge"), bed.names()),
        ("1".to_owned(), vec![".ferrule".into(), "bridge".into(), "ptp".into()])
    );
    bed.roll_back();
    assert_eq!((bed.text("bridge"), bed.text("vrf")), ("2".to_owned(), "2".to_owned()));
}

#[test]
fn plugins_of_others_come_back_as_they_were() {
    let bed = Bed::new(&[("host-local", "go"), ("stranger", "stranger")]);
    symlink("host-local", bed.dir().join("bridge")).unwrap();
    bed.install(&[("bridge", "1"), ("host-local", "1"), ("vrf", "1")]);
    bed.install(&[("bridge", "2"), ("host-local", "2"), ("vrf", "2")]);
    assert_eq!(bed.text("bridge"), "2");
    let done = bed.open().uninstall(true).unwrap();
    assert_eq!((done.removed, done.restored, done.foreign), (3, 2, vec![]));
    assert_eq!(bed.names(), ["bridge", "host-local", "stranger"]);
    assert_eq!(fs::read_link(bed.dir().join("bridge")).unwrap(), Path::new("host-local"));
    assert_eq!(bed.text("bridge"), "go");
}

#[test]
fn what_somebody_replaced_since_is_his() {
    let bed = Bed::new(&[("ptp", "go")]);
    bed.install(&[("bridge", "1"), ("ptp", "1")]);
    put(&bed.dir(), &[("bridge", "theirs")]);
    let done = bed.open().uninstall(false).unwrap();
    assert_eq!((done.removed, done.restored, done.foreign), (1, 0, vec!["bridge".to_owned()]));
    assert_eq!((bed.names(), bed.text("bridge")), (vec!["bridge".to_owned()], "theirs".to_owned()));
}

#[test]
fn a_directory_in_the_place_of_a_plugin_is_told_before_anything_changes() {
    let bed = Bed::new(&[("bridge", "old")]);
    fs::create_dir(bed.dir().join("ptp")).unwrap();
    let fault = bed.try_install(&[("bridge", "new"), ("ptp", "new")]).unwrap_err();
    assert_eq!(fault.to_string(), format!("cannot replace {}", bed.dir().join("ptp").display()));
    assert_eq!((bed.text("bridge"), bed.names()), ("old".to_owned(), vec!["bridge".to_owned(), "ptp".to_owned()]));
}

/// A process was killed when it had replaced the first of two and added a third.
#[test]
fn a_change_that_was_killed_is_undone_by_the_next() {
    let bed = Bed::new(&[]);
    bed.install(&[("bridge", "1"), ("ptp", "1")]);
    let folder = Folder::of(&bed.dir());
    fs::create_dir(folder.pending()).unwrap();
    for name in ["bridge", "ptp"] {
        fs::hard_link(bed.dir().join(name), folder.pending().join(name)).unwrap();
    }
    let mut record = folder.read().unwrap();
    let names = ["bridge", "ptp", "vrf"].map(str::to_owned).into();
    record.pending = Some(Change { installed: record.installed.clone(), names });
    folder.write(&record).unwrap();
    put(&bed.dir(), &[("bridge", "2"), ("vrf", "2")]);

    drop(bed.open());
    assert_eq!(
        (bed.text("bridge"), bed.names()),
        ("1".to_owned(), vec![".ferrule".into(), "bridge".into(), "ptp".into()])
    );
    assert!(folder.read().unwrap().pending.is_none());
    // What was before is known still: nothing.
    bed.roll_back();
    assert_eq!(bed.names(), [".ferrule"]);
    assert_eq!(folder.read().unwrap().installed, Sums::new());
}

#[test]
fn a_record_that_is_not_understood_is_not_overwritten() {
    let bed = Bed::new(&[]);
    bed.install(&[("bridge", "1")]);
    put(&bed.dir(), &[(".ferrule/record.json", "{")]);
    let fault = Target::open(&bed.dir()).unwrap_err();
    assert!(fault.to_string().starts_with("cannot understand "), "{fault}");
    assert_eq!(bed.text(".ferrule/record.json"), "{");
}

/// containerd looks at a directory of networks when a file there is written, renamed or removed. What is linked, or renamed
/// from another directory, only appears.
#[test]
fn bug_a_first_list_was_not_noticed_by_containerd() {
    let bed = Bed::new(&[]);
    let watched = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    watched.add_watch(&bed.dir(), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVE).unwrap();
    bed.install(&[("10-pods.conflist", "{}")]);
    let events = watched.read_events().unwrap();
    let appeared = events.iter().find(|event| event.name.as_deref() == Some("10-pods.conflist".as_ref())).unwrap();
    // It is there when the other half of the rename is told.
    assert!(appeared.mask.contains(AddWatchFlags::IN_MOVED_TO), "{events:?}");
    let begun =
        |event: &InotifyEvent| event.mask.contains(AddWatchFlags::IN_MOVED_FROM) && event.cookie == appeared.cookie;
    assert!(events.iter().any(begun), "{events:?}");
}

#[test]
fn an_argument_has_two_paths() {
    for wrong in ["", "/a", "=/b", "/a="] {
        Placement::parse(wrong).unwrap_err();
    }
    assert_eq!(Placement::parse("/a=/b").unwrap().to, Path::new("/b"));
}
