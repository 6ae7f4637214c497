//! The Container Network Interface (CNI) in Rust: both sides of the protocol, every specification version.
//!
//! * A plugin implements [`plugin::Plugin`] and hands itself to [`plugin::main`].
//! * A runtime loads a network with [`runtime`] and runs its verbs.
//! * Inside, only the newest form of a result is used ([`types::AddResult`]); the forms of older
//!   specification versions exist at the edges alone ([`convert`]).
//!
//! Specification: <https://www.cni.dev/docs/spec/>, versions 0.1.0 to 1.1.0.
#![warn(missing_docs)]

pub mod base64;
pub mod child;
pub mod convert;
mod env;
pub mod error;
mod exec;
pub mod json;
pub mod names;
pub mod netns;
pub mod plugin;
pub mod runtime;
#[cfg(test)]
mod schema;
pub mod socket;
pub mod store;
pub mod types;
pub mod version;

pub use error::{CniError, ErrorCode, ErrorReply};
pub use exec::ExecError;
pub use version::SpecVersion;
