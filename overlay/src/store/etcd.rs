//! Nodes as keys of etcd v3, where flannel has them and as flannel writes them, so that flanneld and overlayd see each
//! other.
//!
//! The first that is asked is a list of all nodes; then this node's key is created, or found, in one transaction; then
//! comes one watch. Nothing is asked about other nodes' leases. The lease of this node's own key is kept alive, which
//! makes no event: a cluster in which nothing happens is silent.
//!
//! * `client`: requests to whichever server answers, with a `login`; `stream`: answers without an end; `messages`: what they
//!   look like; `layout`: keys and values.
//! * `member`: this node's own key; `pick`: which it is. `watcher`: the others.

mod client;
mod contact;
mod error;
mod layout;
mod login;
mod member;
mod messages;
mod pick;
mod stream;
#[cfg(test)]
mod tests;
mod watcher;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::client::Client;
use self::contact::{Contact, Who};
pub(crate) use self::error::EtcdError;
use self::layout::Layout;
use self::member::{Ensured, Listing, Own, Place};
use self::messages::RangeResponse;
use self::watcher::{Shared, Watcher};
use crate::claim::Claim;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::race::first;
use crate::store::pause::Pauses;
use crate::store::{Registration, Teller};
use crate::tls::ExpiryWatch;

/// `lease_ttl_seconds`, from what it takes servers to choose a new leader to a year.
pub(crate) const LEASE_TTL_SECONDS: RangeInclusive<u64> = 5..=365 * 24 * 60 * 60;
/// Between two renewals of the lease, at most.
const RENEWAL_MAX: Duration = Duration::from_secs(60 * 60);
/// How often the certificates are looked at, and a silent server is asked whether it is still there.
const CHECK: Duration = Duration::from_secs(30);
/// After this node's key was lost, until the next look: somebody may be writing it again and again. The first time, and at
/// most.
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(60);

/// The table `[store.etcd]`; flannel's flags `--etcd-…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EtcdConf {
    /// URLs of the members. Default: `http://127.0.0.1:2379`.
    pub(crate) endpoints: Vec<String>,
    /// Default: `/coreos.com/network`.
    pub(crate) prefix: String,
    /// PEM files: the certificate authority of the servers (default: the system's), this client's certificate and key.
    /// They are read again when they change.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) username: Option<String>,
    /// flannel's flag; the file is better: the configuration has no secret in it, and it is read again for each login.
    pub(crate) password: Option<Password>,
    pub(crate) password_file: Option<PathBuf>,
    /// `lease_ttl_seconds`: how long this node keeps its subnet while it is away. Default: 24 hours, as flannel: a node that
    /// was down for a night must find its containers' addresses unused by others, and others the way to it. A node that
    /// leaves for good need not wait for it: `overlayd cleanup --store`.
    pub(crate) lease_ttl: Duration,
}

/// A secret, not shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Default for EtcdConf {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".into()],
            prefix: "/coreos.com/network".into(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            username: None,
            password: None,
            password_file: None,
            lease_ttl: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// The network that is configured in etcd. Waits until it is there: `waiting` is told why not, once for each reason.
pub(crate) async fn network(conf: &EtcdConf, metrics: &Arc<Metrics>, waiting: impl Fn(String)) -> Network {
    let mut pause = for_servers();
    let mut told = String::new();
    loop {
        let error = match configured(conf, metrics).await {
            Ok(network) => return network,
            Err(error) => libcni::error::causes(Some(&error)),
        };
        if error != told {
            tracing::warn!(reason = error, "the cluster's network is not known yet");
            told.clone_from(&error);
            waiting(error);
        }
        sleep(pause.next()).await;
    }
}

async fn configured(conf: &EtcdConf, metrics: &Arc<Metrics>) -> Result<Network, EtcdError> {
    let client = Client::new(conf, ExpiryWatch::new(Arc::clone(metrics)))?;
    let key = Layout::new(&conf.prefix).config;
    let range: RangeResponse = client.call("/v3/kv/range", &messages::one(&key)).await?;
    let Some(kv) = range.kvs.into_iter().next() else { return Err(EtcdError::NoNetwork { key }) };
    Network::from_net_conf(&kv.value).map_err(|source| EtcdError::Network { key, source: source.into() })
}

/// Gives back what the node with `claim`'s addresses has: `overlayd cleanup --store`. The subnets that it had.
///
/// # Errors
/// [`EtcdError`].
pub(crate) async fn leave(conf: &EtcdConf, metrics: &Arc<Metrics>, claim: &Claim) -> Result<Vec<IpNet>, EtcdError> {
    let client = Client::new(conf, ExpiryWatch::new(Arc::clone(metrics)))?;
    Place::leave(&client, &Layout::new(&conf.prefix), claim).await
}

/// Takes part in the cluster. Never returns by itself.
pub(crate) async fn run(
    conf: EtcdConf,
    network: Network,
    us: watch::Receiver<Registration>,
    teller: Teller,
    metrics: Arc<Metrics>,
) {
    run_checking(conf, network, us, teller, metrics, CHECK).await;
}

async fn run_checking(
    conf: EtcdConf,
    network: Network,
    mut us: watch::Receiver<Registration>,
    teller: Teller,
    metrics: Arc<Metrics>,
    check: Duration,
) {
    let shared = Shared::new(Contact::new(teller));
    let join = Join { conf: &conf, network: &network, metrics: &metrics, check };
    let (place, own, listing) = join.until_joined(&mut us, &shared).await;
    shared.set_own(own);
    let watcher = Watcher::new(&place, &shared, listing);
    first(keep(&place, &shared, us), watcher.run()).await;
}

/// What is needed to join.
struct Join<'a> {
    conf: &'a EtcdConf,
    network: &'a Network,
    metrics: &'a Arc<Metrics>,
    check: Duration,
}

