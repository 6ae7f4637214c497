//! All objects of one kind, and what becomes of them: listed once, then watched for as long as the API remembers.
//!
//! The list comes object by object as the beginning of the watch where the API can do that (`sendInitialEvents`,
//! Kubernetes 1.34 with etcd 3.5, and some before), else in pages: at no time is more in memory than what is kept, and one page.
//! Bookmarks keep the place in a quiet watch fresh, and show that the connection lives.

use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use super::api::{Api, ApiError, Call};
use crate::store::pause::{Pauses, random};

/// The API sends a bookmark each minute; a connection on which nothing came for so long is dead.
const SILENCE: Duration = Duration::from_secs(150);
/// The same before the first object: an API that does not know `sendInitialEvents` never says that it is done.
const SILENCE_AT_FIRST: Duration = Duration::from_secs(10);
/// Objects in a page.
const PAGE: u32 = 250;
/// Bytes of an event; the API takes objects of 3 MB at most.
const MAX_EVENT: usize = 8 << 20;
/// The API ends a watch after so many seconds, and up to a quarter less, so that not all nodes come back at once.
const WATCH_SECONDS: f64 = 290.0;

/// What is watched.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Such as `/api/v1/nodes`.
    pub(super) path: &'static str,
    /// In the words of RBAC.
    pub(super) resource: &'static str,
    /// Only the object with this name.
    pub(super) name: Option<String>,
}

/// An object that can be watched.
pub(super) trait Object: DeserializeOwned {
    /// Its `metadata.resourceVersion`.
    fn version(&self) -> &str;
}

/// What is seen.
#[derive(Debug)]
pub(super) enum Sight<T> {
    /// All there are.
    All(Vec<T>),
    /// Made, or changed.
    Changed(T),
    Gone(T),
    /// The API answers, and nothing was missed.
    Resumed,
}

/// Watches for ever; `tell` hears what is seen, and what goes wrong each time it does.
pub(super) async fn watch<T: Object>(api: &Api, target: &Target, mut tell: impl FnMut(Result<Sight<T>, ApiError>)) {
    let mut watch = Watch { api, target, place: None, streams: true };
    let mut pauses = Pauses::default();
    loop {
        // A server that ends each watch at once is not asked more than once a second.
        let not_before = Instant::now() + Duration::from_secs(1);
        match watch.once(&mut tell).await {
            Ok(()) => pauses.reset(),
            Err(ApiError::Gone { .. }) => watch.place = None,
            Err(error) if watch.cannot_stream(&error) => {
                watch.streams = false;
                continue;
            }
            Err(error) => {
                tell(Err(error));
                tokio::time::sleep(pauses.next()).await;
            }
        }
        sleep_until(not_before).await;
    }
}

struct Watch<'a> {
    api: &'a Api,
    target: &'a Target,
    /// The version of the last thing that was seen; none before all was seen.
    place: Option<String>,
    /// Whether the API can begin a watch with what there is.
    streams: bool,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    more: String,
}

