//! The container runtimes.

mod containerd;
mod crash;
mod podman;
mod pods;

use crate::machine::Machine;
use crate::options::Options;
use crate::report::Report;

/// Checks one runtime.
type Run = fn(&Machine, &Options, &mut Report);

/// All of them by name.
pub(crate) const CLIENTS: [(&str, Run); 3] =
    [("containerd", containerd::run_1_6), ("containerd-2", containerd::run_2), ("podman", podman::run)];
