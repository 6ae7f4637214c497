//! Tests of host-local as others see it: through the whole protocol, as a program, beside the Go reference.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's leave for tests ends at the bodies of #[test] functions; helpers are tests too"
)]

mod bounded;
mod config;
mod disk;
mod full_disk;
mod interop;
mod kill;
mod model;
mod support;
mod verbs;
