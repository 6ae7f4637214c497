//! A Kubernetes API in this process, for tests: nodes and overlaynodes, over HTTP.
//!
//! What it does as the real one (seen with kube-apiserver 1.34): one growing resourceVersion for all objects; lists in
//! pages with `limit` and `continue`; `fieldSelector=metadata.name=…`; watches that replay from a version, chunked, with
//! bookmarks; `sendInitialEvents`, or 422 as servers that lack it; 410 in the stream for versions that are forgotten;
//! strategic merge of annotations and conditions in `nodes/status`, which leaves the spec alone; server-side apply,
//! which changes nothing when nothing differs; owner references that take objects along; Status objects for refusals,
//! 403 for what
//! deploy/kubernetes/access.yaml does not allow.
//!
//! What it does not: TLS and credentials, validation by schema, other field managers and their conflicts, protobuf,
//! other kinds, subresources and selectors.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::wire::{Lines, apply, merge, not_found, refuse, send, status, yes};

/// The API; clones are the same one.
#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    /// Told of each change of the state.
    changes: watch::Sender<()>,
    address: SocketAddr,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By resource and name.
    objects: BTreeMap<(String, String), Value>,
    history: Vec<Happened>,
    /// Up to this version it is forgotten.
    forgotten: u64,
    /// Whether it knows `sendInitialEvents`.
    streams: bool,
    /// What deploy/kubernetes/access.yaml allows: verb and resource.
    allowed: HashSet<(String, String)>,
    down: bool,
    connections: Vec<AbortHandle>,
    requests: Vec<String>,
}

