//! `overlayd cleanup`: removes all that the daemon made on this node, and with `--store` what it made known.

use std::sync::Arc;
use std::time::Duration;

use libcni::error::causes;
use libcni::socket;
use libcni::store as files;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::{Netlink, Request};
use linuxnet::nft::Nfnetlink;
use linuxnet::route::{self, PROTOCOL_OVERLAY};
use linuxnet::{NetlinkError, nexthop};
use tokio::runtime;
use tokio::time::timeout;

use crate::bgp;
use crate::config::{Config, StoreConf};
use crate::masquerade;
use crate::metrics::Metrics;
use crate::node;
use crate::store::{self, Registration};

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the daemon keeps in `state_dir`.
const STATE: [&str; 3] = ["peers.json", "wireguard.key", "machine-id"];
/// The kinds of the daemon's links, and their names, but for the number of the network at their end.
const LINKS: [(&str, &[&str]); 4] = [
    ("vxlan", &["flannel.", "flannel-v6."]),
    ("ipip", &["flannel.ipip"]),
    ("wireguard", &["flannel-wg", "flannel-wg-v6"]),
    ("tun", &["flannel0"]),
];

/// What was removed, and what could not be: one line each.
#[derive(Debug, Default)]
pub(crate) struct Cleanup {
    pub(crate) removed: Vec<String>,
    pub(crate) failed: Vec<String>,
}

/// A daemon is running, which would make all of it again.
#[derive(Debug, thiserror::Error)]
#[error("overlayd runs, and would make all of it again: it answers at {} (hint: stop it first)", .0.display())]
pub(crate) struct Running(std::path::PathBuf);

/// Removes everything. What is not there needs no removal; after a failure it goes on.
///
/// # Errors
/// [`Running`]
pub(crate) fn run(config: &Config, with_store: bool) -> Result<Cleanup, Running> {
    if socket::is_alive(&config.socket) {
        return Err(Running(config.socket.clone()));
    }
    let mut cleanup = Cleanup::default();
    if with_store {
        // First: it wants to know by which address this node is known.
        let left = leave_store(config);
        cleanup.note("this node in the store", left);
    }
    match Netlink::open() {
        Ok(mut netlink) => {
            let routes = remove_marked(&mut netlink);
            cleanup.note_count("routes and next hops", routes);
            cleanup.remove_links(&mut netlink, config);
        }
        Err(error) => cleanup.failed.push(causes(Some(&error))),
    }
    cleanup.note("the firewall's rules", remove_rules());
    // Whatever the backend is now: where etcd has the network, it is not known here.
    cleanup.note("BIRD's file of nodes", bgp::remove(&config.bgp).map_err(|e| causes(Some(&e))));
    let state = STATE.into_iter().map(|name| config.state_dir.join(name));
    for path in [config.subnet_file.clone(), config.socket.clone()].into_iter().chain(state) {
        let is_there = path.symlink_metadata().is_ok();
        let removed = files::remove_file(&path).map(|()| is_there).map_err(|e| causes(Some(&e)));
        cleanup.note(&path.display().to_string(), removed);
    }
    Ok(cleanup)
}

impl Cleanup {
    fn note(&mut self, what: &str, done: Result<bool, String>) {
        match done {
            Ok(true) => self.removed.push(what.to_owned()),
            Ok(false) => {}
            Err(why) => self.failed.push(format!("{what}: {why}")),
        }
    }

    fn note_count(&mut self, what: &str, done: Result<usize, String>) {
        let counted = done.as_ref().map_or_else(|_| what.to_owned(), |count| format!("{count} {what}"));
        self.note(&counted, done.map(|count| count > 0));
    }

    fn remove_links(&mut self, netlink: &mut Netlink, config: &Config) {
        let links = match netlink.links() {
            Ok(links) => links,
            Err(error) => return self.failed.push(causes(Some(&error))),
        };
        for link in links.iter().filter(|link| is_ours(link, config.kernel.device.as_deref())) {
            let removed = netlink.remove_link(Dev::from(link)).map(|()| true).map_err(|e| causes(Some(&e)));
            self.note(&format!("link {}", link.name), removed);
        }
    }
}

/// Whether a link is of a kind and name that the daemon makes, with this `kernel.device`.
fn is_ours(link: &Link, configured: Option<&str>) -> bool {
    let Some((_, names)) = LINKS.iter().find(|(kind, _)| *kind == link.kind) else { return false };
    let is_configured = configured.is_some_and(|name| link.name == name || link.name.strip_suffix("-v6") == Some(name));
    let is_named = |name: &&str| match link.name.strip_prefix(*name) {
        // flannel.1
        Some(number) if name.ends_with('.') => !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()),
        rest => rest == Some(""),
    };
    is_configured || names.iter().any(is_named)
}

/// Removes what is marked as the daemon's; how many.
fn remove_marked(netlink: &mut Netlink) -> Result<usize, String> {
    let told = |error: NetlinkError| causes(Some(&error));
    let routes = netlink.routes_of_protocol(PROTOCOL_OVERLAY).map_err(told)?;
    let hops = netlink.nexthops_of_protocol(PROTOCOL_OVERLAY).map_err(told)?;
    // With a next hop its routes would go, which is slower than one after the other.
    let requests: Vec<Request> =
        routes.iter().map(route::remove_marked).chain(hops.iter().map(|hop| nexthop::remove(hop.id))).collect();
    let failures = netlink.send_each(&requests).map_err(told)?;
    match failures.into_iter().find(|failure| !failure.error.is_not_found()) {
        Some(failure) => Err(causes(Some(&failure.error))),
        None => Ok(requests.len()),
    }
}

fn remove_rules() -> Result<bool, String> {
    match Nfnetlink::open_if_supported() {
        Ok(Some(mut nft)) => masquerade::remove(&mut nft).map_err(|e| causes(Some(&e))),
        Ok(None) => Ok(false),
        Err(error) => Err(causes(Some(&error))),
    }
}

/// Takes back what this node made known.
fn leave_store(config: &Config) -> Result<bool, String> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let left = timeout(PATIENCE, leave(config)).await;
        left.unwrap_or_else(|_elapsed| Err(format!("it does not answer within {} s", PATIENCE.as_secs())))
    })
}

async fn leave(config: &Config) -> Result<bool, String> {
    match &config.store {
        StoreConf::File(conf) => store::file::leave(conf, &config.node).map_err(|e| causes(Some(&e))),
        StoreConf::Kubernetes(conf) => {
            store::kubernetes::leave(conf, &config.node).await.map(|()| true).map_err(|e| causes(Some(&e)))
        }
        StoreConf::Etcd(conf) => {
            let metrics = Arc::new(Metrics::new());
            let network = match &config.network {
                Some(network) => network.clone(),
                None => store::etcd::network(conf, &metrics, |_why| {}).await,
            };
            // Nobody makes a hardware address of this identity.
            let node = node::discover(&config.external, &network, &config.node, [0; 32]);
            let node = node.map_err(|e| causes(Some(&e)))?;
            let claim = Registration::of(&node, &network, Vec::new()).claim;
            let left = store::etcd::leave(conf, &metrics, &claim).await.map_err(|e| causes(Some(&e)))?;
            Ok(!left.is_empty())
        }
    }
}
