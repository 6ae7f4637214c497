//! The process: its threads, its signals, and how it ends.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libcni::error::causes;
use libcni::socket::ListenError;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::timeout;

use crate::args::Sources;
use crate::config::{self, Config, External, KernelConf, StoreConf};
use crate::event::Event;
use crate::http::{self, HttpError};
use crate::log;
use crate::metrics::Metrics;
use crate::question::Engine;
use crate::socket::Socket;
use crate::startup::{self, StartError, Started, Startup};
use crate::store::{self, News, Teller};
use crate::systemd;

/// Why the daemon ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Socket(#[from] ListenError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Start(#[from] StartError),
    /// What never ends by itself has ended.
    #[error("{0} has ended by itself, which is a fault of overlayd")]
    Ended(&'static str),
    #[error("a part of overlayd has panicked, which is a fault of it")]
    Panicked(#[source] JoinError),
    #[error("the engine has panicked, which is a fault of overlayd")]
    EnginePanicked,
}

/// What ended.
#[derive(Debug)]
enum End {
    /// SIGTERM or SIGINT.
    Signal,
    /// The engine's thread.
    Engine,
    /// What never ends by itself.
    Task(&'static str),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`]
pub(crate) fn run(sources: Sources, config: Config) -> Result<(), DaemonError> {
    log::begin(config.log);
    for flag in sources.without_effect() {
        tracing::warn!("--{flag} has no effect here");
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Runtime)?;
    LocalSet::new().block_on(&runtime, serve(sources, config))
}

async fn serve(sources: Sources, mut config: Config) -> Result<(), DaemonError> {
    let chosen = Chosen::ask(&config).await;
    chosen.apply(&mut config.external);
    let signals = Signals::listen().map_err(DaemonError::Signals)?;
    let metrics = Arc::new(Metrics::new());
    let (queue, events) = mpsc::channel();
    // First, as it says whether another daemon runs.
    let socket = Socket::listen(&config.socket)?;
    let asked = Engine::new(queue.clone());
    let http = match config.http {
        Some(address) => Some(http::Server::listen(address, asked.clone(), Arc::clone(&metrics)).await?),
        None => None,
    };
    let (started, starting) = oneshot::channel();
    let (ended, engine_ended) = oneshot::channel();
    let startup =
        Startup { config: config.clone(), metrics: Arc::clone(&metrics), events, queue: queue.clone(), started };
    let engine = engine_thread(startup, ended).map_err(DaemonError::Runtime)?;
    let mut tasks = JoinSet::new();
    tasks.spawn_local(keep_store(config.clone(), Arc::clone(&metrics), queue.clone(), starting));
    tasks.spawn_local(async move {
        socket.serve(asked).await;
        End::Task("the socket")
    });
    if let Some(server) = http {
        tasks.spawn_local(async move {
            server.serve().await;
            End::Task("the HTTP server")
        });
    }
    tasks.spawn_local(async {
        // It is dropped with the thread, however that ends.
        let _ = engine_ended.await;
        End::Engine
    });
    let notify_socket = std::env::var_os("NOTIFY_SOCKET");
    tasks.spawn_local(obey(signals, sources, config, chosen, queue.clone()));
    systemd::notify(notify_socket.as_deref(), "READY=1");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "overlayd has started");
    let end = tasks.join_next().await;
    systemd::notify(notify_socket.as_deref(), "STOPPING=1");
    // If it is gone, joining it tells why.
    let _ = queue.send(Event::Stop);
    let engine = engine.join();
    match end {
        Some(Ok(End::Signal)) | None => finished(engine),
        Some(Ok(End::Engine)) => finished(engine).and(Err(DaemonError::Ended("the engine"))),
        Some(Ok(End::Task(name))) => Err(DaemonError::Ended(name)),
        Some(Err(error)) => Err(DaemonError::Panicked(error)),
    }
}

fn engine_thread(startup: Startup, ended: oneshot::Sender<()>) -> io::Result<JoinHandle<Result<(), StartError>>> {
    thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let _ended = ended;
        startup::run(startup)
    })
}

fn finished(engine: thread::Result<Result<(), StartError>>) -> Result<(), DaemonError> {
    match engine {
        Ok(result) => result.map_err(DaemonError::Start),
        // The panic itself is on stderr.
        Err(_panic) => Err(DaemonError::EnginePanicked),
    }
}

