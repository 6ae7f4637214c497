//! The kernel: what the networks need of it, tried in a namespace that nobody sees.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libcni::child::wait_until;
use libcni::runtime::NetworkList;

use super::directories::listed;
use super::feature::{Feature, needed};
use super::report::Group;
use crate::finding::Finding;

/// The hidden command that tries.
pub(crate) const COMMAND: &str = "try-kernel";
/// A kernel that loads modules for all features may take that long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn examine(lists: &[(PathBuf, NetworkList)]) -> Group {
    let mut group = Group::new("Kernel");
    match tried() {
        Ok(faults) => judge(&mut group, &faults, &needed(lists)),
        Err(reason) => group.unknown(format!("what the kernel can do: {reason}")),
    }
    group
}

/// Why features cannot be had, by their names; none for those that work.
fn tried() -> Result<BTreeMap<Feature, Option<String>>, String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(COMMAND).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot run myself: {e}"))?;
    let is_done = wait(&mut child);
    let mut text = [String::new(), String::new()];
    let [out, err] = &mut text;
    // The lines fit into a pipe: it has ended, and nothing is lost.
    let _ = child.stdout.take().map(|mut pipe| pipe.read_to_string(out));
    let _ = child.stderr.take().map(|mut pipe| pipe.read_to_string(err));
    if !is_done {
        return Err(format!("it did not answer: {}", err.trim()));
    }
    Ok(parse(out))
}

/// Whether it ends with success before the time is over.
fn wait(child: &mut Child) -> bool {
    match wait_until(child, Instant::now() + PATIENCE) {
        Ok(Some(status)) => status.success(),
        Err(_) => false,
        Ok(None) => {
            // It is not reaped yet, so it is this very process.
            let _ = child.kill();
            let _ = child.wait();
            false
        }
    }
}

fn parse(lines: &str) -> BTreeMap<Feature, Option<String>> {
    let line = |line: &str| {
        let (name, fault) = line.split_once('\t')?;
        Some((Feature::find(name)?, Some(fault.to_owned()).filter(|fault| !fault.is_empty())))
    };
    lines.lines().filter_map(line).collect()
}

fn judge(group: &mut Group, faults: &BTreeMap<Feature, Option<String>>, needed: &BTreeMap<Feature, BTreeSet<String>>) {
    let names = |has: bool| {
        let fits = move |(feature, fault): (&Feature, &Option<String>)| {
            (fault.is_none() == has && (has || !needed.contains_key(feature))).then(|| feature.name())
        };
        faults.iter().filter_map(fits).collect::<Vec<_>>().join(", ")
    };
    group.ok(format!("the kernel has {}", names(true)));
    for (feature, networks) in needed {
        let Some(Some(fault)) = faults.get(feature) else { continue };
        group.found(
            Finding::error("kernel-lacks", format!("the kernel has no {}: {fault}", feature.name()))
                .because(format!("{} cannot work without it", listed(networks)))
                .cure(format!("modprobe {}", feature.module())),
        );
    }
    let unneeded = names(false);
    if !unneeded.is_empty() {
        group.ok(format!("it lacks, and no network needs, {unneeded}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_and_missing_is_an_error_and_what_is_not_needed_is_not() {
        let faults = parse("veth\t\nvrf\tcannot create VRF: no such kind\nmacvlan\tnot supported\nrubbish\n");
        let needed = BTreeMap::from([
            (Feature::Veth, BTreeSet::from(["pods".to_owned()])),
            (Feature::Vrf, BTreeSet::from(["blue".to_owned()])),
        ]);
        let mut group = Group::new("Kernel");
        judge(&mut group, &faults, &needed);
        let found: Vec<_> = group.findings().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].seen, "the kernel has no vrf: cannot create VRF: no such kind");
        assert_eq!(found[0].cure, "modprobe vrf");
        let text = super::super::report::text(&[group], crate::terminal::Screen::default());
        assert!(text.contains("the kernel has veth\n") && text.contains("no network needs, macvlan\n"), "{text}");
    }

    #[test]
    fn every_feature_has_a_name_of_its_own() {
        for (feature, name, module) in Feature::ALL {
            assert_eq!(Feature::find(name), Some(feature));
            assert_eq!((feature.name(), feature.module()), (name, module));
        }
    }
}
