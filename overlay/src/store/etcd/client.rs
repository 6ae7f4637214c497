//! A client of etcd's JSON gateway: requests to whichever server answers, with a token and certificates that are renewed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use libcni::error::causes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::EtcdConf;
use super::error::EtcdError;
use super::login::{Authenticated, Login};
use super::messages::Fault;
use super::stream::{Stream, result};
use crate::tls::{self, Certificates, ExpiryWatch, TlsFiles};

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How long a request may take, and a list of all nodes.
const REQUEST_S: u64 = 10;
const LIST_S: u64 = 60;
const CONNECT: Duration = Duration::from_secs(3);
/// A peer that is gone without a word is noticed after the sum of these, on the watch, which is otherwise silent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// Of an answer, in bytes: 10,000 nodes are 5 MB. (Less in tests, which would spend half a minute on reading as much.)
pub(super) const ANSWER_MAX: usize = if cfg!(test) { 8 << 20 } else { 64 << 20 };

/// A client of a cluster.
#[derive(Debug)]
pub(super) struct Client {
    endpoints: Vec<String>,
    /// The one that is asked: an index, counted up when it fails.
    current: AtomicUsize,
    login: Option<Login>,
    files: TlsFiles,
    session: Mutex<Session>,
}

/// What is made anew when certificates or tokens change.
#[derive(Debug)]
struct Session {
    http: Http,
    /// What `http` was made of; none: there is no TLS.
    certificates: Option<Certificates>,
    token: Option<HeaderValue>,
    expiry: ExpiryWatch,
}

impl Client {
    /// # Errors
    /// [`EtcdError`]: the configuration or the certificates.
    pub(super) fn new(conf: &EtcdConf, expiry: ExpiryWatch) -> Result<Self, EtcdError> {
        let endpoints = conf.endpoints.iter().map(|url| endpoint(url)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(EtcdError::NoEndpoint);
        }
        let login = Login::new(conf)?;
        let files = TlsFiles { ca: conf.ca_file.clone(), cert: conf.cert_file.clone(), key: conf.key_file.clone() };
        let secure = endpoints.iter().any(|url| url.starts_with("https:"));
        let certificates = if secure { Some(files.read()?) } else { None };
        let mut session = Session { http: http(certificates.as_ref())?, certificates: None, token: None, expiry };
        if let Some(certificates) = certificates {
            session.look(&certificates);
            session.certificates = Some(certificates);
        }
        Ok(Self { endpoints, current: AtomicUsize::new(0), login, files, session: Mutex::new(session) })
    }

    /// Asks whichever server answers.
    ///
    /// # Errors
    /// What the last of them says.
    pub(super) async fn call<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, EtcdError> {
        self.anywhere(path, body, REQUEST_S).await
    }

    /// As [`Client::call`], where the answer is a stream, of which there is one line.
    pub(super) async fn call_stream<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, EtcdError> {
        let server = self.current.load(Ordering::Relaxed);
        result(self.call(path, body).await?, self.endpoint(server))
    }

