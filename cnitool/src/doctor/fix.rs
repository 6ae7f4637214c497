//! `--fix`: does what is safe, after showing it. Safe is what removes something that was made for a container that is
//! gone, and what the next ADD would set itself.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use libcni::error::causes;
use libcni::netns::Netns;
use libcni::runtime::NetworkList;
use linuxnet::sysctl;

use super::leaks::{self, Leaks};
use super::report::Group;
use super::{remove, sysctls};
use crate::error::ToolError;
use crate::finding::Severity;
use crate::gc::{self, Keep};
use crate::node::owned::Object;
use crate::node::{Inventory, Owned};
use crate::session::Session;
use crate::terminal::Tone;

/// What `--fix` can do something about.
const FIXED: [&str; 10] = [
    leaks::ADDRESS,
    leaks::LINK,
    leaks::ELEMENT,
    leaks::RULE,
    leaks::CHAIN,
    leaks::FILE,
    "stale-attachment",
    "stale-namespace-file",
    "forwarding-off",
    "route-localnet-off",
];

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Networks to be collected.
    networks: Vec<NetworkList>,
    /// What is removed by itself, unless that has gone with its network.
    objects: Vec<Owned>,
    namespace_files: Vec<PathBuf>,
    /// Settings to be 1.
    settings: Vec<String>,
}

impl Plan {
    pub(super) fn of(inventory: &Inventory, leaks: &Leaks) -> Self {
        // What cannot be read may be of somebody who is alive.
        let is_sure = inventory.unreadable.is_empty();
        let collectable = |name: &String| {
            let list = leaks::list_of(inventory, name)?;
            let has_stale = leaks::stale(inventory).any(|attached| attached.network == list.name);
            (has_stale || list.cni_version.has_gc_and_status()).then(|| list.clone())
        };
        let stale = leaks::stale(inventory).map(|attached| attached.network.to_string());
        let of_leaks = leaks.objects.iter().filter_map(|(_, network)| network.clone());
        let names: BTreeSet<String> = stale.chain(of_leaks).filter(|_| is_sure).collect();
        Self {
            networks: names.iter().filter_map(collectable).collect(),
            objects: leaks.objects.iter().map(|(owned, _)| owned.clone()).filter(is_removable).collect(),
            namespace_files: leaks.namespace_files.clone(),
            settings: sysctls::off(inventory),
        }
    }

    fn is_empty(&self) -> bool {
        let Self { networks, objects, namespace_files, settings } = self;
        networks.is_empty() && objects.is_empty() && namespace_files.is_empty() && settings.is_empty()
    }

    fn lines(&self) -> Vec<String> {
        let networks = self.networks.iter().map(|list| format!("cnitool gc {}", list.name));
        let objects =
            self.objects.iter().map(|owned| format!("remove {}, unless it goes with its network", owned.object));
        let files = self.namespace_files.iter().map(|path| format!("rm {}", path.display()));
        let settings = self.settings.iter().map(|key| format!("sysctl -w {key}=1"));
        networks.chain(objects).chain(files).chain(settings).collect()
    }
}

/// Whether it can be removed without its plugin: a lease is the business of the daemon that has it.
fn is_removable(owned: &Owned) -> bool {
    !matches!(&owned.object, Object::File { what, .. } if what.contains("DHCP"))
}

/// Shows what would be done, asks, and does it. False: nothing was done.
pub(super) fn fix(
    session: &mut Session<'_>,
    groups: &[Group],
    plan: &Plan,
    is_agreed: bool,
) -> Result<bool, ToolError> {
    leaves(session, groups)?;
    if plan.is_empty() {
        session.print("Nothing is left over that could be removed safely.\n")?;
        return Ok(false);
    }
    let heading = session.screen().paint(Tone::Heading, "To be done").to_string();
    session.print(format_args!("{heading}\n"))?;
    for line in plan.lines() {
        session.print(format_args!("  {line}\n"))?;
    }
    if !is_agreed && !agreed(session)? {
        return Ok(false);
    }
    run(session, plan)?;
    Ok(true)
}

/// Says what only an operator can decide.
fn leaves(session: &mut Session<'_>, groups: &[Group]) -> Result<(), ToolError> {
    let findings = groups.iter().flat_map(Group::findings).filter(|finding| finding.severity != Severity::Note);
    let codes: BTreeSet<&str> = findings.map(|finding| finding.code).filter(|code| !FIXED.contains(code)).collect();
    if codes.is_empty() {
        return Ok(());
    }
    session.print(format_args!("Left to you: {}\n", codes.into_iter().collect::<Vec<_>>().join(", ")))
}

/// Asks on the terminal. Without one nobody agrees.
fn agreed(session: &mut Session<'_>) -> Result<bool, ToolError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !session.screen().is_terminal {
        session.print("Nothing was done: there is no terminal to ask on. --yes does it without a question.\n")?;
        return Ok(false);
    }
    session.print("Do it? [y/N] ")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(ToolError::Input)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Does it. What fails is told, and shows up when everything is looked at again.
fn run(session: &mut Session<'_>, plan: &Plan) -> Result<(), ToolError> {
    // Time has passed: who came meanwhile is alive.
    let collected = gc::plan_all(session, &plan.networks, &Keep::Living).and_then(|plans| gc::run(session, &plans));
    if let Err(fault) = collected {
        session.warn(causes(Some(&fault)));
    }
    let inventory = Inventory::read(session.sources());
    let still = Leaks::at_once(&inventory);
    for owned in &plan.objects {
        if still.objects.iter().any(|(again, _)| again.object == owned.object) {
            done(session, &format!("remove {}", owned.object), remove::remove(owned))?;
        }
    }
    for path in plan.namespace_files.iter().filter(|path| leaks::leads_nowhere(path)) {
        done(session, &format!("rm {}", path.display()), Netns::remove(path).map_err(|e| causes(Some(&e))))?;
    }
    for key in &plan.settings {
        done(session, &format!("sysctl -w {key}=1"), sysctl::write(key, "1").map_err(|e| causes(Some(&e))))?;
    }
    Ok(())
}

fn done(session: &mut Session<'_>, what: &str, outcome: Result<(), String>) -> Result<(), ToolError> {
    match outcome {
        Ok(()) => session.print(format_args!("done: {what}\n")),
        Err(reason) => {
            session.warn(format_args!("failed: {what}: {reason}"));
            Ok(())
        }
    }
}
