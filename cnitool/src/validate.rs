//! `cnitool validate`: looks for what is wrong with configurations before a container does.

#[cfg(test)]
mod corpus;
mod document;
mod finding;
mod format;
mod host;
mod json;
mod near;
mod network;
mod rules;
mod sarif;
mod shape;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use libcni::runtime::{LoadError, find_network};
use libcni::store;
use linuxnet::NetlinkError;

use crate::error::ToolError;
use crate::finding::{self as node, Place};
use crate::session::Session;
use crate::terminal::Screen;

use finding::{Finding, Severity};
use host::Host;
use network::{File, Network, Plugin};
use rules::Survey;

#[derive(Debug, Args)]
pub(crate) struct ValidateOptions {
    /// Files, directories (their .conflist, .conf and .json files), or names of networks (default: NETCONFPATH)
    #[arg(value_name = "FILE|DIR|NETWORK")]
    targets: Vec<String>,
    /// How to print the findings
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,
    /// Do not look at this node (its plugins, interfaces and routes): for the configurations of another one
    #[arg(long)]
    no_host: bool,
    /// Print the table of all codes instead, as Markdown
    #[arg(long)]
    list_codes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For editors, GitHub and other tools: SARIF 2.1.0
    Sarif,
}

/// What came of looking at files.
#[derive(Debug)]
struct Report<'f> {
    files: &'f [File],
    networks: Vec<Network<'f>>,
    findings: Vec<Finding>,
}

pub(crate) fn validate(session: &mut Session<'_>, options: &ValidateOptions) -> Result<(), ToolError> {
    if options.list_codes {
        return session.print(text::codes());
    }
    let files = read(&paths(session, &options.targets)?);
    let host = if options.no_host { Host::default() } else { look(session, &files) };
    let report = Report::of(&files, &host);
    let output = report.print(options.format, session.screen());
    session.print(output)?;
    report.verdict(options.strict)
}

/// What is wrong with the configurations of this directory, and why links and routes could not be looked at, for who looks
/// at all of the node: plugins are not asked, and notes are left out.
pub(crate) fn directory(dir: &Path) -> Result<(Vec<node::Finding>, Option<NetlinkError>), ToolError> {
    let files = read(&in_dir(dir)?);
    let (host, fault) = Host::without_answers();
    let findings = Survey::new(&files, &host).findings();
    let found = findings.iter().filter(|finding| finding.rule.severity != Severity::Note).filter_map(|finding| {
        let (rule, file) = (finding.rule, files.get(finding.file)?);
        let at = file.lines().place(finding.span.start);
        let place = Place { file: file.path.clone(), line: at.line, column: at.column };
        let found = node::Finding::new(rule.severity, rule.code, &finding.problem).at(place);
        Some(found.because(rule.why).cure(&finding.cure))
    });
    Ok((found.collect(), fault))
}

impl<'f> Report<'f> {
    fn of(files: &'f [File], host: &'f Host) -> Self {
        let survey = Survey::new(files, host);
        let findings = survey.findings();
        Self { files, networks: survey.networks, findings }
    }

    fn print(&self, format: Format, screen: Screen) -> String {
        match format {
            Format::Text => text::print(self, screen),
            Format::Json => format!("{:#}\n", json::of(self)),
            Format::Sarif => format!("{:#}\n", sarif::of(self)),
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.rule.severity == severity).count()
    }

    fn verdict(&self, strict: bool) -> Result<(), ToolError> {
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        match (errors, strict, warnings) {
            (0, false, _) | (0, true, 0) => Ok(()),
            (0, true, warnings) => Err(ToolError::Findings { count: warnings, what: "warning" }),
            (errors, ..) => Err(ToolError::Findings { count: errors, what: "error" }),
        }
    }
}

/// The files that the command line means, each once, those of a directory in the order of their names.
fn paths(session: &Session<'_>, targets: &[String]) -> Result<Vec<PathBuf>, ToolError> {
    let conf_dir = session.conf_dir();
    if targets.is_empty() {
        let files = in_dir(conf_dir)?;
        return if files.is_empty() { Err(LoadError::Empty(conf_dir.to_owned()).into()) } else { Ok(files) };
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for target in targets {
        let path = Path::new(target);
        let found = match path {
            dir if dir.is_dir() => in_dir(dir)?,
            file if file.is_file() || target.contains('/') || network::is_configuration(file) => vec![file.to_owned()],
            _name => vec![find_network(conf_dir, target)?.path],
        };
        paths.extend(found);
    }
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    Ok(paths)
}

fn in_dir(dir: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let files = store::files(dir).map_err(LoadError::Directory)?;
    Ok(files.into_iter().filter(|path| network::is_configuration(path)).collect())
}

/// Reads the files, and the drop-ins that they mean.
fn read(paths: &[PathBuf]) -> Vec<File> {
    let mut files: Vec<File> = paths.iter().map(|path| File::read(path)).collect();
    let drop_ins: Vec<PathBuf> = files.iter().flat_map(network::drop_ins).collect();
    files.extend(drop_ins.iter().filter(|path| !paths.contains(path)).map(|path| File::read(path)));
    files
}

/// Looks at this node, and asks its plugins.
fn look(session: &mut Session<'_>, files: &[File]) -> Host {
    session.assume_plugin_dir();
    let types = types(files, &Host::default());
    let (host, fault) = Host::look(&session.runtime, &types);
    if let Some(fault) = fault {
        session.warn(format_args!("routes and interfaces are not looked at: {fault}"));
    }
    host
}

/// The plugins that `files` need.
fn types(files: &[File], host: &Host) -> BTreeSet<String> {
    let survey = Survey::new(files, host);
    let plugins: Vec<Plugin<'_>> = survey.plugins().map(|(_, plugin)| plugin).collect();
    plugins.iter().flat_map(rules::programs).map(|(kind, _)| kind.to_owned()).collect()
}
