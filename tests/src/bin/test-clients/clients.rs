//! The container runtimes.

mod containerd;
mod crash;
mod cri_o;
mod daemonset;
mod docker_cli;
mod kubernetes_node;
mod nerdctl;
mod podman;
mod pods;
mod replacement;

use crate::machine::Machine;
use crate::options::Options;
use crate::report::Report;

/// Checks one runtime.
type Run = fn(&Machine, &Options, &mut Report);

/// All of them: name, program, checks.
pub(crate) const CLIENTS: [(&str, &str, Run); 8] = [
    ("containerd", "containerd", containerd::run_1_6),
    ("containerd-2", "containerd", containerd::run_2),
    ("cri-o", "crio", cri_o::run),
    ("daemonset", "podman", daemonset::run),
    ("kubernetes-node", "uname", kubernetes_node::run),
    ("nerdctl", "nerdctl", nerdctl::run),
    ("podman", "podman", podman::run),
    ("replacement", "containerd", replacement::run),
];
