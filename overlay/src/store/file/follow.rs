//! What is in the path, told when it changes.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::future::{pending, poll_fn};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch::Receiver;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::FileConf;
use super::entry::Entry;
use super::own;
use super::read::{self, ReadError, Told, node_of, paths_of, with_causes};
use super::watch::{Happened, Watch, Written};
use crate::network::Network;
use crate::store::{News, Record, Registration, Teller};

/// How long a file may be missing or half written while somebody saves it.
const SAVED_WITHIN: Duration = Duration::from_millis(300);
/// When this node's own file is written again, if that failed or somebody else wrote it.
const PUBLISH_AGAIN: Duration = Duration::from_secs(2);

/// All that is known of the path.
pub(super) struct Follower {
    conf: FileConf,
    network: Network,
    us: Receiver<Registration>,
    teller: Teller,
    /// What was told of each node, hashed.
    known: HashMap<String, u64>,
    /// Whether what is known may have gaps, so that all is told next.
    gaps: bool,
    /// What was told of our own subnets.
    subnets: Option<Vec<IpNet>>,
    /// What we wrote in our own file.
    published: Option<Entry>,
    /// Files to look at again, by name.
    later: BTreeMap<PathBuf, Instant>,
    /// Why the path cannot be read, and why this node has no subnets or is not known to others.
    path_fault: Option<String>,
    own_fault: Option<String>,
    told_fault: Option<String>,
}

/// What is there.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// One file with this name for all nodes.
    File(&'a OsStr),
    Directory,
}

enum Wake {
    Happened(Happened),
    /// What this node says of itself changed.
    Us,
    /// There is something to look at again.
    Later,
}

impl Follower {
    pub(super) fn new(conf: FileConf, network: Network, us: Receiver<Registration>, teller: Teller) -> Self {
        Self {
            conf,
            network,
            us,
            teller,
            known: HashMap::new(),
            gaps: true,
            subnets: None,
            published: None,
            later: BTreeMap::new(),
            path_fault: None,
            own_fault: None,
            told_fault: None,
        }
    }

    /// Tells what is in the path, until it vanishes or cannot be watched, and tells that. Whether there was anything.
    pub(super) async fn follow(&mut self) -> bool {
        self.gaps = true;
        let Err(fault) = self.follow_path().await;
        self.path_fault = Some(with_causes(&fault));
        self.tell_state();
        !self.gaps
    }

