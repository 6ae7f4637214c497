//! What there is on the node that an attachment may leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use linuxnet::snapshot::{Change, Entry, Kind, Object, Snapshot, Source};

use crate::ipam;
use crate::node::NodeError;
use crate::wire;

/// Where plugins keep files.
const FILES: [&str; 2] = ["/var/lib/cni", "/run/cni"];

/// Programs that tell the rules of the iptables of old, which no socket tells.
const LEGACY: [&str; 2] = ["/usr/sbin/iptables-legacy-save", "/usr/sbin/ip6tables-legacy-save"];

/// What there is: of the kernel on the host and in containers, and one line for each file, address of `conformance-ipam`,
/// and rule of the iptables of old.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    kernel: Snapshot,
    /// The inside of containers, by name.
    inside: BTreeMap<String, Snapshot>,
    lines: BTreeSet<String>,
}

impl State {
    /// What there is now in this process's namespaces. `legacy`: the iptables of old are looked at, too.
    pub(crate) fn of_node(legacy: bool) -> Result<Self, NodeError> {
        let kernel = Source::open()?.take()?;
        let mut lines = BTreeSet::new();
        for dir in FILES {
            files(Path::new(dir), &mut lines);
        }
        for file in libcni::store::files(&ipam::addresses_dir()).unwrap_or_default() {
            let owner = std::fs::read_to_string(&file).unwrap_or_default();
            lines.insert(format!("conformance-ipam {} of {owner}", file.file_name().unwrap_or_default().display()));
        }
        for program in LEGACY.iter().filter(|_| legacy) {
            iptables(program, &mut lines)?;
        }
        Ok(Self { kernel, inside: BTreeMap::new(), lines })
    }

    /// Adds the inside of a container.
    pub(crate) fn add_container(&mut self, name: &str, inside: Snapshot) {
        self.inside.insert(name.to_owned(), inside);
    }

    /// What appeared since `before` and belongs to an attachment: all but the infrastructure that plugins keep by design,
    /// as a bridge with its addresses and routes, tables, chains and sets without elements, rules that name no
    /// attachment, and the files of an allocator that are no address.
    pub(crate) fn left_since(&self, before: &Self) -> Vec<String> {
        let bridges: Vec<&str> = self.kernel.of(Kind::Link).filter(|entry| is_bridge(entry)).filter_map(dev).collect();
        let changes = self.kernel.since(&before.kernel);
        let added = changes.iter().filter_map(|change| match change {
            Change::Added(entry) => Some(entry),
            Change::Removed(_) | Change::Changed(..) => None,
        });
        let kept = |entry: &&Entry| entry.is_automatic || is_wire(entry) || is_infrastructure(entry, &bridges);
        let of_kernel = added.filter(|entry| !kept(entry)).map(ToString::to_string);
        let lines = self.lines.difference(&before.lines).filter(|line| !is_kept_line(line));
        of_kernel.chain(lines.cloned()).collect()
    }

    /// What is not as it was, be it more, less or changed.
    pub(crate) fn differs_from(&self, before: &Self) -> Vec<String> {
        let mut differs = Vec::new();
        let nothing = Snapshot::default();
        let changed = |now: &Snapshot, then: &Snapshot| -> Vec<String> {
            let changes = now.since(then).into_iter();
            let counts = changes.filter(|change| !change.is_automatic() && !is_wire(change.entry()));
            counts.map(|change| change.to_string()).collect()
        };
        differs.extend(changed(&self.kernel, &before.kernel));
        for (name, inside) in &self.inside {
            let then = before.inside.get(name).unwrap_or(&nothing);
            differs.extend(changed(inside, then).into_iter().map(|change| format!("in {name}: {change}")));
        }
        differs.extend(self.lines.difference(&before.lines).map(|line| format!("+ {line}")));
        differs.extend(before.lines.difference(&self.lines).map(|line| format!("- {line}")));
        differs
    }
}

fn dev(entry: &Entry) -> Option<&str> {
    entry.dev.as_deref()
}

