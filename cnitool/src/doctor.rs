//! doctor: looks at everything on this node that container networks need, and says what to do.
//!
//! One file for each group of checks. A check that cannot be made is told, and is no finding.

mod configurations;
mod configured;
mod directories;
mod dropper;
mod feature;
mod firewall;
mod fix;
mod kernel;
mod leaks;
mod overlay;
pub(crate) mod probe;
mod remove;
mod report;
mod sysctls;

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::ToolError;
use crate::node::Inventory;
use crate::session::Session;
use leaks::Leaks;
pub(crate) use leaks::described;
pub(crate) use report::short_ids;
use report::{Group, Summary};

/// What each plugin gets to answer VERSION.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Print text, or JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Remove what is left of containers that are gone, and set what ADD would set, after showing it
    #[arg(long, conflicts_with = "format")]
    fix: bool,
    /// Do not ask before
    #[arg(long, requires = "fix")]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(crate) fn doctor(session: &mut Session<'_>, options: &DoctorOptions) -> Result<(), ToolError> {
    session.assume_plugin_dir();
    session.runtime.timeout.get_or_insert(VERSION_TIMEOUT);
    let inventory = Inventory::read(session.sources());
    let leaks = Leaks::find(session, &inventory);
    let groups = examine(session, &inventory, &leaks);
    match options.format {
        Format::Text => session.print(report::text(&groups, session.screen()))?,
        Format::Json => session.print(format_args!("{}\n", libcni::json::pretty(&report::json(&groups))))?,
    }
    let summary = Summary::of(&groups);
    if !options.fix || summary.is_well() {
        return verdict(summary);
    }
    session.print("\n")?;
    if !fix::fix(session, &groups, &fix::Plan::of(&inventory, &leaks), options.yes)? {
        return verdict(summary);
    }
    let inventory = Inventory::read(session.sources());
    let leaks = Leaks::find(session, &inventory);
    let left = report::findings_alone(examine(session, &inventory, &leaks));
    session.print(format_args!("\nWhat is left:\n{}", report::text(&left, session.screen())))?;
    verdict(Summary::of(&left))
}

fn verdict(summary: Summary) -> Result<(), ToolError> {
    if summary.is_well() { Ok(()) } else { Err(ToolError::NodeNotWell) }
}

/// All checks, in the order in which one thing rests on another.
fn examine(session: &Session<'_>, inventory: &Inventory, leaks: &Leaks) -> Vec<Group> {
    let conf_dir = session.sources().conf_dir;
    let networks = &inventory.networks;
    let progress = session.progress("looking at the plugins");
    let mut groups = vec![directories::examine(&session.runtime, conf_dir, networks)];
    groups.push(configurations::examine(conf_dir));
    progress.step("trying what the kernel can do");
    groups.push(kernel::examine(networks));
    progress.step("looking at sysctls and firewalls");
    groups.push(sysctls::examine(inventory));
    groups.push(firewall::examine(inventory));
    groups.push(leaks::examine(inventory, leaks));
    progress.step("asking for the overlay");
    groups.push(overlay::examine(inventory));
    groups
}
