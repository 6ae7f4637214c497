//! Network configurations: what `cnitool validate` finds in them, and the networks that can be used.
//!
//! What it finds of plugins' files, versions and answers is in the group of the directories.

use std::collections::BTreeSet;
use std::path::Path;

use libcni::error;
use libcni::runtime::Networks;

use super::report::Group;
use crate::finding::{Finding, Severity};
use crate::validate;

pub(super) fn examine(conf_dir: &Path) -> Group {
    let mut group = Group::new("Configurations");
    match Networks::read(conf_dir) {
        Ok(networks) => {
            if networks.lists.is_empty() && networks.skipped.is_empty() {
                group.found(
                    Finding::warning("no-network", format!("no network is configured in {}", conf_dir.display()))
                        .because("a runtime starts no container that wants one")
                        .cure("export NETCONFPATH=DIR, if the configurations are elsewhere"),
                );
            }
            usable(&mut group, &networks);
            validated(&mut group, conf_dir, &networks);
        }
        Err(fault) => group.unknown(error::causes(Some(&fault))),
    }
    group
}

/// The networks that can be chosen: each name once.
fn usable(group: &mut Group, networks: &Networks) {
    let mut names = BTreeSet::new();
    for (_, list) in networks.lists.iter().filter(|(_, list)| names.insert(list.name.as_str())) {
        let types: Vec<&str> = list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect();
        group.ok(format!("network \"{}\", CNI {}: {}", list.name, list.cni_version, types.join(", ")));
    }
}

/// What is wrong with the files. Of one that runtimes pass over without an error that is known by a code, this much is said.
fn validated(group: &mut Group, conf_dir: &Path, networks: &Networks) {
    let found = match validate::directory(conf_dir) {
        Ok((found, fault)) => {
            if let Some(fault) = fault {
                group.unknown(format!("routes and interfaces are not looked at: {}", error::causes(Some(&fault))));
            }
            found
        }
        Err(fault) => {
            group.unknown(error::causes(Some(&fault)));
            Vec::new()
        }
    };
    for skipped in &networks.skipped {
        let is_error_in = |finding: &Finding| {
            finding.severity == Severity::Error
                && finding.place.as_ref().is_some_and(|place| place.file == skipped.path)
        };
        if !found.iter().any(is_error_in) {
            let file = skipped.path.display();
            group.found(
                Finding::error("broken-configuration", format!("{file} cannot be used: {}", skipped.reason))
                    .because("runtimes pass it over, or use no network at all because of it")
                    .cure(format!("cnitool validate {file}")),
            );
        }
    }
    found.into_iter().for_each(|finding| group.found(finding));
}
