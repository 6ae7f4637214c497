//! What GC of a network would do, and why.

use std::collections::BTreeMap;
use std::fmt::Write;

use libcni::runtime::NetworkList;
use libcni::types::AttachmentId;

use super::Keep;
use crate::alive::Witnesses;
use crate::doctor::{described, short_ids};
use crate::error::ToolError;
use crate::node::owned::Owner;
use crate::node::{Attached, Inventory, Life, Owned};
use crate::terminal::{Screen, Tone};

/// Where the text of a line begins, in columns.
const INDENT: usize = 9;

/// What is to be done with one network.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) list: NetworkList,
    /// What the plugins are told to keep.
    pub(crate) valid: Vec<AttachmentId>,
    stays: Vec<(AttachmentId, String)>,
    goes: Vec<Going>,
    /// What no attachment of the cache owns.
    loose: Vec<String>,
}

/// An attachment that goes.
#[derive(Debug)]
struct Going {
    id: AttachmentId,
    why: String,
    /// What is known to be removed with it.
    objects: Vec<String>,
}

impl Plan {
    /// The plan for `list`.
    ///
    /// # Errors
    /// [`ToolError::Nameless`] if somebody is alive who cannot be named to the plugins.
    pub(crate) fn of(
        inventory: &Inventory,
        witnesses: &Witnesses,
        list: &NetworkList,
        keep: &Keep,
    ) -> Result<Self, ToolError> {
        let mut plan =
            Self { list: list.clone(), valid: Vec::new(), stays: Vec::new(), goes: Vec::new(), loose: Vec::new() };
        for (at, attached) in inventory.attachments.iter().enumerate().filter(|(_, a)| a.network == list.name) {
            let id = attached.id.clone();
            match judge(attached, witnesses, keep) {
                Ok(why) => plan.stays.push((id, why)),
                Err(why) => {
                    let objects = inventory.owned.iter().filter(|owned| owned.attachments.contains(&at));
                    plan.goes.push(Going { id, why, objects: objects.map(|owned| owned.object.to_string()).collect() });
                }
            }
        }
        if let Keep::Listed(listed) = keep {
            let known = |id: &AttachmentId| inventory.attachments.iter().any(|a| a.network == list.name && a.id == *id);
            let unknown = listed.iter().filter(|id| !known(id)).cloned();
            plan.stays.extend(unknown.map(|id| (id, "it is in the list; the cache does not know it".to_owned())));
        }
        if *keep == Keep::Living {
            for (id, why) in living(inventory, witnesses, list)? {
                plan.stays.push((id, why));
            }
        }
        plan.valid = plan.stays.iter().map(|(id, _)| id.clone()).collect();
        plan.find_loose(inventory, witnesses);
        Ok(plan)
    }

    fn find_loose(&mut self, inventory: &Inventory, witnesses: &Witnesses) {
        let is_of_network = |owned: &&Owned| match &owned.owner {
            Owner::Named { network: Some(network), .. } => network == self.list.name.as_str(),
            _ => false,
        };
        let loose = inventory.owned.iter().filter(|owned| owned.attachments.is_empty()).filter(is_of_network);
        self.loose = loose.filter(|owned| witnesses.is_leaked(inventory, owned)).map(described).collect();
    }

    /// The plan for people.
    pub(crate) fn text(&self, screen: Screen) -> String {
        let list = &self.list;
        let mut text = format!("{}\n", screen.paint(Tone::Heading, format_args!("Network {}", list.name)));
        if list.disable_gc {
            line(&mut text, screen, Tone::Dim, "", "its configuration says disableGC: nothing is done");
            return text;
        }
        for (id, why) in &self.stays {
            line(&mut text, screen, Tone::Ok, "stays", &format!("{}: {why}", shown(id)));
        }
        for Going { id, why, objects } in &self.goes {
            line(&mut text, screen, Tone::Warning, "goes", &format!("{}: {why}", shown(id)));
            objects.iter().for_each(|object| item(&mut text, screen, object));
        }
        if !self.loose.is_empty() && list.cni_version.has_gc_and_status() {
            line(
                &mut text,
                screen,
                Tone::Warning,
                "goes",
                "what no attachment in the cache owns, as far as the plugins see it:",
            );
            self.loose.iter().for_each(|object| item(&mut text, screen, object));
        } else if !self.loose.is_empty() {
            let why = format!(
                "what no attachment owns, since CNI {} has no GC; `cnitool doctor --fix` removes it:",
                list.cni_version
            );
            line(&mut text, screen, Tone::Dim, "left", &why);
            self.loose.iter().for_each(|object| item(&mut text, screen, object));
        }
        let counted = format!("{} stay, {} go", self.stays.len(), self.goes.len());
        line(&mut text, screen, Tone::Dim, "", &counted);
        text
    }
}

