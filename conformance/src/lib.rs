//! Tells whether CNI plugins do what the specification says: anybody's, in any language.
//!
//! The cases are data, in `cases/GROUP/NAME.json`. Each runs on a node of its own, which is a process in namespaces of its
//! own: [`run()`] starts this program again for each, and [`node_main`] is what it does then. The program that uses this
//! library must call [`ipam_main`] where it was started as [`RECORDING_IPAM`].
#![warn(missing_docs)]

mod call;
pub mod case;
pub mod catalog;
mod change;
mod expect;
mod firewall;
mod ipam;
mod job;
mod keeps;
mod look;
mod network;
mod node;
pub mod profile;
pub mod reach;
pub mod report;
mod run;
mod sandbox;
mod state;
pub mod step;
mod survey;
mod template;
mod trial;
mod wire;

pub use call::{End, Record};
pub use ipam::main as ipam_main;
pub use job::{Failure, JobError, Outcome, Verdict, node_main};
pub use profile::RECORDING_IPAM;
pub use run::{Options, Report, Row, RunError, chosen, run};
pub use sandbox::SandboxError;
