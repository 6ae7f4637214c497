//! Leaks: what was made for containers that are gone, and is still there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libcni::netns::{NAMED_DIR, Netns, NetnsError};
use libcni::runtime::NetworkList;

use super::report::Group;
use crate::alive::Witnesses;
use crate::finding::Finding;
use crate::node::owned::{Object, Owner};
use crate::node::{Attached, Inventory, Life, Owned, Standing};
use crate::report::counted;
use crate::session::Session;

/// What belongs to nobody may be of an ADD that is under way; a moment later it belongs to somebody.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// What is left over on this node.
#[derive(Debug, Default)]
pub(super) struct Leaks {
    /// Objects, with the network that they are of, where that is known.
    pub(super) objects: Vec<(Owned, Option<String>)>,
    /// Files among the names of namespaces that lead to none.
    pub(super) namespace_files: Vec<PathBuf>,
}

impl Leaks {
    /// Looks for them; twice, where something seems to be nobody's.
    pub(super) fn find(session: &Session<'_>, inventory: &Inventory) -> Self {
        let first = Self::at_once(inventory);
        let is_nobodys = |(owned, _): &(Owned, Option<String>)| inventory.standing(owned) == Standing::Nobodys;
        if first.namespace_files.is_empty() && !first.objects.iter().any(is_nobodys) {
            return first;
        }
        std::thread::sleep(SECOND_LOOK);
        let second = Self::at_once(&Inventory::read(session.sources()));
        let Self { mut objects, mut namespace_files } = first;
        objects.retain(|(owned, _)| second.objects.iter().any(|(again, _)| again.object == owned.object));
        namespace_files.retain(|path| second.namespace_files.contains(path));
        Self { objects, namespace_files }
    }

    /// What is left over now.
    pub(super) fn at_once(inventory: &Inventory) -> Self {
        let witnesses = Witnesses::of(inventory);
        let leaked = inventory.owned.iter().filter(|owned| witnesses.is_leaked(inventory, owned));
        Self {
            objects: leaked.map(|owned| (owned.clone(), network_of(inventory, owned))).collect(),
            namespace_files: files_without_namespace(),
        }
    }
}

/// The network that an object is of, where it or its attachment says so.
fn network_of(inventory: &Inventory, owned: &Owned) -> Option<String> {
    let by_attachment = owned.attachments.first().and_then(|at| inventory.attachments.get(*at));
    match (&owned.owner, by_attachment) {
        (_, Some(attached)) => Some(attached.network.to_string()),
        (Owner::Named { network, .. }, None) => network.clone(),
        (_, None) => None,
    }
}

fn files_without_namespace() -> Vec<PathBuf> {
    let files = libcni::store::files(Path::new(NAMED_DIR)).unwrap_or_default();
    files.into_iter().filter(|path| leads_nowhere(path)).collect()
}

/// Whether the file is there and is no namespace.
pub(super) fn leads_nowhere(path: &Path) -> bool {
    matches!(Netns::open(path), Err(NetnsError::NotANamespace { .. }))
}

/// The attachments in the cache whose namespace is gone.
pub(super) fn stale(inventory: &Inventory) -> impl Iterator<Item = &Attached> {
    inventory.attachments.iter().filter(|attached| attached.life == Life::Gone)
}

/// The list with which a network can be collected: as it is configured, or as an attachment was made with.
pub(super) fn list_of<'i>(inventory: &'i Inventory, network: &str) -> Option<&'i NetworkList> {
    inventory.lists_now_and_then().find(|list| list.name.as_str() == network && !list.disable_gc)
}

pub(super) fn examine(inventory: &Inventory, leaks: &Leaks) -> Group {
    let mut group = Group::new("Leaks");
    attachments(&mut group, inventory);
    objects(&mut group, inventory, leaks);
    for path in &leaks.namespace_files {
        group.found(
            Finding::warning(
                "stale-namespace-file",
                format!("{} is a file, and no namespace is mounted on it", path.display()),
            )
            .because("whoever opens it fails, and no namespace of this name can be made")
            .cure(format!("rm {}", path.display())),
        );
    }
    // Files that are no configuration were told already.
    let is_told = |part: &str| part.starts_with('/');
    for note in inventory.notes.iter().filter(|note| !is_told(&note.part)) {
        group.unknown(note.to_string());
    }
    group
}

