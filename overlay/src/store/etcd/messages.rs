//! etcd's messages as its JSON gateway has them: 64-bit numbers are strings, bytes are base64, and what is zero, empty or
//! false is left out.

use libcni::base64;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

/// A number that is a string.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => {
            text.parse().map_err(|_not_a_number| de::Error::custom(format!("{text:?} is no number")))
        }
        Value::Number(number) => number.as_i64().ok_or_else(|| de::Error::custom(format!("{number} is too large"))),
        other => Err(de::Error::custom(format!("{other} is no number"))),
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    base64::decode(&text).ok_or_else(|| de::Error::custom("expected base64"))
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    /// Which cluster answers. (A `uint64`, which is only compared.)
    #[serde(deserialize_with = "unsigned")]
    pub(super) cluster_id: u64,
    #[serde(deserialize_with = "number")]
    pub(super) revision: i64,
}

fn unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_not_a_number| de::Error::custom(format!("{text:?} is no number")))
}

/// A key and what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Vec<u8>,
    #[serde(deserialize_with = "bytes")]
    pub(super) value: Vec<u8>,
    /// When it came to be; and when it was changed last.
    #[serde(deserialize_with = "number")]
    pub(super) create_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: i64,
    /// What it ends with; 0: never.
    #[serde(deserialize_with = "number")]
    pub(super) lease: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RangeResponse {
    pub(super) header: Header,
    pub(super) kvs: Vec<KeyValue>,
    /// There are more than were asked for.
    pub(super) more: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TxnResponse {
    pub(super) header: Header,
    /// Whether what was compared was so.
    pub(super) succeeded: bool,
    pub(super) responses: Vec<OpResponse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OpResponse {
    pub(super) response_range: Option<RangeResponse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LeaseResponse {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
    /// In seconds; 0: there is no such lease.
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WatchResponse {
    pub(super) header: Header,
    /// The first answer: the watch is there.
    pub(super) created: bool,
    /// The last answer.
    pub(super) canceled: bool,
    pub(super) cancel_reason: String,
    /// What is before this revision has been forgotten; 0: it is not that.
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: i64,
    pub(super) events: Vec<WatchEvent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WatchEvent {
    #[serde(rename = "type")]
    pub(super) kind: EventKind,
    pub(super) kv: KeyValue,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum EventKind {
    #[default]
    Put,
    Delete,
}

/// A line of a stream: an answer, or why there are no more.
#[derive(Debug, Deserialize)]
pub(super) struct Line<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Fault>,
}

/// An error, in the words of all versions: `{"error": "…", "code": 14, "message": "…"}`, in streams `grpc_code`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fault {
    #[serde(alias = "grpc_code")]
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) error: String,
}

impl Fault {
    pub(super) fn text(self) -> String {
        if self.message.is_empty() { self.error } else { self.message }
    }
}

/// One key.
pub(super) fn one(key: &str) -> Value {
    json!({ "key": base64::encode(key.as_bytes()) })
}

/// The keys after `after` that begin with `prefix`, at `revision` (0: now), at most `limit`.
pub(super) fn page(prefix: &str, after: Option<&[u8]>, revision: i64, limit: usize) -> Value {
    // The key that follows a key: itself and a zero byte.
    let first = after.map_or_else(|| prefix.as_bytes().to_vec(), |key| [key, &[0]].concat());
    json!({
        "key": base64::encode(&first), "range_end": base64::encode(&end_of(prefix)),
        "revision": revision.to_string(), "limit": limit.to_string(),
    })
}

/// The names of all keys that begin with `prefix`.
pub(super) fn names(prefix: &str) -> Value {
    json!({
        "key": base64::encode(prefix.as_bytes()), "range_end": base64::encode(&end_of(prefix)), "keys_only": true,
    })
}

/// A watch of all keys that begin with `prefix`, from `revision` on.
pub(super) fn watch(prefix: &str, revision: i64) -> Value {
    json!({ "create_request": {
        "key": base64::encode(prefix.as_bytes()), "range_end": base64::encode(&end_of(prefix)),
        "start_revision": revision.to_string(), "progress_notify": true,
    }})
}

/// The first key that does not begin with `prefix`, which ends with a character that is not the last of all (`/`).
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

/// As long as `key` was last changed at `revision` (0: as long as there is none).
pub(super) fn if_unchanged(key: &str, revision: i64) -> Value {
    json!({ "key": base64::encode(key.as_bytes()), "target": "MOD", "result": "EQUAL",
            "mod_revision": revision.to_string() })
}

/// Writes `key`; it ends with `lease` (0: never).
pub(super) fn put(key: &str, value: &[u8], lease: i64) -> Value {
    json!({ "request_put": { "key": base64::encode(key.as_bytes()), "value": base64::encode(value),
                             "lease": lease.to_string() } })
}

pub(super) fn delete(key: &str) -> Value {
    json!({ "request_delete_range": { "key": base64::encode(key.as_bytes()) } })
}

pub(super) fn range(range: Value) -> Value {
    json!({ "request_range": range })
}
