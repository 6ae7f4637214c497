//! `dhcp daemon`: one thread that waits for everything at once. A lease costs a few descriptors, no thread.

mod clock;
mod duration;
mod event_loop;
mod flags;
mod holder;
mod listener;
mod place;
mod refusal;
mod server;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use libcni::error::causes;
use libcni::store::StoreError;

use self::flags::{Flags, Parsed};
use self::listener::{ListenError, Listener};
use self::server::Server;
use crate::record::Records;

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
enum DaemonError {
    #[error("Error writing pidfile {}: path not absolute", .0.display())]
    PidfileNotAbsolute(PathBuf),
    #[error("Error writing pidfile")]
    Pidfile(#[source] StoreError),
    #[error("Error getting listener")]
    Listen(#[from] ListenError),
    #[error("cannot read the leases of an earlier daemon")]
    Records(#[source] StoreError),
    #[error("cannot {doing}")]
    Wait { doing: &'static str, source: nix::Error },
}

/// Runs the daemon until SIGTERM or SIGINT. 2: the flags are wrong. 1: it cannot start, or go on.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let flags = match flags::parse(arguments) {
        Ok(Parsed::Flags(flags)) => flags,
        Ok(Parsed::Help) => {
            log(flags::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            log(format_args!("{e}\n{}", flags::USAGE));
            return ExitCode::from(2);
        }
    };
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log(causes(Some(&e)));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<(), DaemonError> {
    // Before anybody can know this process by its pidfile or socket.
    let signals = event_loop::signals()?;
    let pidfile = flags.pidfile.as_deref().map(listener::Pidfile::write).transpose()?;
    let listener = Listener::open(&flags.host_prefix, &flags.socket)?;
    let records = Records::of_socket(&flags.host_prefix, listener.path());
    log(format_args!("listens at {}, keeps leases in {}", listener.path().display(), records.dir().display()));
    let mut server = Server::new(flags.settings(), records);
    server.restore().map_err(DaemonError::Records)?;
    event_loop::run(&mut server, &listener, &signals)?;
    server.end();
    drop(pidfile);
    Ok(())
}

/// One line for the operator.
fn log(line: impl fmt::Display) {
    // There is nobody to tell that stderr is closed.
    let _ = writeln!(io::stderr(), "dhcp daemon: {line}");
}
