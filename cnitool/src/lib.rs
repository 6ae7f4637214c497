//! Runs CNI networks from the command line: the verbs, flags and environment of the Go cnitool, and more.

mod alive;
mod args;
mod attach;
mod collect;
mod completion;
mod conformance;
mod doctor;
mod error;
mod finding;
mod gc;
mod inspect;
mod install;
mod manual;
mod node;
mod overlay;
mod report;
mod schema;
mod session;
mod show;
mod terminal;
mod trace;
mod validate;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use libcni::plugin::Env;

use args::{Cli, Command};
use error::ToolError;
use session::Session;
use terminal::{Screen, Stream, Streams};

/// How long a signal may be overlooked.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    if called_as(::conformance::RECORDING_IPAM) {
        return ::conformance::ipam_main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // --help goes to stdout and is no error; with the stream closed there is nobody to tell.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(error::USAGE));
        }
    };
    if matches!(cli.command, Command::ConformanceNode) {
        return ::conformance::node_main(&mut std::io::stdin(), &mut std::io::stdout(), &mut std::io::stderr());
    }
    libcni::plugin::catch_signals();
    let env = Env::of_process();
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let out = Screen::of(&stdout, cli.global.color, &env);
    let err = Screen::of(&stderr, cli.global.color, &env);
    let mut streams = Streams {
        stdout: Stream { writer: &mut stdout, screen: out },
        stderr: Stream { writer: &mut stderr, screen: err },
    };
    ExitCode::from(run(&cli, &env, &mut streams))
}

/// Waits for a signal that ends it. The first process of a container ends by no signal that it does not catch.
fn pause() {
    while libcni::plugin::interrupted().is_ok() {
        std::thread::sleep(PAUSE);
    }
}

/// Whether this process was started by the name of a plugin that it is, too.
fn called_as(name: &str) -> bool {
    let own = std::env::args_os().next().map(std::path::PathBuf::from);
    own.as_deref().and_then(std::path::Path::file_name).is_some_and(|own| own == name)
}

/// Runs `cli`; the exit code.
fn run(cli: &Cli, env: &Env, streams: &mut Streams<'_>) -> u8 {
    match execute(cli, env, streams).and_then(|()| streams.stdout.writer.flush().map_err(ToolError::Output)) {
        Ok(()) => error::OK,
        Err(fault) => {
            // The exit code says it too.
            let _ = report::error(&mut streams.stderr, &fault);
            fault.exit_code()
        }
    }
}

fn execute(cli: &Cli, env: &Env, streams: &mut Streams<'_>) -> Result<(), ToolError> {
    let mut session = Session::new(&cli.global, env, streams.reborrow())?;
    match &cli.command {
        Command::Add(target) => attach::add(&mut session, target),
        Command::Check(target) => attach::check(&mut session, target),
        Command::Del(target) => attach::del(&mut session, target),
        Command::Trace(options) => trace::trace(&mut session, options),
        Command::Gc(options) => gc::gc(&mut session, options),
        Command::Status(target) => collect::status(&mut session, &target.network),
        Command::Version => inspect::version(&mut session),
        Command::Validate(options) => validate::validate(&mut session, options),
        Command::Schema(options) => schema::schema(&mut session, options),
        Command::Attachments(options) => inspect::attachments(&mut session, options.json),
        Command::Install(options) => install::install(&mut session, &options.placements),
        Command::Rollback(options) => install::rollback(&mut session, options),
        Command::Uninstall(options) => install::uninstall(&mut session, options),
        Command::Pause => {
            pause();
            Ok(())
        }
        Command::Show(options) => show::show(&mut session, options),
        Command::Doctor(options) => doctor::doctor(&mut session, options),
        Command::TryKernel => doctor::probe::run(&mut session),
        Command::Completion(options) => completion::completion(&mut session, options),
        Command::Man(options) => completion::man(&mut session, options),
        Command::Networks => completion::networks(&mut session),
        Command::Overlay(options) => overlay::ask(&mut session, options),
        Command::Conformance(options) => conformance::conformance(&mut session, options),
        // It was run before there was a session.
        Command::ConformanceNode => Ok(()),
    }
}
