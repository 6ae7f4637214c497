//! The harness of the namespace tests: a node with its own network, containers on it, chains of plugins run as a
//! container runtime runs them, real packets, and a list of everything that an attachment may leave behind.
//!
//! A test looks like this:
//!
//! ```no_run
//! use ferrule_tests::{Firewall, Node, fixture};
//!
//! let Some(node) = Node::start() else { return }; // outside the sandbox: prints SKIP
//! let network = node.network(fixture("bridge-portmap.conflist"));
//! let before = node.snapshot();
//! let web = node.container("web").publish("tcp", 8080, 80);
//! network.add(&web).expect("ADD");
//! web.place.serve_tcp(80);
//! assert_eq!(node.outside.fetch_tcp(node.address(), 8080).expect("answer").from, "web");
//! network.del(&web).expect("DEL");
//! node.assert_nothing_left(&before, &[&web]);
//! ```
//!
//! Every [`Node`] is a set of network namespaces of its own inside the sandbox that `scripts/in-namespaces` makes, so
//! tests run in parallel, need no root and cannot touch the machine. The chain is driven by code of this crate
//! ([`Network`]), not by `libcni::runtime`: a harness made of the code under test would not see its mistakes.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a harness reports by failing the test that uses it")]

pub mod bed;
mod binaries;
mod chain;
mod container;
pub mod containerd;
pub mod cri;
mod crowd;
mod debian_machine;
mod fault;
mod firewall;
pub mod http;
pub mod image;
mod node;
mod packages;
mod packets;
mod patience;
pub mod peers;
mod place;
mod plugin;
mod process;
pub mod recording;
mod replay;
mod skip;
mod snapshot;
pub mod tree;

pub use bed::{Bed, Pod, Swap};
pub use binaries::{Binaries, fixture, script};
pub use chain::Network;
pub use container::Container;
pub use crowd::{Crowd, Maker, Member};
pub use debian_machine::DebianMachine;
pub use firewall::Firewall;
pub use node::Node;
pub use packages::Packages;
pub use packets::{Answer, Service};
pub use patience::{eventually, eventually_within};
pub use place::Place;
pub use plugin::{Failure, Invocation, Output};
pub use process::Process;
pub use recording::Recording;
pub use replay::Replay;
pub use skip::{Feature, installed, require, skip};
pub use snapshot::Snapshot;
