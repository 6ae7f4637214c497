//! Routes by an existing BGP speaker: BIRD 2 is told which nodes there are and what this one announces, and has the kernel
//! reach them. Nothing of theirs is put into the kernel by us.
//!
//! A file that BIRD's configuration includes ([`render`]) is written when it is to say something else, and BIRD is asked to
//! read its configuration again, by its control socket ([`control`]).

mod control;
pub(crate) mod render;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use libcni::error::causes;
use libcni::store::{StoreError, read_if_present, remove_file, write_atomic};

use crate::event::Event;
use crate::store::pause::Pauses;
use control::ControlError;

/// BIRD's user reads it.
const FILE_MODE: u32 = 0o644;
/// The pauses between attempts to have BIRD take what it did not.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// `[bgp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BgpConf {
    /// `as`: of all nodes. Default: 64512, the first that is private.
    pub(crate) number: u32,
    /// `include`. Default: `/etc/bird/overlayd.conf`.
    pub(crate) include: PathBuf,
    /// `socket`: BIRD's. Default: `/run/bird/bird.ctl`.
    pub(crate) socket: PathBuf,
    /// `reflectors`: the nodes talk to these alone. Default: each talks to each.
    pub(crate) reflectors: Vec<IpAddr>,
    /// `hold_seconds`: a node that is silent for so long is gone. Default: 90.
    pub(crate) hold_seconds: u16,
    /// `connect_seconds`: between attempts to connect. Default: 5.
    pub(crate) connect_seconds: u16,
}

impl Default for BgpConf {
    fn default() -> Self {
        Self {
            number: 64512,
            include: "/etc/bird/overlayd.conf".into(),
            socket: "/run/bird/bird.ctl".into(),
            reflectors: Vec::new(),
            hold_seconds: 90,
            connect_seconds: 5,
        }
    }
}

/// Why BIRD does not have what it should.
#[derive(Debug, thiserror::Error)]
enum BirdError {
    #[error("BIRD's file of nodes cannot be written")]
    Write(#[source] StoreError),
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// The thread that talks to BIRD. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Bird(Sender<String>);

impl Bird {
    /// `queue` is told when BIRD has a new file, and when it cannot have it.
    ///
    /// # Errors
    /// If no thread can be made.
    pub(crate) fn start(conf: BgpConf, queue: Sender<Event>) -> io::Result<Self> {
        let (texts, wanted) = mpsc::channel();
        thread::Builder::new().name("bird".to_owned()).spawn(move || work(&conf, &wanted, &queue))?;
        Ok(Self(texts))
    }

    /// Has BIRD read this, as soon as it can.
    pub(crate) fn tell(&self, text: String) {
        // The thread ends only with us.
        let _ = self.0.send(text);
    }
}

/// Has BIRD read the newest text, again and again until it does; then waits for another.
fn work(conf: &BgpConf, texts: &Receiver<String>, queue: &Sender<Event>) {
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    let (mut wanted, mut is_done) = (String::new(), true);
    loop {
        let next = if is_done {
            texts.recv().map_err(|_gone| RecvTimeoutError::Disconnected)
        } else {
            texts.recv_timeout(pauses.next())
        };
        match next {
            Ok(text) => wanted = texts.try_iter().last().unwrap_or(text),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let done = apply(conf, &wanted);
        is_done = done.is_ok();
        if is_done {
            pauses.reset();
        }
        // Without an engine the process is about to end.
        let _ = queue.send(Event::Bird(done.err().map(|e| causes(Some(&e)))));
    }
}

fn apply(conf: &BgpConf, text: &str) -> Result<(), BirdError> {
    let present = read_if_present(&conf.include).map_err(BirdError::Write)?;
    if present.as_deref() != Some(text.as_bytes()) {
        write_atomic(&conf.include, text.as_bytes(), FILE_MODE).map_err(BirdError::Write)?;
    }
    // Also if nothing was written: a former life may have ended before it asked.
    control::configure(&conf.socket)?;
    tracing::info!(include = %conf.include.display(), "BIRD has read its configuration again");
    Ok(())
}

/// Removes the file that BIRD includes, and asks BIRD to go on without it; whether there was one.
///
/// # Errors
/// If it cannot be removed. A BIRD that does not run need not be asked.
pub(crate) fn remove(conf: &BgpConf) -> Result<bool, StoreError> {
    if conf.include.symlink_metadata().is_err() {
        return Ok(false);
    }
    remove_file(&conf.include)?;
    if let Err(e) = control::configure(&conf.socket) {
        tracing::warn!(error = causes(Some(&e)), "BIRD was not asked to forget the nodes");
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
