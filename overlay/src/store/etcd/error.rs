//! What can go wrong with etcd.

use std::path::PathBuf;

use crate::tls::TlsError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EtcdError {
    #[error("store.etcd.endpoints: {url:?} is no URL of a server (http://HOST:PORT or https://HOST:PORT)")]
    Endpoint { url: String },
    #[error("store.etcd.endpoints is empty: there is no server to ask")]
    NoEndpoint,
    #[error("store.etcd: username and password_file belong together")]
    HalfLogin,
    #[error("cannot read the password in {path}", path = .path.display())]
    Password { path: PathBuf, source: std::io::Error },
    #[error("TLS to etcd")]
    Tls(#[from] TlsError),
    #[error("etcd at {endpoint} cannot be reached")]
    Unreachable { endpoint: String, source: Cause },
    #[error("etcd at {endpoint} does not answer within {seconds} s")]
    Timeout { endpoint: String, seconds: u64 },
    #[error("etcd at {endpoint} refuses: {message} (code {code})")]
    Refused { endpoint: String, code: i64, message: String },
    #[error("etcd at {endpoint} sends what is not understood: {text:?}")]
    Answer { endpoint: String, text: String, source: serde_json::Error },
    #[error("etcd at {endpoint} sends more than {limit} bytes at once")]
    TooLarge { endpoint: String, limit: usize },
    #[error("etcd at {endpoint} ended the watch: {reason}")]
    WatchEnded { endpoint: String, reason: String },
    #[error(
        "etcd has no key {key} (hint: etcdctl put {key} '{{\"Network\": \"10.42.0.0/16\", \"Backend\": {{\"Type\": \"vxlan\"}}}}')"
    )]
    NoNetwork { key: String },
    #[error("etcd's key {key}")]
    Network { key: String, source: Cause },
    #[error(
        "no subnet is free in {pool}: {taken} nodes have one (hint: remove keys of nodes that are gone, or make Network larger)"
    )]
    Exhausted { pool: String, taken: usize },
    #[error("this node has no address that others reach it by")]
    NoAddress,
    #[error("another node changed key {key} at the same time")]
    Collision { key: String },
}

/// gRPC's codes.
const DEADLINE_EXCEEDED: i64 = 4;
const RESOURCE_EXHAUSTED: i64 = 8;
const UNAVAILABLE: i64 = 14;
const UNAUTHENTICATED: i64 = 16;

impl EtcdError {
    /// Whether another server may answer better.
    pub(super) fn is_of_server(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Answer { .. } => true,
            Self::Refused { code, .. } => matches!(*code, DEADLINE_EXCEEDED | UNAVAILABLE),
            _ => false,
        }
    }

    /// Whether the token is no longer good.
    pub(super) fn is_of_token(&self) -> bool {
        match self {
            // A change of users makes tokens old; that is no UNAUTHENTICATED.
            Self::Refused { code, message, .. } => {
                *code == UNAUTHENTICATED || message.contains("revision of auth store is old")
            }
            _ => false,
        }
    }

    /// Whether fewer at once may do.
    pub(super) fn is_of_size(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Refused { code, message, .. } => *code == RESOURCE_EXHAUSTED && message.contains("larger than max"),
            _ => false,
        }
    }
}