/// Finds the cluster's network where the store has it, and then is the store, for ever.
async fn keep_store(
    config: Config,
    metrics: Arc<Metrics>,
    queue: Sender<Event>,
    starting: oneshot::Receiver<Started>,
) -> End {
    let teller = Teller::new(queue);
    if let (StoreConf::Etcd(conf), None) = (&config.store, &config.network) {
        let waiting = |why: String| teller.tell(News::Unreachable(why));
        let network = store::etcd::network(conf, &metrics, waiting).await;
        teller.found(network);
    }
    // Without an answer the engine's thread has ended, and says why itself.
    let Ok(Started { network, registration }) = starting.await else { return End::Engine };
    match config.store {
        StoreConf::File(conf) => store::file::run(conf, network, registration, teller).await,
        StoreConf::Etcd(conf) => store::etcd::run(conf, network, registration, teller, metrics).await,
        StoreConf::Kubernetes(conf) => store::kubernetes::run(conf, network, registration, teller, metrics).await,
    }
    End::Task("the store")
}

/// How long the Kubernetes API may take to say which interface people chose for this node.
const CHOICE: Duration = Duration::from_secs(10);

/// The addresses of this node that people chose by annotations of its Node, as for flannel: before `[external]`.
#[derive(Debug, Default)]
struct Chosen {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Chosen {
    /// Asks once, as flannel does; where nothing is heard, nothing was chosen.
    async fn ask(config: &Config) -> Self {
        let StoreConf::Kubernetes(conf) = &config.store else { return Self::default() };
        if !conf.records.has_annotations() {
            return Self::default();
        }
        let reason = match timeout(CHOICE, store::kubernetes::chosen_addresses(conf, &config.node)).await {
            Ok(Ok((v4, v6))) => return Self { v4, v6 },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", CHOICE.as_secs()),
        };
        tracing::warn!(reason, "whether an annotation chooses this node's address is not known");
        Self::default()
    }

    fn apply(&self, external: &mut External) {
        let chosen: Vec<String> =
            self.v4.iter().map(ToString::to_string).chain(self.v6.iter().map(ToString::to_string)).collect();
        if !chosen.is_empty() {
            external.interface = chosen;
        }
        external.public_ip = self.v4.or(external.public_ip);
        external.public_ipv6 = self.v6.or(external.public_ipv6);
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
enum Order {
    Stop,
    Reload,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Order {
        poll_fn(|context| {
            let stops = [&mut self.terminate, &mut self.interrupt].map(|signal| signal.poll_recv(context).is_ready());
            if stops.contains(&true) {
                return Poll::Ready(Order::Stop);
            }
            self.hangup.poll_recv(context).map(|_| Order::Reload)
        })
        .await
    }
}

/// Does what signals ask for, until one asks for the end.
async fn obey(mut signals: Signals, sources: Sources, mut config: Config, chosen: Chosen, queue: Sender<Event>) -> End {
    while let Order::Reload = signals.next().await {
        match config::load(&sources) {
            Ok(mut wanted) => {
                chosen.apply(&mut wanted.external);
                config = changed(&config, wanted);
                // The engine's end is noticed elsewhere.
                let _ = queue.send(Event::Reload(Box::new(config.clone())));
            }
            Err(error) => {
                tracing::error!(error = causes(Some(&error)), "the configuration is wrong: nothing was changed");
            }
        }
    }
    End::Signal
}

/// What of `wanted` takes effect now; what needs a restart is told.
fn changed(present: &Config, wanted: Config) -> Config {
    let fixed = [
        ("node", present.node != wanted.node),
        ("subnet_file", present.subnet_file != wanted.subnet_file),
        ("state_dir", present.state_dir != wanted.state_dir),
        ("socket", present.socket != wanted.socket),
        ("http", present.http != wanted.http),
        ("network", present.network != wanted.network),
        ("store", present.store != wanted.store),
        ("log", present.log != wanted.log),
        ("kernel.device", present.kernel.device != wanted.kernel.device),
        ("kernel.programming", present.kernel.programming != wanted.kernel.programming),
        ("kernel.receive_buffer", present.kernel.receive_buffer != wanted.kernel.receive_buffer),
    ];
    for (key, differs) in fixed {
        if differs {
            tracing::warn!(key, "this change needs a restart of overlayd");
        }
    }
    let kernel =
        KernelConf { check: wanted.kernel.check, blackhole: wanted.kernel.blackhole, ..present.kernel.clone() };
    tracing::info!(
        masquerade = present.masquerade != wanted.masquerade,
        kernel = present.kernel != kernel,
        external = present.external != wanted.external,
        "the configuration was read again"
    );
    Config { external: wanted.external, masquerade: wanted.masquerade, kernel, ..present.clone() }
}
