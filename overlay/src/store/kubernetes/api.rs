//! Requests to the Kubernetes API: kube's client gives the connection, TLS and credentials; the rest is here, so that
//! answers are limited, times out, and say what was asked for when they are no.

use std::fmt;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use libcni::error::causes;
use serde::de::DeserializeOwned;

/// How long an answer may take to begin, and one that is no watch to end.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes of an answer: a page of large Nodes is a few megabytes.
const MAX_ANSWER: usize = 64 << 20;
/// Bytes of the explanation why it is no.
const MAX_REFUSAL: usize = 64 << 10;

/// The API of one cluster.
#[derive(Clone)]
pub(super) struct Api(Client);

/// What is asked for, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) verb: &'static str,
    /// With its group, such as `overlaynodes.ferrule.dev`.
    pub(super) resource: &'static str,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

/// The API did not do what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("the Kubernetes API does not answer ({call})")]
    Unreachable {
        call: Call,
        #[source]
        source: kube::Error,
    },
    #[error("the Kubernetes API did not answer within {} s ({call})", ANSWER.as_secs())]
    Late { call: Call },
    #[error("the Kubernetes API fell silent ({call})")]
    Silent { call: Call },
    #[error("the Kubernetes API ended before it had told all ({call})")]
    Ended { call: Call },
    #[error(
        "the Kubernetes API does not accept our credentials ({call}): {message} \
         (hint: look at the service account's token, or the kubeconfig)"
    )]
    Unauthorized { call: Call, message: String },
    #[error(
        "the Kubernetes API forbids it: {message} (hint: the ClusterRole of this daemon must allow {} of {})",
        call.verb, call.resource
    )]
    Forbidden { call: Call, message: String },
    /// There is no such object, or no such kind of object.
    #[error("the Kubernetes API has no such thing ({call}): {message}{}", hint_of_kind(call))]
    NotFound { call: Call, message: String },
    /// What a watch would go on from is too long ago.
    #[error("the Kubernetes API does not remember that far back ({call}): {message}")]
    Gone { call: Call, message: String },
    #[error("the Kubernetes API refuses ({call}): {code} {message}")]
    Refused { call: Call, code: u16, message: String },
    #[error("the Kubernetes API's answer cannot be read ({call})")]
    Unreadable {
        call: Call,
        #[source]
        source: serde_json::Error,
    },
    #[error("the Kubernetes API's answer is longer than {limit} bytes, or ended early ({call})")]
    Length { call: Call, limit: usize },
    #[error("cannot make the request ({call})")]
    Request {
        call: Call,
        #[source]
        source: kube::core::request::Error,
    },
}

/// Our own kind of object must have been made known to the API first.
fn hint_of_kind(call: &Call) -> &'static str {
    if call.resource.contains("ferrule.dev") && matches!(call.verb, "list" | "watch") {
        " (hint: the CustomResourceDefinition overlaynodes.ferrule.dev must be applied first)"
    } else {
        ""
    }
}

impl ApiError {
    /// It, with its causes.
    pub(super) fn text(&self) -> String {
        causes(Some(self))
    }

    fn of(call: Call, code: u16, status: Status) -> Self {
        let Status { message, .. } = status;
        match code {
            401 => Self::Unauthorized { call, message },
            403 => Self::Forbidden { call, message },
            404 => Self::NotFound { call, message },
            410 => Self::Gone { call, message },
            _ => Self::Refused { call, code, message },
        }
    }

    /// The error that a watch tells in its stream.
    pub(super) fn of_event(call: Call, status: Status) -> Self {
        Self::of(call, status.code, status)
    }
}

impl Api {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// The beginning of an answer that is yes.
    pub(super) async fn open(
        &self,
        call: Call,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Response<Body>, ApiError> {
        let request = request.map_err(|source| ApiError::Request { call, source })?.map(Body::from);
        let answer = tokio::time::timeout(ANSWER, self.0.send(request)).await;
        // Elapsed says nothing that is not said here.
        let Ok(answer) = answer else { return Err(ApiError::Late { call }) };
        let answer = answer.map_err(|source| ApiError::Unreachable { call, source })?;
        let code = answer.status();
        if code.is_success() { Ok(answer) } else { Err(refusal(call, code, answer.into_body()).await) }
    }

    /// A whole answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: Call,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, ApiError> {
        let body = self.open(call, request).await?.into_body();
        let whole = tokio::time::timeout(ANSWER, Limited::new(body, MAX_ANSWER).collect()).await;
        let Ok(whole) = whole else { return Err(ApiError::Late { call }) };
        let Ok(whole) = whole else { return Err(ApiError::Length { call, limit: MAX_ANSWER }) };
        serde_json::from_slice(&whole.to_bytes()).map_err(|source| ApiError::Unreadable { call, source })
    }
}

/// Why the answer is no, as far as it says so.
async fn refusal(call: Call, code: StatusCode, body: Body) -> ApiError {
    let body = tokio::time::timeout(ANSWER, Limited::new(body, MAX_REFUSAL).collect()).await;
    let said = match body {
        Ok(Ok(body)) => serde_json::from_slice::<Status>(&body.to_bytes()).ok(),
        _ => None,
    };
    // What is between us and the API may answer with anything.
    let mut status = said.unwrap_or_default();
    if status.message.is_empty() {
        status.message = code.canonical_reason().unwrap_or("no reason given").to_owned();
    }
    ApiError::of(call, code.as_u16(), status)
}
