//! Directories and plugins: what is there, what it is, and whether it can be run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libcni::runtime::{NetworkList, Runtime};
use libcni::{error, store};

use super::configured::Plugin;
use super::report::Group;
use crate::finding::Finding;
use crate::report::counted;

/// `e_machine` of an ELF file: its place, and how many bytes of the file are looked at.
const ELF_MACHINE: usize = 18;
const ELF_BYTES: usize = 20;

/// What is found under the name of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Runs,
    NotExecutable,
    /// An ELF file of another machine than this program's own.
    OtherMachine,
}

/// A file that may be a plugin.
#[derive(Clone, Debug)]
struct Candidate {
    path: PathBuf,
    program: Program,
    /// Device, inode and size: what tells two files apart without reading them.
    identity: (u64, u64),
    size: u64,
}

/// Which plugin types the networks name, and which networks.
pub(super) fn wanted(lists: &[(PathBuf, NetworkList)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, list) in lists {
        for name in Plugin::of(list).iter().flat_map(Plugin::types) {
            wanted.entry(name).or_default().insert(list.name.to_string());
        }
    }
    wanted
}

pub(super) fn examine(runtime: &Runtime, conf_dir: &Path, lists: &[(PathBuf, NetworkList)]) -> Group {
    let mut group = Group::new("Directories and plugins");
    configuration(&mut group, conf_dir);
    let wanted = wanted(lists);
    let found = programs(&mut group, &runtime.plugin_dirs);
    plugins(&mut group, runtime, &found, &wanted);
    versions(&mut group, runtime, &found, lists);
    group
}

fn configuration(group: &mut Group, dir: &Path) {
    let shown = dir.display();
    match std::fs::read_dir(dir) {
        Ok(entries) => group.ok(format!("configurations in {shown}: {}", counted(entries.count(), "file"))),
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => group.found(
            Finding::error("missing-directory", format!("there is no configuration directory {shown}"))
                .because("a runtime finds no network, and starts no container that wants one")
                .cure(format!("install -d -m 755 {shown}")),
        ),
        Err(fault) => group.unknown(format!("configurations in {shown} cannot be read: {fault}")),
    }
}

/// The files of the plugin directories by name, in the order in which they are sought.
fn programs(group: &mut Group, dirs: &[PathBuf]) -> BTreeMap<String, Vec<Candidate>> {
    let own = machine(Path::new("/proc/self/exe"));
    let mut found: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    if dirs.is_empty() {
        group.found(
            Finding::error("missing-directory", "no plugin directory is known")
                .because("nothing can be said of the plugins, and no network can be used")
                .cure("export CNI_PATH=/opt/cni/bin"),
        );
    }
    for dir in dirs {
        let shown = dir.display();
        match std::fs::metadata(dir) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) | Err(_) => {
                group.found(
                    Finding::error("missing-directory", format!("there is no plugin directory {shown}"))
                        .because("plugins that are sought there are not found")
                        .cure(format!("install -d -m 755 {shown}")),
                );
                continue;
            }
        }
        match store::files(dir) {
            Ok(files) => {
                group.ok(format!("plugin directory {shown}: {}", counted(files.len(), "file")));
                for path in files {
                    let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                        continue;
                    };
                    found.entry(name).or_default().extend(candidate(path, own));
                }
            }
            Err(fault) => group.unknown(error::causes(Some(&fault))),
        }
    }
    found
}

fn candidate(path: PathBuf, own: Option<[u8; 2]>) -> Option<Candidate> {
    let meta = std::fs::metadata(&path).ok()?;
    let program = if meta.permissions().mode() & 0o111 == 0 {
        Program::NotExecutable
    } else if own.is_some() && machine(&path).is_some_and(|machine| Some(machine) != own) {
        Program::OtherMachine
    } else {
        Program::Runs
    };
    Some(Candidate { path, program, identity: (meta.dev(), meta.ino()), size: meta.len() })
}

/// The machine that an ELF file is for; `None` for another file.
fn machine(path: &Path) -> Option<[u8; 2]> {
    let mut head = [0; ELF_BYTES];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    let [high, low] = *head.get(ELF_MACHINE..)?.first_chunk()?;
    head.starts_with(b"\x7fELF").then_some([high, low])
}

/// Whether each type that a network names can be run, and what shadows what.
fn plugins(
    group: &mut Group,
    runtime: &Runtime,
    found: &BTreeMap<String, Vec<Candidate>>,
    wanted: &BTreeMap<String, BTreeSet<String>>,
) {
    for (name, networks) in wanted {
        let networks = listed(networks);
        let why = format!("every ADD of {networks} fails");
        match found.get(name).and_then(|all| all.first()) {
            None => group.found(missing(runtime, name, &networks)),
            Some(Candidate { path, program: Program::NotExecutable, .. }) => group.found(
                Finding::error("plugin-not-executable", format!("{} is not executable", path.display()))
                    .because(why)
                    .cure(format!("chmod 755 {}", path.display())),
            ),
            Some(Candidate { path, program: Program::OtherMachine, .. }) => group.found(
                Finding::error("plugin-wrong-machine", format!("{} is for another machine", path.display()))
                    .because(why)
                    .cure(format!("install the plugins for {} in its place", std::env::consts::ARCH)),
            ),
            Some(Candidate { program: Program::Runs, .. }) => {}
        }
    }
    shadowed(group, found, wanted);
}

