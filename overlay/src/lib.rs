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
//! * `store`: talks to the cluster's store on the runtime's thread; `store::News` is all that the rest knows of it.
//! * `claim`: what a store says of a node, not trusted; `peer`: what of it is believed; `roster`: who is in.
//! * `desired`: nodes → kernel objects, a pure function; `kernel`: what is there, and the difference made good.
//! * `engine`: the one thread that changes the kernel; it takes one `event::Event` after the other.

use std::io::{self, Write as _};
use std::process::ExitCode;

use libcni::error;

use crate::args::Command;

mod args;
mod bgp;
mod claim;
mod cleanup;
mod config;
mod daemon;
mod desired;
mod engine;
mod event;
mod http;
mod kernel;
mod keys;
mod log;
mod masquerade;
mod metrics;
mod network;
mod node;
mod peer;
mod question;
mod race;
mod relay;
mod render;
mod report;
mod roster;
mod settings;
mod snapshot;
mod socket;
mod startup;
mod store;
mod subnet_file;
mod systemd;
mod tls;

/// The command line is right, and what it asked for failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const WRONG: u8 = 2;

/// Does what the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(command) => command,
        Err(e) => return fail(WRONG, &format!("{e} (hint: overlayd --help)")),
    };
    match command {
        Command::Help => print(&args::usage()),
        Command::Version => print(concat!("overlayd ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::CheckConfig(sources) => match config::load(&sources) {
            Ok(_) => print("the configuration is right\n"),
            Err(e) => fail(WRONG, &error::causes(Some(&e))),
        },
        Command::Run(sources) => match config::load(&sources) {
            Ok(config) => match daemon::run(sources, config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(e) => fail(FAILED, &error::causes(Some(&e))),
            },
            Err(e) => fail(WRONG, &error::causes(Some(&e))),
        },
        Command::Cleanup { sources, store } => match config::load(&sources) {
            Ok(config) => clean_up(&config, store),
            Err(e) => fail(WRONG, &error::causes(Some(&e))),
        },
    }
}

/// Removes all that the daemon made, and tells what that was.
fn clean_up(config: &config::Config, with_store: bool) -> ExitCode {
    let cleanup::Cleanup { removed, failed } = match cleanup::run(config, with_store) {
        Ok(cleanup) => cleanup,
        Err(e) => return fail(FAILED, &e.to_string()),
    };
    let lines: String = removed.iter().map(|what| format!("removed {what}\n")).collect();
    let done = print(&lines);
    match failed.is_empty() {
        true => done,
        false => fail(FAILED, &format!("not removed: {}", failed.join("; "))),
    }
}

/// What somebody asked to read.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads it.
        Err(_) => ExitCode::from(FAILED),
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "overlayd: {why}");
    ExitCode::from(code)
}
