//! The plugin's side of the daemon's socket.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use libcni::error::ErrorReply;
use libcni::plugin::interrupted;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;
use crate::protocol::{Outcome, PROTOCOL, Reply, Request, Versioned, What, line};

/// How long anything but an ADD may take. An ADD takes as long as the daemon tries.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the daemon at `socket`. If this process is told to end meanwhile, it leaves, and the daemon notices.
///
/// # Errors
/// [`Error::Dial`] if nobody listens; what the daemon replied; or that it did not.
pub(crate) fn ask(socket: &Path, request: &Request) -> Result<Outcome, Error> {
    let mut stream = UnixStream::connect(socket).map_err(|source| Error::Dial { socket: socket.to_owned(), source })?;
    let no_answer = |source| Error::NoAnswer { socket: socket.to_owned(), source };
    let deadline = match request.what {
        What::Add { .. } => None,
        What::Del { .. } | What::Check { .. } | What::Gc { .. } | What::Status => Some(Instant::now() + PATIENCE),
    };
    stream.write_all(&line(request)).map_err(no_answer)?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') {
        wait_readable(&stream, deadline).map_err(|e| match e {
            Waiting::Interrupted(e) => Error::Interrupted(e),
            Waiting::Failed(source) => no_answer(source),
        })?;
        let mut part = [0; 4096];
        match stream.read(&mut part).map_err(no_answer)? {
            0 => break,
            length => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    read(socket, &answer)
}

enum Waiting {
    Interrupted(libcni::plugin::Interrupted),
    Failed(io::Error),
}

/// poll(2), unlike read(2), returns when a signal comes.
fn wait_readable(stream: &UnixStream, deadline: Option<Instant>) -> Result<(), Waiting> {
    loop {
        interrupted().map_err(Waiting::Interrupted)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        match poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(Waiting::Failed(io::ErrorKind::TimedOut.into())),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Waiting::Failed(errno.into())),
        }
    }
}

fn read(socket: &Path, answer: &[u8]) -> Result<Outcome, Error> {
    let foreign = |found: String| Error::Foreign { socket: socket.to_owned(), found };
    if answer.is_empty() {
        let source = io::ErrorKind::UnexpectedEof.into();
        return Err(Error::NoAnswer { socket: socket.to_owned(), source });
    }
    if answer.starts_with(b"HTTP/") {
        return Err(foreign("it is the Go reference's".to_owned()));
    }
    match serde_json::from_slice::<Versioned>(answer) {
        Err(_) => return Err(foreign("its answer is no JSON of ours".to_owned())),
        Ok(Versioned { protocol }) if protocol != PROTOCOL => {
            return Err(foreign(format!("it speaks protocol {protocol}, this plugin {PROTOCOL}")));
        }
        Ok(_) => {}
    }
    let reply: Reply = serde_json::from_slice(answer).map_err(|e| foreign(format!("its answer is odd: {e}")))?;
    match reply.outcome {
        Outcome::Error(ErrorReply { code, msg, details }) => Err(Error::Daemon(ErrorReply { code, msg, details })),
        outcome => Ok(outcome),
    }
}