/// Why an attachment of the cache stays (`Ok`) or goes.
fn judge(attached: &Attached, witnesses: &Witnesses, keep: &Keep) -> Result<String, String> {
    let netns = attached.netns.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    match (keep, &attached.life) {
        (Keep::None, _) => Err("--all".to_owned()),
        (Keep::Listed(listed), _) if listed.contains(&attached.id) => Ok("it is in the list".to_owned()),
        (Keep::Listed(_), Life::Gone) => Err(format!("it is not in the list, and its namespace {netns} is gone")),
        (Keep::Listed(_), Life::Alive(_)) => {
            Err(format!("it is not in the list, though its namespace {netns} is there"))
        }
        (Keep::Listed(_), Life::Unknown) => Err("it is not in the list".to_owned()),
        (Keep::Living, Life::Alive(_)) => Ok(format!("its namespace {netns} is there")),
        (Keep::Living, Life::Unknown) if attached.netns.is_none() => {
            let nameless = "the cache names no namespace for it";
            match witnesses.of_attachment(attached) {
                Some(why) => Ok(format!("{nameless}, but {why}")),
                // Nothing will ever make it valid again.
                None => Err(format!("{nameless}, and nothing shows that it is alive")),
            }
        }
        (Keep::Living, Life::Unknown) => Ok(format!("its namespace {netns} cannot be looked at")),
        (Keep::Living, Life::Gone) => Err(format!("its namespace {netns} is gone")),
    }
}

/// Who is alive in this network though the cache does not know it.
fn living(
    inventory: &Inventory,
    witnesses: &Witnesses,
    list: &NetworkList,
) -> Result<BTreeMap<AttachmentId, String>, ToolError> {
    let mut found = BTreeMap::new();
    let mut nameless = Vec::new();
    for owned in inventory.owned.iter().filter(|owned| witnesses.is_living(inventory, owned)) {
        let Owner::Named { network: Some(network), container, ifname } = &owned.owner else { continue };
        if network != list.name.as_str() {
            continue;
        }
        let id = ifname.as_deref().and_then(|ifname| {
            Some(AttachmentId { container_id: container.parse().ok()?, ifname: ifname.parse().ok()? })
        });
        match id {
            Some(id) => drop(
                found
                    .entry(id)
                    .or_insert_with(|| format!("the cache does not know it, but it is alive: {}", owned.object)),
            ),
            None => nameless.push((owned, container)),
        }
    }
    // What does not say the interface mostly belongs to somebody who says it elsewhere.
    let is_unknown = |container: &str| !found.keys().any(|id| id.container_id.as_str() == container);
    match nameless.into_iter().find(|(_, container)| is_unknown(container)) {
        Some((owned, _)) => {
            Err(ToolError::Nameless { object: owned.object.to_string(), owner: owned.owner.to_string() })
        }
        None => Ok(found),
    }
}

fn shown(id: &AttachmentId) -> String {
    short_ids(&id.to_string())
}

fn line(text: &mut String, screen: Screen, tone: Tone, what: &str, why: &str) {
    let gap = INDENT.saturating_sub(2 + what.len());
    // A String takes everything.
    let _ = writeln!(text, "  {}{:gap$}{}", screen.paint(tone, what), "", screen.wrapped(why, INDENT));
}

fn item(text: &mut String, screen: Screen, object: &str) {
    let _ = writeln!(text, "{:INDENT$}- {}", "", screen.wrapped(&short_ids(object), INDENT + 2));
}