#[derive(Clone)]
struct Happened {
    version: u64,
    resource: String,
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`.
    kind: &'static str,
    object: Value,
}

/// What tests do with it.
impl Fake {
    /// Starts one, on a thread that lives as long as the process.
    pub(super) fn start() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let state = State { version: 100, streams: true, allowed: allowed(), ..State::default() };
                let fake = Fake {
                    state: Arc::new(Mutex::new(state)),
                    changes: watch::channel(()).0,
                    address: listener.local_addr().unwrap(),
                };
                sender.send(fake.clone()).unwrap();
                fake.serve(listener).await;
            });
        });
        receiver.recv().unwrap()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes or replaces an object.
    pub(super) fn put(&self, resource: &str, object: Value) {
        self.state().put(resource, object);
        self.changes.send_replace(());
    }

    pub(super) fn find(&self, resource: &str, name: &str) -> Option<Value> {
        self.state().objects.get(&(resource.to_owned(), name.to_owned())).cloned()
    }

    /// Removes an object, and what it owns.
    pub(super) fn remove(&self, resource: &str, name: &str) {
        self.state().remove(resource, name);
        self.changes.send_replace(());
    }

    pub(super) fn forbid(&self, verb: &str, resource: &str) {
        self.state().allowed.remove(&(verb.to_owned(), resource.to_owned()));
    }

    /// Again all that the manifest allows.
    pub(super) fn allow_all(&self) {
        self.state().allowed = allowed();
    }

    /// It does not know `sendInitialEvents`.
    pub(super) fn without_streams(&self) {
        self.state().streams = false;
    }

    /// Takes no connection any more and ends those that there are; or takes them again.
    pub(super) fn set_down(&self, down: bool) {
        let mut state = self.state();
        state.down = down;
        state.connections.drain(..).for_each(|connection| connection.abort());
    }

    /// Ends all connections once.
    pub(super) fn cut(&self) {
        self.set_down(false);
    }

    /// Forgets all that has happened so far.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.forgotten = state.version;
        state.history.clear();
    }

    /// Tells all that watch the present version.
    pub(super) fn bookmark(&self) {
        let mut state = self.state();
        for resource in ["nodes", "overlaynodes"] {
            let version = state.version;
            state.history.push(Happened {
                version,
                resource: resource.to_owned(),
                kind: "BOOKMARK",
                object: Value::Null,
            });
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// `METHOD path?query`, of all requests since this was asked last.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn put(&mut self, resource: &str, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let key = (resource.to_owned(), name.clone());
        let kind = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.version += 1;
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{name}-{}", self.version));
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key, object.clone());
        self.history.push(Happened {
            version: self.version,
            resource: resource.to_owned(),
            kind,
            object: object.clone(),
        });
        object
    }

    fn remove(&mut self, resource: &str, name: &str) -> Option<Value> {
        let mut object = self.objects.remove(&(resource.to_owned(), name.to_owned()))?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let resource = resource.to_owned();
        self.history.push(Happened { version: self.version, resource, kind: "DELETED", object: object.clone() });
        let uid = &object["metadata"]["uid"];
        let owned: Vec<_> =
            self.objects.iter().filter(|(_, other)| owner(other) == uid).map(|(key, _)| key.clone()).collect();
        for (resource, name) in owned {
            self.remove(&resource, &name);
        }
        Some(object)
    }
}

fn owner(object: &Value) -> &Value {
    &object["metadata"]["ownerReferences"][0]["uid"]
}

/// What the manifest's ClusterRole allows.
fn allowed() -> HashSet<(String, String)> {
    let manifest = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/access.yaml"));
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
    let role = documents.iter().find(|document| document["kind"] == "ClusterRole").unwrap();
    let strings = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
    let mut allowed = HashSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for resource in strings(&rule["resources"]) {
            let group = if resource == "overlaynodes" { "ferrule.dev" } else { "" };
            assert_eq!(strings(&rule["apiGroups"]), [group]);
            allowed.extend(strings(&rule["verbs"]).into_iter().map(|verb| (verb, resource.clone())));
        }
    }
    allowed
}

/// What it answers.
impl Fake {
    async fn serve(&self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let fake = self.clone();
            let mut state = self.state();
            if state.down {
                continue;
            }
            let connection = tokio::spawn(async move {
                let service = service_fn(|request| fake.answer(request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
            state.connections.push(connection.abort_handle());
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Lines>, Infallible> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let content = request.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.state().requests.push(format!("{method} {uri}"));
        let query: BTreeMap<String, String> = uri.query().unwrap_or("").split('&').filter_map(pair).collect();
        let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (resource, name, status) = match path.as_slice() {
            ["api", "v1", "nodes", rest @ ..] => ("nodes", rest.first(), rest.get(1)),
            ["apis", "ferrule.dev", "v1alpha1", "overlaynodes", rest @ ..] => {
                ("overlaynodes", rest.first(), rest.get(1))
            }
            _ => return Ok(refuse(404, "the server could not find the requested resource")),
        };
        let verb = match (&method, name) {
            (&Method::GET, Some(_)) => "get",
            (&Method::GET, None) if query.contains_key("watch") => "watch",
            (&Method::GET, None) => "list",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, _) => "delete",
            _ => return Ok(refuse(405, "the server does not allow this method on the requested resource")),
        };
        let full = if status.is_some() { format!("{resource}/status") } else { resource.to_owned() };
        // What is applied and not there is created.
        let is_there = name.is_none_or(|name| self.find(resource, name).is_some());
        let creates = (verb == "patch" && resource == "overlaynodes" && !is_there).then_some("create");
        for verb in [verb].into_iter().chain(creates) {
            if !self.state().allowed.contains(&(verb.to_owned(), full.clone())) {
                let user = "User \"system:serviceaccount:ferrule:overlayd\"";
                let message =
                    format!("{full} is forbidden: {user} cannot {verb} resource \"{full}\" at the cluster scope");
                return Ok(refuse(403, &message));
            }
        }
        let name = name.map_or("", |name| name);
        Ok(match verb {
            "get" => self.find(resource, name).map_or_else(|| not_found(resource, name), |object| yes(&object)),
            "list" => self.list(resource, &query),
            "watch" => self.watch(resource, &query),
            "delete" => self.delete(resource, name),
            _ => self.patch(resource, name, status.is_some(), content.as_deref(), &query, &body),
        })
    }

    fn list(&self, resource: &str, query: &BTreeMap<String, String>) -> Response<Lines> {
        let state = self.state();
        let after = query.get("continue").map_or("", String::as_str);
        let all: Vec<&Value> = state.selected(resource, query).collect();
        let limit = query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let rest: Vec<&Value> =
            all.into_iter().filter(|object| object["metadata"]["name"].as_str().unwrap() > after).collect();
        let page = rest.get(..limit).unwrap_or(&rest);
        let more = if page.len() < rest.len() { page[page.len() - 1]["metadata"]["name"].clone() } else { json!("") };
        yes(&json!({ "metadata": { "resourceVersion": state.version.to_string(), "continue": more }, "items": page }))
    }

    fn watch(&self, resource: &str, query: &BTreeMap<String, String>) -> Response<Lines> {
        let (sender, lines) = mpsc::unbounded_channel();
        let mut from: u64 = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let state = self.state();
        if query.contains_key("sendInitialEvents") {
            if !state.streams {
                let message = "ListOptions is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden \
                               for watch unless the WatchList feature gate is enabled";
                return refuse(422, message);
            }
            for object in state.selected(resource, query) {
                send(&sender, &json!({ "type": "ADDED", "object": object }));
            }
            from = state.version;
            let metadata =
                json!({ "resourceVersion": from.to_string(), "annotations": { "k8s.io/initial-events-end": "true" } });
            send(
                &sender,
                &json!({ "type": "BOOKMARK", "object": { "kind": "x", "apiVersion": "y", "metadata": metadata } }),
            );
        } else if from < state.forgotten {
            let status = status(410, &format!("too old resource version: {from} ({})", state.forgotten));
            send(&sender, &json!({ "type": "ERROR", "object": status }));
            return Response::new(Lines(lines));
        }
        // Bookmarks do not move the version; what is here already is found by its place.
        let next = state.history.iter().position(|happened| happened.version > from).unwrap_or(state.history.len());
        drop(state);
        let name = selected_name(query).map(ToOwned::to_owned);
        tokio::spawn(self.clone().feed(resource.to_owned(), name, next, sender));
        Response::new(Lines(lines))
    }

    /// Sends what happens, until nobody listens.
    async fn feed(self, resource: String, name: Option<String>, mut next: usize, sender: mpsc::UnboundedSender<Bytes>) {
        let mut changes = self.changes.subscribe();
        loop {
            let news: Vec<Happened> = {
                let state = self.state();
                let news = state.history.get(next..).unwrap_or_default().to_vec();
                next = state.history.len();
                news
            };
            for Happened { version, kind, object, .. } in
                news.into_iter().filter(|happened| happened.resource == resource)
            {
                let object = if kind == "BOOKMARK" {
                    json!({ "kind": "x", "apiVersion": "y", "metadata": { "resourceVersion": version.to_string() } })
                } else if name.as_deref().is_some_and(|name| object["metadata"]["name"] != name) {
                    continue;
                } else {
                    object
                };
                send(&sender, &json!({ "type": kind, "object": object }));
            }
            tokio::task::yield_now().await;
            if changes.changed().await.is_err() || sender.is_closed() {
                return;
            }
        }
    }

    fn delete(&self, resource: &str, name: &str) -> Response<Lines> {
        let removed = self.state().remove(resource, name);
        self.changes.send_replace(());
        removed.map_or_else(|| not_found(resource, name), |_| yes(&json!({ "kind": "Status", "status": "Success" })))
    }

    fn patch(
        &self,
        resource: &str,
        name: &str,
        of_status: bool,
        content: Option<&str>,
        query: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Response<Lines> {
        let patch: Value = serde_json::from_slice(body).unwrap();
        let mut state = self.state();
        let there = state.objects.get(&(resource.to_owned(), name.to_owned())).cloned();
        let changed = match (content, there.clone()) {
            (Some("application/apply-patch+yaml"), there) if query.contains_key("fieldManager") => apply(there, &patch),
            (Some("application/strategic-merge-patch+json"), Some(object)) if of_status => merge(object, &patch),
            (_, None) => return not_found(resource, name),
            _ => return refuse(415, &format!("the body of the request was in an unknown format: {content:?}")),
        };
        if there.as_ref() == Some(&changed) {
            return yes(&changed);
        }
        let object = state.put(resource, changed);
        drop(state);
        self.changes.send_replace(());
        yes(&object)
    }
}

impl State {
    fn selected<'a>(
        &'a self,
        resource: &'a str,
        query: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Value> {
        let of_resource = self.objects.iter().filter(move |((of, _), _)| of == resource);
        of_resource
            .filter(|((_, name), _)| selected_name(query).is_none_or(|only| only == name))
            .map(|(_, object)| object)
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), value.replace("%3D", "=").replace("%2F", "/")))
}

fn selected_name(query: &BTreeMap<String, String>) -> Option<&str> {
    query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="))
}