    async fn follow_path(&mut self) -> Result<Infallible, ReadError> {
        let path = self.conf.path.clone();
        let is_directory = path.metadata().map_err(ReadError::on("examine", &path))?.is_dir();
        let (directory, place) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !is_directory => (parent, Place::File(name)),
            _ => (path.as_path(), Place::Directory),
        };
        // A relative path of one part lies in the current directory.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        if self.conf.publish && !is_directory {
            return Err(ReadError::NotADirectory(path));
        }
        // Before it is read, so that nothing is missed.
        let watch = Watch::of(directory)?;
        self.later.clear();
        if self.conf.publish {
            self.publish().await;
        }
        self.read_all(place).await?;
        loop {
            self.tell_state();
            match self.wake(&watch).await.map_err(ReadError::on("watch", directory))? {
                Wake::Happened(Happened::Files(files)) => {
                    for (file, written) in files {
                        self.look(place, &file, Some(written)).await?;
                    }
                }
                Wake::Happened(Happened::Anything) => self.read_all(place).await?,
                Wake::Happened(Happened::Vanished) => return Err(ReadError::Vanished(path)),
                Wake::Us if self.conf.publish => self.publish().await,
                Wake::Us => self.read_all(place).await?,
                Wake::Later => {
                    for file in self.due() {
                        self.look(place, &file, None).await?;
                    }
                }
            }
        }
    }

    /// Waits for what comes first.
    async fn wake(&mut self, watch: &Watch) -> std::io::Result<Wake> {
        let due = self.later.values().min().copied();
        let mut happened = pin!(watch.next());
        let mut us = pin!(async {
            if self.us.changed().await.is_err() {
                // Nobody is left to change it: the process is about to end.
                pending::<()>().await;
            }
        });
        let mut later = pin!(async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        });
        poll_fn(|cx| {
            if let Poll::Ready(happened) = happened.as_mut().poll(cx) {
                return Poll::Ready(happened.map(Wake::Happened));
            }
            if us.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Wake::Us));
            }
            later.as_mut().poll(cx).map(|()| Ok(Wake::Later))
        })
        .await
    }

    /// The files whose time has come.
    fn due(&mut self) -> Vec<PathBuf> {
        let now = Instant::now();
        let due: Vec<PathBuf> = self.later.iter().filter(|(_, at)| **at <= now).map(|(file, _)| file.clone()).collect();
        for file in &due {
            self.later.remove(file);
        }
        due
    }

    /// Reads everything, and tells what is different.
    async fn read_all(&mut self, place: Place<'_>) -> Result<(), ReadError> {
        let path = self.conf.path.clone();
        match place {
            Place::Directory => {
                let all = unless_it_panics(spawn_blocking(move || read::directory(&path)).await)?;
                self.compare(all);
            }
            Place::File(name) => self.look_at_all(Path::new(name), Some(Written::Done)).await,
        }
        Ok(())
    }

    /// Looks at a file of which something was told; `None`: at one that was to be looked at again.
    async fn look(&mut self, place: Place<'_>, file: &Path, written: Option<Written>) -> Result<(), ReadError> {
        match place {
            Place::File(name) if file == name => self.look_at_all(file, written).await,
            Place::File(_) => {}
            Place::Directory => match node_of(file) {
                Some(node) if self.conf.publish && self.us.borrow().name == node => {
                    self.look_at_own(file, &node, written).await;
                }
                Some(node) => self.look_at_node(file, &node, written),
                None => {}
            },
        }
        Ok(())
    }

    /// Reads the file of all nodes. While it cannot be read, what was told holds.
    async fn look_at_all(&mut self, file: &Path, written: Option<Written>) {
        let path = self.conf.path.clone();
        match unless_it_panics(spawn_blocking(move || read::cluster(&path)).await) {
            Ok(all) => {
                self.gaps |= self.path_fault.take().is_some();
                self.compare(all);
            }
            Err(_) if written == Some(Written::Begun) => self.look_later(file, SAVED_WITHIN),
            Err(e) => self.path_fault = Some(with_causes(&e)),
        }
    }

    /// Reads another node's file.
    fn look_at_node(&mut self, file: &Path, node: &str, written: Option<Written>) {
        let told = read::node(&self.conf.path, node);
        if written == Some(Written::Begun) && !matches!(told, Some(Ok(_))) {
            return self.look_later(file, SAVED_WITHIN);
        }
        if self.us.borrow().name == node {
            self.own(told.as_ref());
        }
        self.tell(node, told);
    }

    /// Writes this node's own file again if it is not as we wrote it. Not at once: it may be another machine with our
    /// name, which does the same.
    async fn look_at_own(&mut self, file: &Path, node: &str, written: Option<Written>) {
        if written.is_none() {
            return self.publish().await;
        }
        let is_ours = matches!(read::entry(&self.conf.path, node), Ok(entry) if entry == self.published);
        if !is_ours && !self.later.contains_key(file) {
            tracing::warn!(file = %file.display(), "this node's own file was changed by somebody else");
            self.look_later(file, PUBLISH_AGAIN);
        }
    }

    fn look_later(&mut self, file: &Path, after: Duration) {
        self.later.insert(file.to_owned(), Instant::now() + after);
    }

    /// Makes this node known, and tells its subnets.
    async fn publish(&mut self) {
        let (path, network) = (self.conf.path.clone(), self.network.clone());
        let mut us = self.us.borrow_and_update().clone();
        // What it has now comes before what it had in an earlier life.
        us.wanted.splice(..0, self.subnets.iter().flatten().copied());
        let [own, _] = paths_of(Path::new(""), &us.name);
        match unless_it_panics(spawn_blocking(move || own::publish(&path, &network, &us)).await) {
            Ok(entry) => {
                self.tell_subnets(entry.subnets());
                self.published = Some(entry);
                self.own_fault = None;
            }
            Err(e) => {
                self.own_fault = Some(with_causes(&e));
                self.look_later(&own, PUBLISH_AGAIN);
            }
        }
    }

    /// What somebody wrote of this node: it gives us our subnets.
    fn own(&mut self, told: Option<&Told>) {
        let us = self.us.borrow_and_update().clone();
        match told {
            Some(Ok(entry)) => {
                self.own_fault = None;
                for difference in entry.differences(&us, &self.network) {
                    tracing::warn!(
                        node = us.name,
                        difference,
                        "others are told something else of this node than is true"
                    );
                }
                self.tell_subnets(entry.subnets());
            }
            Some(Err(why)) => self.own_fault = Some(format!("the entry of this node \"{}\": {why}", us.name)),
            None => {
                self.own_fault = Some(format!(
                    "{} has no entry of this node \"{}\", which says its subnets (hint: write it, or set `publish` for a \
                     directory)",
                    self.conf.path.display(),
                    us.name
                ));
            }
        }
    }

    /// Tells how all these nodes differ from what is known.
    fn compare(&mut self, all: BTreeMap<String, Told>) {
        if !self.conf.publish {
            let name = self.us.borrow().name.clone();
            self.own(all.get(&name));
        }
        if self.gaps {
            self.gaps = false;
            self.path_fault = None;
            self.known = all.iter().map(|(node, told)| (node.clone(), hash(told))).collect();
            let records = all.into_iter().map(|(node, told)| self.record(node, told)).collect();
            return self.teller.tell(News::All(records));
        }
        let gone: Vec<String> = self.known.keys().filter(|node| !all.contains_key(*node)).cloned().collect();
        gone.iter().for_each(|node| self.tell(node, None));
        all.into_iter().for_each(|(node, told)| self.tell(&node, Some(told)));
    }

    /// Tells of a node, if it is news.
    fn tell(&mut self, node: &str, told: Option<Told>) {
        match told {
            None if self.known.remove(node).is_some() => self.teller.tell(News::Gone(node.to_owned())),
            None => {}
            Some(told) => {
                let now = hash(&told);
                if self.known.insert(node.to_owned(), now) != Some(now) {
                    self.teller.tell(News::Changed(self.record(node.to_owned(), told)));
                }
            }
        }
    }

    fn record(&self, name: String, told: Told) -> Record {
        let claim = told.map(|entry| entry.claim(&name, &self.network));
        Record { name, claim }
    }

    fn tell_subnets(&mut self, subnets: Vec<IpNet>) {
        if self.subnets.as_ref() != Some(&subnets) {
            self.subnets = Some(subnets.clone());
            self.teller.tell(News::Subnets(subnets));
        }
    }

    /// Tells whether the store can be used, if that is news.
    fn tell_state(&mut self) {
        let fault = self.path_fault.as_ref().or(self.own_fault.as_ref()).cloned();
        if fault != self.told_fault {
            self.told_fault.clone_from(&fault);
            self.teller.tell(fault.map_or(News::Reachable, News::Unreachable));
        }
    }
}

fn hash(told: &Told) -> u64 {
    let mut hasher = DefaultHasher::new();
    told.hash(&mut hasher);
    hasher.finish()
}

/// The result of a thread's work; its panic is ours.
fn unless_it_panics<T>(done: Result<T, JoinError>) -> T {
    done.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}