/// Plugins that hide others of their name in a later directory; one note for each pair of directories.
fn shadowed(group: &mut Group, found: &BTreeMap<String, Vec<Candidate>>, wanted: &BTreeMap<String, BTreeSet<String>>) {
    let mut hidden: BTreeMap<(&Path, &Path), Vec<String>> = BTreeMap::new();
    for (name, all) in found.iter().filter(|(name, _)| wanted.contains_key(*name)) {
        let Some((first, others)) = all.split_first() else { continue };
        for other in others.iter().filter(|other| !is_same(first, other)) {
            let (Some(used), Some(unused)) = (first.path.parent(), other.path.parent()) else { continue };
            hidden.entry((used, unused)).or_default().push(name.clone());
        }
    }
    for ((used, unused), names) in hidden {
        let seen = format!("{} in {} hide others in {}", names.join(", "), used.display(), unused.display());
        group.found(
            Finding::note("plugin-shadowed", seen)
                .because("a runtime whose CNI_PATH has another order uses the others")
                .cure(format!("CNI_PATH={} cnitool version", unused.display())),
        );
    }
}

/// Whether they are the same program, as far as it can be told without reading them.
fn is_same(one: &Candidate, other: &Candidate) -> bool {
    one.identity == other.identity || one.size == other.size
}

fn missing(runtime: &Runtime, name: &str, networks: &str) -> Finding {
    let dirs: Vec<String> = runtime.plugin_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let place = dirs.first().map_or("/opt/cni/bin", String::as_str);
    Finding::error("missing-plugin", format!("there is no plugin \"{name}\" in {}", dirs.join(", ")))
        .because(format!("every ADD of {networks} fails"))
        .cure(format!("cnitool install PATH/{name}={place}/{name}"))
}

/// Asks each plugin that a network names which versions it speaks, and what it is.
fn versions(
    group: &mut Group,
    runtime: &Runtime,
    found: &BTreeMap<String, Vec<Candidate>>,
    lists: &[(PathBuf, NetworkList)],
) {
    let wanted = wanted(lists);
    let mut makes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in wanted.keys() {
        let runs = found.get(name).and_then(|all| all.first()).filter(|first| first.program == Program::Runs);
        let Some(candidate) = runs else { continue };
        match runtime.plugin_versions(name) {
            Ok(versions) => {
                makes.entry(make(&candidate.path)).or_default().push(name);
                for finding in unspoken(name, &versions, lists) {
                    group.found(finding);
                }
            }
            Err(fault) => {
                let reason = error::causes(Some(&fault));
                let reason = reason.lines().next().unwrap_or_default();
                group.found(
                    Finding::error(
                        "plugin-no-answer",
                        format!("{} gives no versions: {reason}", candidate.path.display()),
                    )
                    .because("it is no CNI plugin, or it cannot run on this machine")
                    .cure(format!("CNI_COMMAND=VERSION {} </dev/null", candidate.path.display())),
                );
            }
        }
    }
    for (make, names) in makes {
        group.ok(format!("{make}: {}", names.join(", ")));
    }
}

/// What a plugin says it is, without its name, so that equal ones can be told together.
fn make(path: &Path) -> String {
    match about(path) {
        Some(about) => match about.rsplit_once(" plugin ") {
            Some((_, version)) => format!("plugins that say \"{version}\""),
            None => format!("plugins that say \"{about}\""),
        },
        None => "plugins that do not say what they are".to_owned(),
    }
}

/// What a plugin that is run bare says on stderr: `CNI bridge plugin v1.9.1` in the first line.
fn about(path: &Path) -> Option<String> {
    let mut command = Command::new(path);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().ok()?;
    let line = String::from_utf8_lossy(&output.stderr).lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

/// The networks whose version the plugin does not speak.
fn unspoken(name: &str, versions: &libcni::runtime::PluginVersions, lists: &[(PathBuf, NetworkList)]) -> Vec<Finding> {
    let names_it =
        |list: &NetworkList| Plugin::of(list).iter().any(|plugin| plugin.types().iter().any(|one| one == name));
    let fails = lists.iter().filter(|(_, list)| !versions.supports(list.cni_version) && names_it(list));
    fails
        .map(|(path, list)| {
            let speaks = versions.supported.join(", ");
            let seen = format!("\"{name}\" does not speak CNI {} of network \"{}\"", list.cni_version, list.name);
            Finding::error("plugin-version", seen)
                .because(format!("every ADD of it fails: the plugin speaks {speaks}"))
                .cure(format!("set \"cniVersion\" in {} to a version that all its plugins speak", path.display()))
        })
        .collect()
}

/// `network "a"`, `networks "a" and "b"`, `networks "a", "b" and 3 more`.
pub(super) fn listed(networks: &BTreeSet<String>) -> String {
    let names: Vec<&str> = networks.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => "no network".to_owned(),
        [one] => format!("network \"{one}\""),
        [one, other] => format!("networks \"{one}\" and \"{other}\""),
        [one, other, more @ ..] => format!("networks \"{one}\", \"{other}\" and {} more", more.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_another_machine_is_told() {
        let own = machine(Path::new("/proc/self/exe")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugin");
        let mut head = std::fs::read("/proc/self/exe").unwrap();
        head.truncate(64);
        head[ELF_MACHINE] ^= 0xff;
        store::write_atomic(&path, &head, 0o755).unwrap();
        assert_eq!(candidate(path.clone(), Some(own)).unwrap().program, Program::OtherMachine);
        store::write_atomic(&path, b"#!/bin/sh\n", 0o755).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(candidate(path.clone(), Some(own)).unwrap().program, Program::Runs);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(candidate(path, Some(own)).unwrap().program, Program::NotExecutable);
    }

    #[test]
    fn networks_are_listed_shortly() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed(&set(&["a"])), "network \"a\"");
        assert_eq!(listed(&set(&["a", "b", "c", "d"])), "networks \"a\", \"b\" and 2 more");
    }
}