impl Join<'_> {
    /// Tries until this node has a subnet.
    async fn until_joined(&self, us: &mut watch::Receiver<Registration>, shared: &Shared) -> (Place, Own, Listing) {
        let mut pause = for_servers();
        loop {
            let registration = us.borrow_and_update().clone();
            let error = match self.once(&registration).await {
                Ok(joined) => {
                    shared.contact.found(Who::Member);
                    return joined;
                }
                Err(error) => error,
            };
            shared.contact.lost(Who::Member, &error);
            first(sleep(pause.next()), changed(us)).await;
        }
    }

    async fn once(&self, us: &Registration) -> Result<(Place, Own, Listing), EtcdError> {
        let place = Place {
            client: Client::new(self.conf, ExpiryWatch::new(Arc::clone(self.metrics)))?,
            layout: Layout::new(&self.conf.prefix),
            network: self.network.clone(),
            ttl: self.conf.lease_ttl,
            check: self.check,
        };
        let (own, listing) = place.acquire(us, &us.wanted).await?;
        Ok((place, own, listing))
    }
}

/// Keeps this node's own key, for ever: the lease does not end, what the key says is what this node says, and what others
/// do to it is made good.
async fn keep(place: &Place, shared: &Shared, mut us: watch::Receiver<Registration>) {
    let mut pause = for_servers();
    let mut quarrel = Pauses::new(LOOK_MIN, LOOK_MAX);
    let mut lost = Instant::now();
    loop {
        let renewal = sleep(about((place.ttl / 3).min(RENEWAL_MAX)));
        first(renewal, first(shared.look.notified(), changed(&mut us))).await;
        let was_lost = loop {
            let registration = us.borrow_and_update().clone();
            match place.ensure(&shared.own(), &registration).await {
                Ok(Ensured { own, was_lost }) => {
                    shared.contact.found(Who::Member);
                    shared.set_own(own);
                    pause.reset();
                    break was_lost;
                }
                Err(error) => {
                    shared.contact.lost(Who::Member, &error);
                    sleep(pause.next()).await;
                }
            }
        };
        if was_lost {
            if lost.elapsed() > 2 * LOOK_MAX {
                quarrel.reset();
            }
            lost = Instant::now();
            sleep(quarrel.next().min(place.ttl / 3)).await;
        }
    }
}

/// Waits until what this node says of itself is something else.
async fn changed(us: &mut watch::Receiver<Registration>) {
    if us.changed().await.is_err() {
        // The engine has ended; the process is about to.
        std::future::pending::<()>().await;
    }
}

/// Between attempts to reach a server: as flannel.
fn for_servers() -> Pauses {
    Pauses::new(Duration::from_millis(100), Duration::from_secs(5))
}

/// Between half of `length` and all of it, so that not all nodes ask at the same time.
fn about(length: Duration) -> Duration {
    Pauses::new(length, length).next()
}
