//! Network configurations: whether each file can be used at all. `cnitool validate` says more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libcni::runtime::{NetworkList, Networks};

use super::report::Group;
use crate::finding::Finding;

pub(super) fn examine(conf_dir: &Path) -> Group {
    let mut group = Group::new("Configurations");
    match Networks::read(conf_dir) {
        Ok(networks) => {
            for skipped in &networks.skipped {
                let file = skipped.path.display();
                group.found(
                    Finding::error("broken-configuration", format!("{file} cannot be used: {}", skipped.reason))
                        .because("runtimes pass it over, or use no network at all because of it")
                        .cure(format!("cnitool validate {file}")),
                );
            }
            if networks.lists.is_empty() && networks.skipped.is_empty() {
                group.found(
                    Finding::warning("no-network", format!("no network is configured in {}", conf_dir.display()))
                        .because("a runtime starts no container that wants one")
                        .cure("export NETCONFPATH=DIR, if the configurations are elsewhere"),
                );
            }
            names(&mut group, &networks.lists);
        }
        Err(fault) => group.unknown(libcni::error::causes(Some(&fault))),
    }
    group
}

/// The networks, and names that two files have.
fn names(group: &mut Group, lists: &[(PathBuf, NetworkList)]) {
    let mut files: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for (path, list) in lists {
        files.entry(list.name.as_str()).or_default().push(path);
    }
    for (path, list) in lists {
        if files.get(list.name.as_str()).is_some_and(|files| files.first() == Some(&path.as_path())) {
            let types: Vec<&str> = list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect();
            group.ok(format!("network \"{}\", CNI {}: {}", list.name, list.cni_version, types.join(", ")));
        }
    }
    for (name, files) in files {
        let Some((first, others)) = files.split_first().filter(|(_, others)| !others.is_empty()) else { continue };
        let seen = format!("network \"{name}\" is configured in {} files; {} counts", files.len(), first.display());
        group.found(
            Finding::warning("network-twice", seen)
                .because("what is changed in the others has no effect")
                .cure(format!(
                    "mv {0} {0}.off",
                    others.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
                ))
                .about(others.iter().map(|path| path.display().to_string())),
        );
    }
}
