//! Waiting for everything at once: signals, time, plugins, DHCP servers, and links.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libcni::error::{ErrorCode, ErrorReply};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::listener::Listener;
use super::server::{Answers, Asker, Server};
use super::{DaemonError, clock, log};
use crate::protocol::{Outcome, PROTOCOL, Reply, Request, Versioned, line};
use crate::record::Owner;

/// How often the daemon looks whether containers are still there: the kernel does not tell when a namespace loses its
/// name.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// The longest request: a GC with ten thousand attachments.
const REQUEST_BYTES: usize = 2 << 20;
/// What the Go plugin shows of our answer to its way of asking.
const FOREIGN: &[u8] = b"HTTP/1.1 501 this is Ferrule's DHCP daemon; use the dhcp plugin of the same release\r\n\r\n";

/// SIGTERM and SIGINT, which from now on are read instead of ending the process.
pub(super) fn signals() -> Result<SignalFd, DaemonError> {
    let doing = |doing| move |source| DaemonError::Wait { doing, source };
    let set: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    set.thread_block().map_err(doing("block signals"))?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(doing("listen to signals"))
}

/// A plugin that asks.
struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
}

/// What is ready.
enum Ready {
    Signal,
    Timer,
    Listener,
    Connection(Asker),
    Messages(Owner),
    Links(Owner),
}

/// Everything that is waited for.
struct Loop<'a> {
    server: &'a mut Server,
    listener: &'a Listener,
    signals: &'a SignalFd,
    timer: TimerFd,
    connections: BTreeMap<Asker, Connection>,
    next_asker: Asker,
    look_after_at: Duration,
}

/// Serves until a signal comes.
///
/// # Errors
/// If the kernel cannot wait.
pub(super) fn run(server: &mut Server, listener: &Listener, signals: &SignalFd) -> Result<(), DaemonError> {
    allow_many_descriptors();
    let doing = |source| DaemonError::Wait { doing: "make a timer", source };
    let timer =
        TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK).map_err(doing)?;
    let connections = BTreeMap::new();
    let look_after_at = clock::now() + LOOK_AFTER;
    let mut this = Loop { server, listener, signals, timer, connections, next_asker: 0, look_after_at };
    loop {
        for ready in this.wait()? {
            if matches!(ready, Ready::Signal) {
                let answers = this.server.end();
                this.answer(answers);
                return Ok(());
            }
            let answers = this.serve(ready);
            this.answer(answers);
        }
    }
}

/// Each lease has a namespace and two or three sockets open.
fn allow_many_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With fewer, the daemon serves fewer.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

impl Loop<'_> {
    /// What is ready now, or as soon as anything is.
    fn wait(&mut self) -> Result<Vec<Ready>, DaemonError> {
        self.set_timer()?;
        let mut who = vec![Ready::Signal, Ready::Timer, Ready::Listener];
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds =
            vec![readable(self.signals.as_fd()), readable(self.timer.as_fd()), readable(self.listener.as_fd())];
        for (asker, connection) in &self.connections {
            who.push(Ready::Connection(*asker));
            fds.push(readable(connection.stream.as_fd()));
        }
        for holder in self.server.holders() {
            who.push(Ready::Links(holder.owner.clone()));
            fds.push(readable(holder.events()));
            if let Some(messages) = holder.messages() {
                who.push(Ready::Messages(holder.owner.clone()));
                fds.push(readable(messages));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(source) => return Err(DaemonError::Wait { doing: "wait for events", source }),
        }
        let ready = fds.iter().map(|fd| fd.any().unwrap_or_default());
        Ok(who.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(who, _)| who).collect())
    }

    fn set_timer(&self) -> Result<(), DaemonError> {
        // Without leases there is nothing to look after, and an idle daemon is not woken.
        let look_after = self.server.holders().next().map(|_| self.look_after_at);
        let next = self.server.deadline().into_iter().chain(look_after).min();
        let set = match next {
            // A time of zero would switch the timer off.
            Some(next) => self.timer.set(
                Expiration::OneShot(TimeSpec::from(next.max(Duration::from_nanos(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            ),
            None => self.timer.unset(),
        };
        set.map_err(|source| DaemonError::Wait { doing: "set the timer", source })
    }

    fn serve(&mut self, ready: Ready) -> Answers {
        match ready {
            Ready::Signal => Vec::new(),
            Ready::Timer => self.tick(),
            Ready::Listener => {
                self.accept();
                Vec::new()
            }
            Ready::Connection(asker) => self.read(asker),
            Ready::Messages(owner) => self.server.receive(&owner),
            Ready::Links(owner) => self.server.look_after(&owner),
        }
    }

    fn tick(&mut self) -> Answers {
        let mut answers = self.server.tick();
        if self.look_after_at <= clock::now() {
            self.look_after_at = clock::now() + LOOK_AFTER;
            answers.extend(self.server.look_after_all());
        }
        answers
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok(Some(stream)) => {
                self.next_asker += 1;
                self.connections.insert(self.next_asker, Connection { stream, received: Vec::new() });
            }
            Ok(None) => {}
            Err(e) => log(format_args!("cannot accept a plugin: {e}")),
        }
    }

    /// Reads what a plugin sends; its request, when it is whole, is served.
    fn read(&mut self, asker: Asker) -> Answers {
        let Some(connection) = self.connections.get_mut(&asker) else { return Vec::new() };
        match connection.read() {
            Ok(None) => Vec::new(),
            Ok(Some(text)) => match request(&text) {
                Ok(request) => self.server.serve(asker, request),
                Err(reply) => {
                    self.close(asker, &reply);
                    Vec::new()
                }
            },
            Err(_) => {
                self.connections.remove(&asker);
                self.server.abandon(asker);
                Vec::new()
            }
        }
    }

    fn answer(&mut self, answers: Answers) {
        for (asker, outcome) in answers {
            self.close(asker, &line(&Reply { protocol: PROTOCOL, outcome }));
        }
    }

    /// The last word to a plugin. It fits the socket's buffer; one that is gone will send DEL.
    fn close(&mut self, asker: Asker, reply: &[u8]) {
        if let Some(mut connection) = self.connections.remove(&asker)
            && let Err(e) = connection.stream.write_all(reply)
        {
            log(format_args!("cannot answer a plugin: {e}"));
        }
    }
}

impl Connection {
    /// The request, when its line is whole. A plugin that is waiting says no more, so anything else is its end.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(part.get(..length).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
            }
            if self.received.contains(&b'\n') {
                return Ok(Some(std::mem::take(&mut self.received)));
            }
            if self.received.len() > REQUEST_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// Reads a request.
///
/// # Errors
/// The answer to what is none.
fn request(text: &[u8]) -> Result<Request, Vec<u8>> {
    let refuse = |msg: String| {
        let outcome = Outcome::Error(ErrorReply::new(ErrorCode::INTERNAL, msg, ""));
        Err(line(&Reply { protocol: PROTOCOL, outcome }))
    };
    if text.starts_with(b"CONNECT ") {
        log(
            "a Go plugin asks, whose protocol this daemon does not speak (hint: install the dhcp plugin of this release)",
        );
        return Err(FOREIGN.to_vec());
    }
    match serde_json::from_slice::<Versioned>(text) {
        Ok(Versioned { protocol }) if protocol != PROTOCOL => {
            return refuse(format!("the DHCP daemon speaks protocol {PROTOCOL}, and the plugin {protocol}"));
        }
        _ => {}
    }
    serde_json::from_slice(text).or_else(|e| refuse(format!("the DHCP daemon cannot read the request: {e}")))
}
