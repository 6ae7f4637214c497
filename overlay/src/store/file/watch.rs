//! Learning what happens in a directory (inotify).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::read::ReadError;

/// The link that Kubernetes exchanges when a ConfigMap changes that is mounted as a directory: it stands for all files.
const CONFIG_MAP: &str = "..data";

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// To files with these names.
    Files(BTreeMap<PathBuf, Written>),
    /// Anything: more than can be told one by one.
    Anything,
    /// The directory is not the one with this path any more.
    Vanished,
}

/// Whether a file is as its writer wants it. The last word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was made, and may have no content yet; or renamed away, as editors do before they write it anew.
    Begun,
    /// Closed, removed, or renamed to this name.
    Done,
}

/// A directory that is watched.
#[derive(Debug)]
pub(super) struct Watch(AsyncFd<Events>);

/// What the kernel tells, for tokio.
#[derive(Debug)]
struct Events(Inotify);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Watches from now on.
    pub(super) fn of(directory: &Path) -> Result<Self, ReadError> {
        let open = || {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            // A file may come by open and close, by rename, or by link; an open for writing alone says nothing.
            let contents = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE;
            let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
            inotify.add_watch(directory, contents | AddWatchFlags::IN_MOVE | itself)?;
            // SAFETY: `Events` owns the descriptor, which is never exchanged or closed before it is dropped.
            let registered = unsafe { AsyncFd::register_with_interest(Events(inotify), Interest::READABLE) };
            Ok(registered?)
        };
        open().map(Self).map_err(ReadError::on("watch", directory))
    }

    /// Waits until something happens. Nothing is lost if it is dropped while it waits.
    pub(super) async fn next(&self) -> io::Result<Happened> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut happened = Happened::Files(BTreeMap::new());
            let mut any = false;
            // All there is, so that a file that was written often is read once.
            while let Ok(events) = ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?)) {
                any = true;
                events?.into_iter().for_each(|event| happened.add(event));
            }
            if any {
                return Ok(happened);
            }
        }
    }
}

impl Happened {
    fn add(&mut self, event: InotifyEvent) {
        let gone = AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_UNMOUNT;
        let new = match (event.mask, event.name) {
            (mask, _) if mask.intersects(gone) => Self::Vanished,
            (mask, _) if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) => Self::Anything,
            (_, Some(name)) if name == CONFIG_MAP => Self::Anything,
            (mask, Some(name)) => {
                let begun = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_FROM;
                let written = if mask.intersects(begun) { Written::Begun } else { Written::Done };
                Self::Files([(PathBuf::from(name), written)].into())
            }
            (_, None) => return,
        };
        match (&mut *self, new) {
            (Self::Vanished, _) | (Self::Anything, Self::Files(_)) => {}
            (Self::Files(files), Self::Files(more)) => files.extend(more),
            (_, new) => *self = new,
        }
    }
}
