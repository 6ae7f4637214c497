//! `overlayd`, the per-node daemon of the overlay: it learns from a store which node has which subnet, and keeps the
//! kernel so that this node reaches them all.
//!
//! ```text
//!  store (file | etcd | Kubernetes) ──News──▶ engine ──netlink──▶ kernel
//!        ▲                                      ▲  │                 │
//!        └────────Registration (watch)──────────│──┘◀──Notice────────┘
//!                                               └──Ask── unix socket, /healthz, /readyz
//! ```
//!
//! * `store`: talks to the cluster's store on the runtime's thread; [`store::News`] is all that the rest knows of it.
//! * `claim`: what a store says of a node, not trusted; `peer`: what of it is believed; `roster`: who is in.
//! * `desired`: nodes → kernel objects, a pure function; `kernel`: what is there, and the difference made good.
//! * `engine`: the one thread that changes the kernel; it takes one [`event::Event`] after the other.
#![allow(dead_code, reason = "the daemon is being built")]

use std::process::ExitCode;

mod args;
mod claim;
mod config;
mod engine;
mod event;
mod metrics;
mod network;
mod node;
mod peer;
mod report;
mod roster;
mod settings;
mod store;

/// Runs the daemon of this process.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