fn attachments(group: &mut Group, inventory: &Inventory) {
    let mut by_network: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for attached in stale(inventory) {
        let netns = attached.netns.as_deref().unwrap_or(Path::new("-")).display();
        by_network.entry(attached.network.as_str()).or_default().push(format!("{} ({netns})", attached.id));
    }
    let living = inventory.attachments.iter().filter(|attached| matches!(attached.life, Life::Alive(_))).count();
    group.ok(format!("alive: {} in the cache", counted(living, "attachment")));
    for (network, stale) in by_network {
        let seen = format!(
            "{} of network \"{network}\" in the cache, whose namespace is gone",
            counted(stale.len(), "attachment")
        );
        group.found(
            Finding::warning("stale-attachment", seen)
                .because("nobody will detach them: what was made for them stays")
                .cure(cure(inventory, Some(network), true))
                .about(stale),
        );
    }
    if !inventory.unreadable.is_empty() {
        let files =
            inventory.unreadable.iter().map(|skipped| format!("{}: {}", skipped.path.display(), skipped.reason));
        group.found(
            Finding::warning("unreadable-cache-entry", format!("{} cannot be read", counted(inventory.unreadable.len(), "cache entry")))
                .because("each may be of a living container: nothing that is nobody's is called a leak, and gc refuses its network")
                .cure(format!("rm {}, after a look at it", shown_path(&inventory.unreadable.first().map(|s| s.path.clone()))))
                .about(files),
        );
    }
}

fn shown_path(path: &Option<PathBuf>) -> String {
    path.as_deref().unwrap_or(Path::new("")).display().to_string()
}

fn objects(group: &mut Group, inventory: &Inventory, leaks: &Leaks) {
    let mut kinds: BTreeMap<(&'static str, Option<&str>), Vec<&Owned>> = BTreeMap::new();
    for (owned, network) in &leaks.objects {
        kinds.entry((code(&owned.object), network.as_deref())).or_default().push(owned);
    }
    if kinds.is_empty() {
        group.ok("nothing is left of containers that are gone");
    }
    for ((code, network), objects) in kinds {
        let (noun, why) = meaning(code);
        let of = network.map(|network| format!(" of network \"{network}\"")).unwrap_or_default();
        let seen = format!("{}{of}, whose container is gone", counted(objects.len(), noun));
        // What no attachment owns goes by the plugins' GC alone.
        let goes_by_del = objects.iter().all(|owned| !owned.attachments.is_empty());
        group.found(
            Finding::warning(code, seen)
                .because(why)
                .cure(cure(inventory, network, goes_by_del))
                .about(objects.into_iter().map(described)),
        );
    }
}

/// An object with its owner, as far as it does not say that itself.
pub(crate) fn described(owned: &Owned) -> String {
    match &owned.owner {
        Owner::Named { container, ifname: Some(ifname), .. } => format!("{}: {container} {ifname}", owned.object),
        Owner::Named { container, ifname: None, .. } => format!("{}: {container}", owned.object),
        other => format!("{}: {other}", owned.object),
    }
}

/// What removes it: GC of the network, where the plugins see it; else this command.
fn cure(inventory: &Inventory, network: Option<&str>, goes_by_del: bool) -> String {
    let list = network.and_then(|network| list_of(inventory, network));
    let is_configured = list.is_some_and(|list| inventory.networks.iter().any(|(_, one)| one.name == list.name));
    match list.filter(|list| is_configured && (goes_by_del || list.cni_version.has_gc_and_status())) {
        Some(list) => format!("cnitool gc {}", list.name),
        None => "cnitool doctor --fix".to_owned(),
    }
}

pub(super) const ADDRESS: &str = "leaked-address";
pub(super) const LINK: &str = "leaked-link";
pub(super) const ELEMENT: &str = "leaked-element";
pub(super) const RULE: &str = "leaked-rule";
pub(super) const CHAIN: &str = "leaked-chain";
pub(super) const FILE: &str = "leaked-file";

fn code(object: &Object) -> &'static str {
    match object {
        Object::Reservation { .. } => ADDRESS,
        Object::Link { .. } => LINK,
        Object::NftElement { .. } => ELEMENT,
        Object::NftRule { .. } | Object::IptablesRule { .. } => RULE,
        Object::NftChain { .. } | Object::IptablesChain { .. } => CHAIN,
        Object::File { .. } => FILE,
    }
}

/// What it is called, and why it matters.
fn meaning(code: &str) -> (&'static str, &'static str) {
    match code {
        ADDRESS => ("reserved address", "no other container can have it; when all are gone, ADD fails"),
        LINK => ("link", "it takes packets that nobody gets, and its name"),
        ELEMENT => (
            "element of a map or set",
            "packets to an address or port are treated as those of a container that is gone",
        ),
        RULE => ("rule", "packets to an address or port are treated as those of a container that is gone"),
        CHAIN => ("chain", "it makes the rule set longer, and is walked through where a rule leads there"),
        _ => ("file", "it would be taken for that of another container with the same name"),
    }
}
