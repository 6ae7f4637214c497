//! `conformance`: whether plugins do what the specification says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use conformance::profile::Profile;
use conformance::report::Style;
use conformance::{Options, RunError};
use libcni::store;
use serde_json::json;

use crate::error::ToolError;
use crate::session::Session;

/// The subcommand that a node's process is started with.
pub(crate) const NODE: &str = "conformance-node";

/// What an execution of a plugin gets, where --timeout is not given, in seconds.
const LIMIT: u32 = 60;

#[derive(Debug, Args)]
pub(crate) struct ConformanceOptions {
    /// The directory of the plugins
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    bin_dir: Option<PathBuf>,
    /// Test this plugin (may be repeated; default: every plugin in the directory)
    #[arg(long = "plugin", value_name = "TYPE")]
    plugins: Vec<String>,
    /// Configurations of plugins that the suite does not know: a network configuration, or a list of profiles
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run this group of cases, or this case (may be repeated; default: all)
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Have this program, with the command line of the Go cnitool, drive the plugins where a case does what runtimes do
    #[arg(long, value_name = "PROGRAM")]
    cnitool: Option<PathBuf>,
    /// How the outcome is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the outcome to this file, and only the table of it to stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// List the cases, and run none
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, and what failed with its input, output and expectation
    #[default]
    Text,
    /// One JSON object
    Json,
    /// JUnit XML
    Junit,
}

pub(crate) fn conformance(session: &mut Session<'_>, options: &ConformanceOptions) -> Result<(), ToolError> {
    if options.list {
        return list(session, options);
    }
    let limit = session.runtime.timeout.unwrap_or(Duration::from_secs(LIMIT.into()));
    let options_of_run = Options {
        program: std::env::current_exe().map_err(ToolError::ThisProgram)?,
        node_arguments: vec![NODE.to_owned()],
        bin_dir: options.bin_dir.clone().unwrap_or_default(),
        plugins: options.plugins.clone(),
        profiles: options.config.as_deref().map(profiles).transpose()?.unwrap_or_default(),
        groups: options.groups.clone(),
        limit,
        cnitool: options.cnitool.clone(),
    };
    let report = {
        let line = session.progress("looking at the plugins");
        conformance::run(&options_of_run, &|done, all| line.step(format!("{done} of {all} trials")))?
    };
    let screen = session.screen();
    let style = Style { width: screen.columns(), colour: screen.colour };
    let mut table = Vec::new();
    // A vector takes all that is written.
    let _ = report.write_text(&mut table, style);
    let table = String::from_utf8_lossy(&table).into_owned();
    let outcome = match options.format {
        Format::Text => table.clone(),
        Format::Json => format!("{}\n", libcni::json::pretty(&report.to_json())),
        Format::Junit => report.to_junit(),
    };
    match &options.output {
        Some(path) => {
            store::write_atomic(path, outcome.as_bytes(), 0o644)?;
            session.print(table)?;
        }
        None => session.print(outcome)?,
    }
    if report.has_errors() {
        return Err(ToolError::UnfinishedTrials);
    }
    if report.fails_a_must() { Err(ToolError::NotConforming) } else { Ok(()) }
}

/// The profiles in a file of the user's.
fn profiles(path: &Path) -> Result<Vec<Profile>, ToolError> {
    let fault = |source| ToolError::Profile { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(fault)?;
    Ok(Profile::all_of(&path.display().to_string(), &text).map_err(RunError::from)?)
}

/// The cases that are chosen: what they show, and why it is demanded.
fn list(session: &mut Session<'_>, options: &ConformanceOptions) -> Result<(), ToolError> {
    let cases = conformance::chosen(&options.groups)?;
    if options.format == Format::Json {
        let cases: Vec<_> = cases
            .iter()
            .map(|case| json!({"case": case.name, "level": case.level, "section": case.section, "about": case.about}))
            .collect();
        return session.print(format_args!("{}\n", libcni::json::pretty(&json!(cases))));
    }
    let row = |case: conformance::case::Case| [case.name, case.level.as_str().to_owned(), case.about, case.section];
    session.table(["CASE", "LEVEL", "SHOWS", "SECTION"], cases.into_iter().map(row))
}
