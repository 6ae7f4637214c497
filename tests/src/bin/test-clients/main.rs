//! `scripts/test-clients`: one container runtime with our plugins as its CNI directory. It runs as root in the sandbox of
//! `scripts/in-namespaces --root`.
//!
//! A client is a module in `clients` and a file in `scripts/clients`, which says what has to be installed. What all share is
//! [`machine::Machine`]: a node, the plugins behind recorders, and what is left in the end.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test program reports by failing")]

mod calls;
mod clients;
mod machine;
mod options;
mod report;
mod times;

use std::io::Write as _;
use std::process::ExitCode;

use clients::CLIENTS;
use ferrule_tests::recording::Origin;
use machine::Machine;
use options::Options;
use report::Report;

/// What scripts/test-clients takes for a client that could not be checked.
const ALL_SKIPPED: u8 = 3;

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else { return ExitCode::from(2) };
    let Some((name, program, run)) = CLIENTS.iter().find(|(name, ..)| *name == options.client) else {
        return ExitCode::from(2);
    };
    let machine = Machine::boot(&options);
    let overhead_ms = machine.recorder_ms();
    let mut report = Report::new();
    run(&machine, &options, &mut report);
    // From here on a panic is our own.
    drop(std::panic::take_hook());
    if let Some(dir) = &options.keep_calls {
        let client = machine.version_of(program);
        let made_by = format!("scripts/test-clients --kill {} --calls DIR {name}", options.kills);
        machine.calls.keep(Origin { client, made_by }, &dir.join(format!("{name}.jsonl")));
    }
    let logs = if report.failed() { machine.logs() } else { String::new() };
    let text = format!("{logs}{}\n{}\n", report.table(name), machine.calls.table(overhead_ms));
    std::io::stdout().write_all(text.as_bytes()).expect("stdout");
    if report.failed() {
        ExitCode::FAILURE
    } else if report.all_skipped() {
        ExitCode::from(ALL_SKIPPED)
    } else {
        ExitCode::SUCCESS
    }
}
