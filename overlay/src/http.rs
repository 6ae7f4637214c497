//! `/healthz`, `/readyz` and `/metrics`, where an address is configured.
//!
//! * `/healthz`: 200 if the engine's thread answers, 503 if it does not.
//! * `/readyz`: 200 if containers can be attached, 503 with the reasons if not.
//! * `/metrics`: what Prometheus reads.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::metrics::Metrics;
use crate::question::Engine;

/// How long a client may take to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a connection that could not be accepted: there may be no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// Cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("http: cannot listen at {address}")]
pub(crate) struct HttpError {
    address: SocketAddr,
    source: io::Error,
}

/// An address that is listened at.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    engine: Engine,
    metrics: Arc<Metrics>,
}

impl Server {
    /// # Errors
    /// [`HttpError`] if the address is taken, or none of this machine's.
    pub(crate) async fn listen(address: SocketAddr, engine: Engine, metrics: Arc<Metrics>) -> Result<Self, HttpError> {
        let listener = TcpListener::bind(address).await.map_err(|source| HttpError { address, source })?;
        Ok(Self { listener, engine, metrics })
    }

    /// Answers, for ever.
    pub(crate) async fn serve(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(spawn_local(converse(stream, self.engine.clone(), Arc::clone(&self.metrics)))),
                Err(error) => {
                    tracing::warn!(%error, "a connection for HTTP cannot be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, engine: Engine, metrics: Arc<Metrics>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (engine, metrics) = (engine.clone(), Arc::clone(&metrics));
        async move { Ok::<_, Infallible>(respond(request.method(), request.uri().path(), &engine, &metrics).await) }
    });
    let server = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(PATIENCE).to_owned();
    // What is wrong with a client's connection is the client's to know.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(method: &Method, path: &str, engine: &Engine, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n".to_owned());
    }
    match path {
        "/healthz" => match engine.status().await {
            Ok(_) => text(StatusCode::OK, "ok\n".to_owned()),
            Err(silence) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{silence}\n")),
        },
        "/readyz" => match engine.status().await {
            Ok(status) if status.not_ready.is_empty() => text(StatusCode::OK, "ready\n".to_owned()),
            Ok(status) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", status.not_ready.join("\n"))),
            Err(silence) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{silence}\n")),
        },
        "/metrics" => match metrics.text() {
            Ok(metrics) => {
                of_type("application/openmetrics-text; version=1.0.0; charset=utf-8", StatusCode::OK, metrics)
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    of_type("text/plain; charset=utf-8", status, body)
}

fn of_type(kind: &'static str, status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
