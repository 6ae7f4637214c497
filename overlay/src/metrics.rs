//! What Prometheus reads at `/metrics`.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// All metrics; each can be changed from any thread.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// From the store's event to the kernel having it, in seconds.
    pub(crate) convergence: Histogram,
    /// A check of all objects against the kernel, in seconds.
    pub(crate) check: Histogram,
    pub(crate) peers: Gauge,
    pub(crate) peers_refused: Gauge,
    pub(crate) peers_stale: Gauge,
    /// Objects that somebody else had changed, by kind (`route`, `fdb`, …).
    pub(crate) drift_repaired: Family<Kind, Counter>,
    /// Failures of the kernel to take an object, by peer.
    pub(crate) errors: Family<OfPeer, Counter>,
    /// Messages sent to the kernel.
    pub(crate) netlink_messages: Counter,
    /// 1 or 0.
    pub(crate) store_reachable: Gauge,
    /// 1 or 0, as `/readyz`.
    pub(crate) ready: Gauge,
    /// When certificates end, in seconds since 1970, by file.
    pub(crate) certificate_expiry: Family<OfFile, Gauge>,
    /// Peers that say another MTU than ours.
    pub(crate) mtu_mismatches: Gauge,
    /// In bytes.
    pub(crate) mtu: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct OfPeer {
    pub(crate) peer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct OfFile {
    pub(crate) file: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let seconds = || exponential_buckets(0.000_25, 2.0, 17);
        let mut metrics = Self {
            registry: Registry::with_prefix("overlayd"),
            convergence: Histogram::new(seconds()),
            check: Histogram::new(seconds()),
            peers: Gauge::default(),
            peers_refused: Gauge::default(),
            peers_stale: Gauge::default(),
            drift_repaired: Family::default(),
            errors: Family::default(),
            netlink_messages: Counter::default(),
            store_reachable: Gauge::default(),
            ready: Gauge::default(),
            certificate_expiry: Family::default(),
            mtu_mismatches: Gauge::default(),
            mtu: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "convergence_seconds",
            "From an event of the store to the kernel having it",
            self.convergence.clone(),
        );
        r.register("check_seconds", "A check of all objects against the kernel", self.check.clone());
        r.register("peers", "Nodes that are programmed", self.peers.clone());
        r.register("peers_refused", "Nodes whose record is not believed", self.peers_refused.clone());
        r.register("peers_stale", "Nodes of the snapshot, not confirmed by the store", self.peers_stale.clone());
        r.register("drift_repaired", "Objects that somebody else had changed", self.drift_repaired.clone());
        r.register("errors", "Objects that the kernel refused", self.errors.clone());
        r.register("netlink_messages", "Messages sent to the kernel", self.netlink_messages.clone());
        r.register("store_reachable", "Whether the store answers", self.store_reachable.clone());
        r.register("ready", "Whether containers can be attached", self.ready.clone());
        r.register("certificate_expiry_seconds", "When a certificate ends, Unix time", self.certificate_expiry.clone());
        r.register("mtu_mismatches", "Nodes that say another MTU than this one", self.mtu_mismatches.clone());
        r.register("mtu_bytes", "What fits through the overlay", self.mtu.clone());
    }
}
