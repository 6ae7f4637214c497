//! What the API in this process makes of a patch, and how it answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use hyper::body::{Body, Bytes, Frame};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

/// Server-side apply by the only field manager there is.
pub(super) fn apply(there: Option<Value>, patch: &Value) -> Value {
    let mut object = there.unwrap_or_else(|| patch.clone());
    object["spec"] = patch["spec"].clone();
    object["metadata"]["ownerReferences"] = patch["metadata"]["ownerReferences"].clone();
    object
}

/// Strategic merge: annotations by key, null removes; conditions by type.
pub(super) fn merge(mut object: Value, patch: &Value) -> Value {
    let mut annotations = object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    for (key, value) in patch["metadata"]["annotations"].as_object().unwrap_or(&Map::new()) {
        if value.is_null() {
            annotations.remove(key)
        } else {
            annotations.insert(key.clone(), value.clone())
        };
    }
    object["metadata"]["annotations"] = Value::Object(annotations);
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for condition in patch["status"]["conditions"].as_array().unwrap_or(&Vec::new()) {
        conditions.retain(|other| other["type"] != condition["type"]);
        conditions.push(condition.clone());
    }
    object["status"]["conditions"] = Value::Array(conditions);
    object
}

pub(super) fn status(code: u16, message: &str) -> Value {
    let reason = if code == 410 { "Expired" } else { "" };
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code })
}

pub(super) fn refuse(code: u16, message: &str) -> Response<Lines> {
    let mut response = yes(&status(code, message));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

pub(super) fn not_found(resource: &str, name: &str) -> Response<Lines> {
    refuse(404, &format!("{resource} \"{name}\" not found"))
}

pub(super) fn yes(value: &Value) -> Response<Lines> {
    let (sender, lines) = mpsc::unbounded_channel();
    send(&sender, value);
    Response::new(Lines(lines))
}

/// A line, in two pieces, as it may come over a network.
pub(super) fn send(sender: &mpsc::UnboundedSender<Bytes>, value: &Value) {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    let rest = line.split_off(line.len() / 2);
    let _ = sender.send(line.into());
    let _ = sender.send(rest.into());
}

/// A body that goes on as long as there is somebody who sends.
pub(super) struct Lines(pub(super) mpsc::UnboundedReceiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
