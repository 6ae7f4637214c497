//! The unix socket that `cnitool overlay` and the plugin's STATUS ask: a line of JSON, and a line of JSON back.
//!
//! ```text
//! {"ask": "status" | "peers" | "diff" | "explain" | "ready", "ip": "10.42.7.9", "format": "text" | "json"}
//! {"exit": 0, "output": "what is to be printed"}
//! ```
//! `exit` is 1 if what was asked for is not as it should be: not ready, a difference, a fault. A question that is none is
//! answered with 2.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libcni::error::causes;
use libcni::json::{self, FieldError};
use libcni::socket::{self, ListenError};
use libcni::store::{self, StoreError};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::question::{Engine, Silence};
use crate::render;

/// For root alone.
const SOCKET_MODE: u32 = 0o600;
/// The longest question, in bytes.
const QUESTION_MAX: u64 = 4096;
/// How long somebody who is connected may take to ask, or to read.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a connection that could not be accepted: there may be no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// A socket; its file goes with it.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Question {
    ask: Subject,
    #[serde(default)]
    ip: Option<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Subject {
    Status,
    Peers,
    Diff,
    Explain,
    Ready,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

/// What goes back.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    exit: u8,
    output: String,
}

/// Why a question gets no answer.
#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error(transparent)]
    Syntax(#[from] json::SyntaxError),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Silence(#[from] Silence),
}

impl Socket {
    /// Listens at `path`.
    ///
    /// # Errors
    /// [`ListenError::Taken`] if another daemon does.
    pub(crate) fn listen(path: &Path) -> Result<Self, ListenError> {
        let listener = socket::listen(path, SOCKET_MODE)?;
        let to_runtime = |listener: std::os::unix::net::UnixListener| {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        };
        let listener = to_runtime(listener).map_err(StoreError::on("use", path))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers, for ever.
    pub(crate) async fn serve(self, engine: Engine) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(spawn_local(converse(stream, engine.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the socket cannot be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next daemon replaces it.
        let _ = store::remove_file(&self.path);
    }
}

async fn converse(stream: UnixStream, engine: Engine) {
    let is_allowed = |uid| uid == 0 || uid == geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if is_allowed(peer.uid()) => {}
        Ok(peer) => return tracing::warn!(uid = peer.uid(), "somebody who is not root asks at the socket"),
        Err(error) => return tracing::warn!(%error, "nobody knows who asks at the socket"),
    }
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader.take(QUESTION_MAX));
    let Ok(Ok(length)) = timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await else { return };
    if length == 0 {
        // Whoever wanted to know only whether somebody listens.
        return;
    }
    let answer = answer(&line, &engine).await.unwrap_or_else(|error| {
        let exit = if matches!(error, QuestionError::Silence(_)) { 1 } else { 2 };
        Answer { exit, output: format!("{}\n", causes(Some(&error))) }
    });
    let line = format!("{}\n", json!({"exit": answer.exit, "output": answer.output}));
    // Whoever does not read it does not want it.
    let _ = timeout(PATIENCE, writer.write_all(line.as_bytes())).await;
}

async fn answer(line: &[u8], engine: &Engine) -> Result<Answer, QuestionError> {
    let value = json::parse(line)?;
    let Question { ask, ip, format } = json::decode(&value)?;
    Ok(match ask {
        Subject::Status => {
            let status = engine.status().await?;
            Answer::of(!status.not_ready.is_empty(), format, &status, render::status)
        }
        Subject::Ready => {
            let reasons = engine.status().await?.not_ready;
            Answer::of(!reasons.is_empty(), format, &reasons, |reasons| reasons.join("; "))
        }
        Subject::Peers => Answer::of(false, format, &engine.peers().await?, |peers| render::peers(peers)),
        Subject::Diff => match engine.diff().await? {
            Ok(differences) => Answer::of(!differences.is_empty(), format, &differences, |all| render::diff(all)),
            Err(why) => Answer { exit: 1, output: format!("{why}\n") },
        },
        Subject::Explain => {
            let ip = ip.unwrap_or_default();
            let expected = || FieldError::new("ip", format_args!("{ip:?}"), "an address");
            let explanation = engine.explain(ip.parse::<IpAddr>().ok().ok_or_else(expected)?).await?;
            Answer::of(!explanation.faults.is_empty(), format, &explanation, render::explanation)
        }
    })
}

impl Answer {
    fn of<T: Serialize>(is_wrong: bool, format: Format, value: &T, text: impl FnOnce(&T) -> String) -> Self {
        let output = match format {
            Format::Text => text(value),
            Format::Json => format!("{}\n", json::pretty(&json!(value))),
        };
        Self { exit: u8::from(is_wrong), output }
    }
}