fn is_bridge(entry: &Entry) -> bool {
    matches!(&entry.object, Object::Link(link) if link.kind == "bridge")
}

/// Whether it is the suite's own, for a chained plugin.
fn is_wire(entry: &Entry) -> bool {
    dev(entry).is_some_and(|name| name.starts_with(wire::PREFIX))
}

/// Chains of iptables that stay between attachments.
const CHAINS_FOR_ALL: [&str; 5] =
    ["CNI-HOSTPORT-", "CNI-FORWARD", "CNI-ADMIN", "CNI-ISOLATION-STAGE-", "CNI-FERRULE-TAGS"];

/// Whether plugins keep this between attachments, by design and as the reference does.
fn is_infrastructure(entry: &Entry, bridges: &[&str]) -> bool {
    let is_for_all = |text: &str| CHAINS_FOR_ALL.iter().any(|chain| text.contains(chain));
    match entry.kind {
        Kind::Link => is_bridge(entry),
        Kind::Address | Kind::Route | Kind::Qdisc => dev(entry).is_some_and(|name| bridges.contains(&name)),
        Kind::NftTable | Kind::NftSet => true,
        Kind::NftChain => !entry.text.contains("CNI-") || is_for_all(&entry.text),
        Kind::NftRule => names_no_address(&entry.text) && (!has_comment(&entry.text) || names_nobody(&entry.text)),
        Kind::Rule | Kind::Neighbour | Kind::Filter | Kind::NftElement => false,
    }
}

fn has_comment(rule: &str) -> bool {
    rule.contains("comment")
}

/// A rule that serves all attachments: its text names no container. (Plugins tag the others by a comment.)
fn names_nobody(rule: &str) -> bool {
    !["id: ", "c0ffee", "cnitool-", "CNI-DN-", "CNI-SN-"].iter().any(|tag| rule.contains(tag))
}

/// Whether a rule of `firewall` is for no address and no bridge: there are some without a comment.
fn names_no_address(rule: &str) -> bool {
    let chains = ["CNI-FORWARD", "CNI-ISOLATION-STAGE-", "CNI-FERRULE-TAGS"];
    let words = ["saddr", "daddr", "iifname", "oifname", " -s ", " -d ", " -i ", " -o "];
    !chains.iter().any(|chain| rule.contains(chain)) || !words.iter().any(|word| rule.contains(word))
}

/// As [`is_infrastructure`], of what is not the kernel's.
fn is_kept_line(line: &str) -> bool {
    if let Some(path) = line.strip_prefix("file ") {
        let name = path.rsplit('/').next().unwrap_or(path);
        // An address of an allocator, the backup of `tuning`, an entry of a runtime's cache.
        let is_of_nobody = name.parse::<std::net::IpAddr>().is_err() && names_nobody(path);
        return is_of_nobody && !name.ends_with(".json") && !path.contains("/results/");
    }
    let is_for_all = CHAINS_FOR_ALL.iter().any(|chain| line.contains(chain));
    line.starts_with("iptables ") && is_for_all && names_nobody(line) && names_no_address(line)
}

/// `file PATH`, of everything below a directory.
fn files(dir: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, lines);
        } else {
            lines.insert(format!("file {}", path.display()));
        }
    }
}

/// `iptables PROGRAM :CHAIN` and `iptables PROGRAM -A …`.
fn iptables(program: &str, lines: &mut BTreeSet<String>) -> Result<(), NodeError> {
    let mut command = std::process::Command::new(program);
    let output = command.stdin(std::process::Stdio::null()).output();
    let output = output.map_err(|e| NodeError::Start(program.into(), e))?;
    // `:CHAIN policy [packets:bytes]`; the kernel's own chains have a policy, those of programs have `-`.
    let saved = String::from_utf8_lossy(&output.stdout).into_owned();
    let kept = saved.lines().filter(|l| (l.starts_with(':') && l.contains(" - ")) || l.starts_with('-'));
    lines.extend(kept.map(|l| format!("iptables {program} {}", l.split(" [").next().unwrap_or(l))));
    Ok(())
}