impl Watch<'_> {
    /// One connection, to its end.
    async fn once<T: Object>(&mut self, tell: &mut impl FnMut(Result<Sight<T>, ApiError>)) -> Result<(), ApiError> {
        if self.place.is_none() && !self.streams {
            let (all, place) = self.list().await?;
            self.place = Some(place);
            tell(Ok(Sight::All(all)));
        }
        let mut events = self.open().await?;
        if self.place.is_none() {
            let (all, place) = initial(&mut events).await?;
            self.place = Some(place);
            tell(Ok(Sight::All(all)));
        } else {
            tell(Ok(Sight::Resumed));
        }
        while let Some(event) = events.next::<T>(SILENCE).await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.place = Some(object.version().to_owned());
                    tell(Ok(Sight::Changed(object)));
                }
                WatchEvent::Deleted(object) => {
                    self.place = Some(object.version().to_owned());
                    tell(Ok(Sight::Gone(object)));
                }
                WatchEvent::Bookmark(mark) => self.place = Some(mark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(ApiError::of_event(events.call, *status)),
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<Events, ApiError> {
        let call = Call { verb: "watch", resource: self.target.resource };
        let mut params = WatchParams { field_selector: self.field_selector(), ..WatchParams::default() };
        let seconds = WATCH_SECONDS * (1.0 - random() / 4.0);
        // A number between 217 and 290: nothing is lost.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 217 and 290")]
        let seconds = seconds as u32;
        params.timeout = Some(seconds);
        params.send_initial_events = self.place.is_none();
        let request = Request::new(self.target.path).watch(&params, self.place.as_deref().unwrap_or(""));
        let answer = self.api.open(call, request).await?;
        Ok(Events { call, body: answer.into_body(), buffer: Vec::new(), given: 0, searched: 0 })
    }

    /// All objects by pages, and the version from which to watch.
    async fn list<T: Object>(&self) -> Result<(Vec<T>, String), ApiError> {
        let call = Call { verb: "list", resource: self.target.resource };
        let mut params =
            ListParams { field_selector: self.field_selector(), limit: Some(PAGE), ..ListParams::default() };
        let mut all = Vec::new();
        loop {
            let page: Page<T> = self.api.ask(call, Request::new(self.target.path).list(&params)).await?;
            all.extend(page.items);
            if page.metadata.more.is_empty() {
                return Ok((all, page.metadata.resource_version));
            }
            params.continue_token = Some(page.metadata.more);
        }
    }

    fn field_selector(&self) -> Option<String> {
        self.target.name.as_ref().map(|name| format!("metadata.name={name}"))
    }

    /// Whether the API may be one that cannot begin a watch with what there is: it does not know the word, has it switched
    /// off (422), has an etcd too old for it (500), or is behind something that cuts long answers. Pages always work.
    fn cannot_stream(&self, error: &ApiError) -> bool {
        let refuses = matches!(error, ApiError::Refused { .. } | ApiError::Silent { .. } | ApiError::Ended { .. });
        self.streams && self.place.is_none() && refuses
    }
}

/// What there is at the beginning of a watch, and the version of it.
async fn initial<T: Object>(events: &mut Events) -> Result<(Vec<T>, String), ApiError> {
    let mut all = Vec::new();
    while let Some(event) = events.next::<T>(SILENCE_AT_FIRST).await? {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => all.push(object),
            WatchEvent::Bookmark(mark) if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") => {
                return Ok((all, mark.metadata.resource_version));
            }
            WatchEvent::Error(status) => return Err(ApiError::of_event(events.call, *status)),
            WatchEvent::Bookmark(_) | WatchEvent::Deleted(_) => {}
        }
    }
    Err(ApiError::Ended { call: events.call })
}

/// The lines of a watch.
struct Events {
    call: Call,
    body: Body,
    buffer: Vec<u8>,
    /// Up to here the buffer was given out.
    given: usize,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl Events {
    /// The next event, or none when the server ends the watch.
    async fn next<T: DeserializeOwned>(&mut self, silence: Duration) -> Result<Option<WatchEvent<T>>, ApiError> {
        let call = self.call;
        loop {
            if let Some(line) = self.line() {
                let event = serde_json::from_slice(line).map_err(|source| ApiError::Unreadable { call, source })?;
                return Ok(Some(event));
            }
            if self.buffer.len() > MAX_EVENT {
                return Err(ApiError::Length { call, limit: MAX_EVENT });
            }
            let Ok(frame) = timeout(silence, self.body.frame()).await else {
                return Err(ApiError::Silent { call });
            };
            match frame {
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                // Servers and what is between often end a watch without closing it properly.
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// The next line that is here; if none is, what was given out is forgotten.
    fn line(&mut self) -> Option<&[u8]> {
        let end = self.buffer.get(self.searched..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
        let Some(end) = end else {
            self.buffer.drain(..self.given);
            self.given = 0;
            self.searched = self.buffer.len();
            return None;
        };
        let begin = self.given;
        self.given = self.searched + end + 1;
        self.searched = self.given;
        self.buffer.get(begin..self.given)
    }
}
