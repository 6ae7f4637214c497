//! Unix sockets of daemons: made in the place of what a killed daemon left, and asked one question a connection.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::json::{self, SyntaxError};
use crate::store::{self, StoreError};

/// For directories that are made: the socket's owner alone may look for it.
const DIR_MODE: u32 = 0o700;
/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 64 << 20;

/// Why there is no socket to listen at.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody accepts connections there.
    #[error("another daemon listens at {}", .0.display())]
    Taken(PathBuf),
    /// The directory or the socket cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket.
    #[error("no daemon has run here: there is no socket {}", .0.display())]
    Absent(PathBuf),
    /// The socket is there, and nobody listens.
    #[error("the daemon does not run: nobody listens at {}", .0.display())]
    Dead(PathBuf),
    /// It cannot be asked, or does not answer in time.
    #[error("the daemon at {} does not answer", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it answers is no JSON.
    #[error("the daemon at {} gives no answer that can be understood", path.display())]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: SyntaxError,
    },
}

/// Listens at `path` with these permissions for the socket. A file that a killed daemon left there is replaced.
///
/// # Errors
/// [`ListenError::Taken`] if a daemon that is alive listens there.
pub fn listen(path: &Path, mode: u32) -> Result<UnixListener, ListenError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    store::ensure_dir(dir, DIR_MODE)?;
    let bound = match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            if is_alive(path) {
                return Err(ListenError::Taken(path.to_owned()));
            }
            store::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let listener = bound.map_err(StoreError::on("listen at", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(StoreError::on("set the mode of", path))?;
    Ok(listener)
}

/// Whether somebody accepts connections at `path`.
#[must_use]
pub fn is_alive(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Sends `question` to the daemon at `path` as one line of JSON, and reads its answer, another one.
///
/// # Errors
/// [`AskError`]; each read and write may take `timeout`.
pub fn ask(path: &Path, question: &Value, timeout: Duration) -> Result<Value, AskError> {
    let silent = |source| AskError::Silent { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AskError::Absent(path.to_owned()),
        io::ErrorKind::ConnectionRefused => AskError::Dead(path.to_owned()),
        _ => silent(source),
    })?;
    stream.set_read_timeout(Some(timeout)).map_err(silent)?;
    stream.set_write_timeout(Some(timeout)).map_err(silent)?;
    stream.write_all(format!("{question}\n").as_bytes()).map_err(silent)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_until(b'\n', &mut answer).map_err(silent)?;
    json::parse(&answer).map_err(|source| AskError::Garbled { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_a_live_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/daemon.sock");
        assert!(matches!(ask(&path, &json!({}), TIMEOUT), Err(AskError::Absent(_))));
        let first = listen(&path, 0o600).unwrap();
        assert!(is_alive(&path));
        assert!(matches!(listen(&path, 0o600), Err(ListenError::Taken(_))));
        drop(first);
        assert!(path.exists() && !is_alive(&path));
        assert!(matches!(ask(&path, &json!({}), TIMEOUT), Err(AskError::Dead(_))));
        let _second = listen(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_question_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.sock");
        let listener = listen(&path, 0o600).unwrap();
        let daemon = std::thread::spawn(move || {
            for answer in ["{\"exit\": 0}\n", "nonsense\n", ""] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                assert_eq!(line, "{\"ask\":\"status\"}\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let asked = || ask(&path, &json!({"ask": "status"}), TIMEOUT);
        assert_eq!(asked().unwrap(), json!({"exit": 0}));
        assert!(matches!(asked(), Err(AskError::Garbled { .. })));
        assert!(matches!(asked(), Err(AskError::Garbled { .. })), "no answer at all");
        daemon.join().unwrap();
    }

    #[test]
    fn a_silent_daemon_is_not_waited_for_longer_than_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.sock");
        let _listener = listen(&path, 0o600).unwrap();
        let asked = ask(&path, &json!({}), Duration::from_millis(20));
        assert!(matches!(asked, Err(AskError::Silent { .. })), "{asked:?}");
    }
}
