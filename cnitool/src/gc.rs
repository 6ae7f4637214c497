//! gc: removes what is left of attachments that are gone, after saying what that is.

mod keep;
pub(crate) mod plan;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use libcni::runtime::{NetworkList, RuntimeError, Skipped};
use libcni::types::AttachmentId;

use crate::alive::Witnesses;
use crate::error::ToolError;
use crate::node::Inventory;
use crate::session::Session;
use plan::Plan;

/// What `--networks` takes for all of them.
const ALL: &str = "all";

#[derive(Debug, Args)]
pub(crate) struct GcOptions {
    /// Name of the network
    #[arg(value_name = "NETWORK", required_unless_present = "networks", conflicts_with = "networks")]
    network: Option<String>,
    /// Not used; accepted because the Go tool wants it
    #[arg(value_name = "NETNS")]
    ignored: Vec<String>,
    /// Several networks, or `all` of the configuration directory and of the cache
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    networks: Vec<String>,
    /// Remove every attachment of the network, also those whose namespace is alive, as the Go tool does
    #[arg(long)]
    all: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep these attachments and no others
    #[arg(long, value_name = "CONTAINER/IFNAME,…", value_delimiter = ',', conflicts_with = "all")]
    keep: Vec<String>,
    /// Keep those in this file (`-`: stdin) and no others: CONTAINER/IFNAME in lines, or the JSON of
    /// cni.dev/valid-attachments
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    keep_from: Option<PathBuf>,
}

/// Which attachments stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Those that are alive.
    Living,
    /// Those of a list.
    Listed(BTreeSet<AttachmentId>),
    /// None.
    None,
}

pub(crate) fn gc(session: &mut Session<'_>, options: &GcOptions) -> Result<(), ToolError> {
    let keep = keep::chosen(&options.keep, options.keep_from.as_deref(), options.all)?;
    let lists = lists(session, options)?;
    let plans = plan_all(session, &lists, &keep)?;
    for plan in &plans {
        session.print(plan.text(session.screen()))?;
    }
    if options.dry_run {
        return session.print("Nothing was done: --dry-run.\n");
    }
    run(session, &plans)
}

/// The networks that are meant.
fn lists(session: &mut Session<'_>, options: &GcOptions) -> Result<Vec<NetworkList>, ToolError> {
    if let Some(name) = &options.network {
        return Ok(vec![session.network(name)?]);
    }
    if options.networks != [ALL] {
        return options.networks.iter().map(|name| session.network(name)).collect();
    }
    let inventory = Inventory::read(session.sources());
    let mut names = BTreeSet::new();
    let first_of_name = inventory.lists_now_and_then().filter(|list| names.insert(list.name.to_string()));
    Ok(first_of_name.cloned().collect())
}

/// What is to be done, by what is on the node now.
pub(crate) fn plan_all(session: &Session<'_>, lists: &[NetworkList], keep: &Keep) -> Result<Vec<Plan>, ToolError> {
    let inventory = Inventory::read(session.sources());
    let witnesses = Witnesses::of(&inventory);
    lists
        .iter()
        .map(|list| {
            if *keep == Keep::Living {
                require_readable(list, &inventory.unreadable)?;
            }
            Plan::of(&inventory, &witnesses, list, keep)
        })
        .collect()
}

/// Does it, network by network.
///
/// # Errors
/// All failures, after trying everything.
pub(crate) fn run(session: &mut Session<'_>, plans: &[Plan]) -> Result<(), ToolError> {
    let mut failures = Vec::new();
    for plan in plans {
        let name = plan.list.name.to_string();
        let progress = session.progress(format!("collecting network {name}"));
        let outcome = session.runtime.gc(&plan.list, &plan.valid);
        drop(progress);
        match outcome {
            Ok(collected) => {
                for skipped in collected.skipped {
                    session.warn(skipped);
                }
                let detached = collected.deleted.len();
                let noun = if detached == 1 { "attachment" } else { "attachments" };
                session.print(format_args!("network {name}: detached {detached} {noun}\n"))?;
            }
            Err(RuntimeError::Several(several)) => failures.extend(several),
            Err(fault) => failures.push(fault),
        }
    }
    match failures.len() {
        0 => Ok(()),
        1 => failures.pop().map_or(Ok(()), |fault| Err(fault.into())),
        _ => Err(RuntimeError::Several(failures).into()),
    }
}

/// The entry of a living container may be in a file that cannot be read. The plugins would be told that it is not valid,
/// and cut it off.
fn require_readable(list: &NetworkList, unreadable: &[Skipped]) -> Result<(), ToolError> {
    let unknown = unreadable.iter().find(|skipped| {
        let name = skipped.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(list.name.as_str()).is_some_and(|rest| rest.starts_with('-'))
    });
    match unknown {
        None => Ok(()),
        Some(Skipped { path, reason }) => Err(ToolError::UnknownAttachment {
            network: list.name.to_string(),
            path: path.clone(),
            reason: reason.clone(),
        }),
    }
}