    /// As [`Client::call`], with more time.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, EtcdError> {
        self.anywhere(path, body, LIST_S).await
    }

    async fn anywhere<T: DeserializeOwned>(&self, path: &str, body: &Value, seconds: u64) -> Result<T, EtcdError> {
        let mut tries = 1;
        loop {
            let server = self.current.load(Ordering::Relaxed);
            match self.call_at(server, path, body, seconds).await {
                Err(error) if error.is_of_server() => {
                    self.leave(server);
                    if tries == self.endpoints.len() {
                        return Err(error);
                    }
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Asks this server, and no other.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub(super) async fn call_at<T: DeserializeOwned>(
        &self,
        server: usize,
        path: &str,
        body: &Value,
        seconds: u64,
    ) -> Result<T, EtcdError> {
        let endpoint = self.endpoint(server);
        let asked = async {
            let response = self.send(server, path, body).await?;
            parse(&whole(response, endpoint).await?, endpoint)
        };
        within(seconds, endpoint, asked).await
    }

    /// Sends a request, with a new token if the old one is no longer good.
    async fn send(&self, server: usize, path: &str, body: &Value) -> Result<Response<Incoming>, EtcdError> {
        let token = self.token(server).await?;
        match self.send_with(server, path, body, token.value).await {
            Err(error) if error.is_of_token() && !token.is_new => {
                self.forget_token();
                let token = self.token(server).await?.value;
                self.send_with(server, path, body, token).await
            }
            answer => answer,
        }
    }

    async fn send_with(
        &self,
        server: usize,
        path: &str,
        body: &Value,
        token: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, EtcdError> {
        let endpoint = self.endpoint(server);
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| EtcdError::Unreachable {
            endpoint: endpoint.to_owned(),
            source,
        };
        let mut request = Request::post(format!("{endpoint}{path}"))
            .header(CONTENT_TYPE, "application/json")
            // For watches: a server without a leader says so instead of being silent.
            .header("Grpc-Metadata-Hasleader", "true")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| unreachable(error.into()))?;
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let http = self.session().http.clone();
        let response = http.request(request).await.map_err(|error| unreachable(error.into()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = whole(response, endpoint).await?;
        let fault = serde_json::from_slice::<Fault>(&bytes).unwrap_or_default();
        let code = fault.code;
        let mut message = fault.text();
        if message.is_empty() {
            // Not etcd, but something before it.
            return Err(unreachable(format!("{status}: {}", shown(&bytes)).into()));
        }
        message.truncate(message.floor_char_boundary(500));
        Err(EtcdError::Refused { endpoint: endpoint.to_owned(), code, message })
    }

    /// Begins a request whose answer has no end.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub(super) async fn stream(&self, path: &str, body: &Value) -> Result<Stream, EtcdError> {
        let server = self.current.load(Ordering::Relaxed);
        let endpoint = self.endpoint(server);
        let response = within(REQUEST_S, endpoint, self.send(server, path, body)).await;
        let response = response.inspect_err(|error| {
            if error.is_of_server() {
                self.leave(server);
            }
        })?;
        Ok(Stream::new(server, endpoint, response.into_body()))
    }

    /// The token that requests carry, if there is a login.
    async fn token(&self, server: usize) -> Result<Token, EtcdError> {
        let Some(login) = &self.login else { return Ok(Token { value: None, is_new: false }) };
        if let Some(token) = self.session().token.clone() {
            return Ok(Token { value: Some(token), is_new: false });
        }
        let response = self.send_with(server, "/v3/auth/authenticate", &login.request()?, None).await?;
        let endpoint = self.endpoint(server);
        let answer: Authenticated = parse(&whole(response, endpoint).await?, endpoint)?;
        let mut token = HeaderValue::from_str(&answer.token)
            .map_err(|source| EtcdError::Unreachable { endpoint: endpoint.to_owned(), source: source.into() })?;
        token.set_sensitive(true);
        self.session().token = Some(token.clone());
        Ok(Token { value: Some(token), is_new: true })
    }

    /// `server` failed: another one is asked from now on, if it still is the one; with new certificates, if there are any,
    /// as that may be why.
    pub(super) fn leave(&self, server: usize) {
        self.refresh();
        let next = server.wrapping_add(1);
        let _ = self.current.compare_exchange(server, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The next request carries a new token.
    pub(super) fn forget_token(&self) {
        self.session().token = None;
    }

    fn endpoint(&self, server: usize) -> &str {
        self.endpoints.get(server % self.endpoints.len()).map_or("", String::as_str)
    }

    /// Reads the certificates again; tells when they end. True: they have changed, and new connections are made with
    /// them; those that are open were not. What cannot be read is logged, and the old ones are kept.
    pub(super) fn refresh(&self) -> bool {
        let mut session = self.session();
        if session.certificates.is_none() {
            return false;
        }
        let read = self.files.read().map_err(EtcdError::Tls);
        let renewed = read.and_then(|certificates| {
            session.look(&certificates);
            if session.certificates.as_ref() == Some(&certificates) {
                return Ok(false);
            }
            session.http = http(Some(&certificates))?;
            session.certificates = Some(certificates);
            Ok(true)
        });
        match renewed {
            Ok(true) => tracing::info!("etcd is spoken to with new certificates"),
            Ok(false) => {}
            // Half written, perhaps: the next look will tell.
            Err(ref error) => tracing::warn!(error = causes(Some(error)), "certificates cannot be read again"),
        }
        renewed.unwrap_or(false)
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        // Nothing that is done under the lock panics half way.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn look(&mut self, certificates: &Certificates) {
        for (path, pem) in certificates.dated() {
            self.expiry.look(path, pem);
        }
    }
}

struct Token {
    value: Option<HeaderValue>,
    /// It was asked for just now.
    is_new: bool,
}

/// The URL of a server, without a slash at its end.
fn endpoint(url: &str) -> Result<String, EtcdError> {
    let refusal = || EtcdError::Endpoint { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_no_url| refusal())?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_known || uri.host().is_none_or(str::is_empty) || uri.path() != "/" || uri.query().is_some() {
        return Err(refusal());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn http(certificates: Option<&Certificates>) -> Result<Http, EtcdError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let tls = match certificates {
        Some(certificates) => certificates.client()?,
        None => tls::believing_nobody()?,
    };
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
}

/// The whole of an answer.
async fn whole(response: Response<Incoming>, endpoint: &str) -> Result<Bytes, EtcdError> {
    let read = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|source| {
        if source.is::<LengthLimitError>() {
            EtcdError::TooLarge { endpoint: endpoint.to_owned(), limit: ANSWER_MAX }
        } else {
            EtcdError::Unreachable { endpoint: endpoint.to_owned(), source }
        }
    })
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], endpoint: &str) -> Result<T, EtcdError> {
    serde_json::from_slice(bytes).map_err(|source| EtcdError::Answer {
        endpoint: endpoint.to_owned(),
        text: shown(bytes),
        source,
    })
}

/// The beginning of an answer.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..400).unwrap_or(bytes)).trim().chars().take(100).collect()
}

async fn within<T>(
    seconds: u64,
    endpoint: &str,
    work: impl Future<Output = Result<T, EtcdError>>,
) -> Result<T, EtcdError> {
    match tokio::time::timeout(Duration::from_secs(seconds), work).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(EtcdError::Timeout { endpoint: endpoint.to_owned(), seconds }),
    }
}
