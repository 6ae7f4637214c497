//! CNI03: the plugins and their order.

use std::path::Path;

use crate::schema;
use crate::validate::document::Node;
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::host::{Answer, Programs};
use crate::validate::near::did_you_mean;
use crate::validate::network::{Network, Plugin};
use crate::validate::rules::Survey;

pub(crate) static RULES: [&Rule; 8] =
    [&MISSING, &OLD, &SILENT, &CHAINED_FIRST, &SECOND_MAIN, &TWICE, &WRONG_ROLE, &UNHEARD_OF];

static MISSING: Rule = Rule {
    code: "CNI0301",
    name: "missing-plugin",
    severity: Severity::Error,
    summary: "a plugin that no directory of CNI_PATH has",
    why: "every ADD fails, and so does DEL of what was attached before",
    cure: "install the plugin, or set CNI_PATH to where it is",
};
static OLD: Rule = Rule {
    code: "CNI0302",
    name: "unsupported-version",
    severity: Severity::Error,
    summary: "a cniVersion that one of the plugins does not support",
    why: "the plugin refuses every call",
    cure: "write a version that all plugins support, or update the plugin",
};
static SILENT: Rule = Rule {
    code: "CNI0303",
    name: "no-answer",
    severity: Severity::Warning,
    summary: "a plugin that does not answer VERSION",
    why: "it may be no CNI plugin, or be broken, or built for another machine",
    cure: "run it by hand with CNI_COMMAND=VERSION",
};
static CHAINED_FIRST: Rule = Rule {
    code: "CNI0304",
    name: "chained-first",
    severity: Severity::Error,
    summary: "a plugin in the first place that changes what another one made",
    why: "it needs the result of a plugin before it, so every ADD fails",
    cure: "put a plugin that makes an interface before it, such as bridge",
};
static SECOND_MAIN: Rule = Rule {
    code: "CNI0305",
    name: "second-main",
    severity: Severity::Error,
    summary: "a second plugin that makes the container's interface",
    why: "both make an interface of the same name, so every ADD fails",
    cure: "make a network of its own for it, and attach the container to both",
};
static TWICE: Rule = Rule {
    code: "CNI0306",
    name: "plugin-twice",
    severity: Severity::Warning,
    summary: "a plugin that stands twice in one list",
    why: "the second does the work of the first again, or undoes it",
    cure: "remove one of the two",
};
static WRONG_ROLE: Rule = Rule {
    code: "CNI0307",
    name: "wrong-role",
    severity: Severity::Error,
    summary: "an IPAM plugin in the list, or another plugin as IPAM plugin",
    why: "the one makes no interface, and the other assigns no addresses, so every ADD fails",
    cure: "IPAM plugins belong in `ipam`, all others in `plugins`",
};
static UNHEARD_OF: Rule = Rule {
    code: "CNI0308",
    name: "misspelt-plugin",
    severity: Severity::Warning,
    summary: "a plugin with almost the name of a known one (only where nobody looks for plugins)",
    why: "if no plugin has this name, every ADD fails",
    cure: "correct the name",
};

/// Plugins that make the container's interface.
const MAIN: [&str; 10] =
    ["bridge", "dummy", "flannel", "host-device", "ipvlan", "macvlan", "ptp", "tap", "vlan", "vxlan-delegate"];
/// Plugins that change what another one made.
const CHAINED: [&str; 6] = ["bandwidth", "firewall", "portmap", "sbr", "tuning", "vrf"];

/// The types of all programs that `plugin` needs, with where they are named.
pub(crate) fn programs<'f>(plugin: &Plugin<'f>) -> Vec<(&'f str, &'f Node)> {
    let named = |node: &'f Node| node.text_of("type").zip(node.get("type"));
    let mut types: Vec<_> = [named(plugin.node), plugin.ipam().and_then(named)].into_iter().flatten().collect();
    if let Some(delegate) = plugin.delegate() {
        types.push(named(delegate).unwrap_or(("bridge", delegate)));
    }
    types
}

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for network in &survey.networks {
        for plugin in &network.plugins {
            for (kind, place) in programs(plugin) {
                let found = match &survey.host.programs {
                    Some(programs) => program(programs, network, plugin.file, kind, place),
                    None => misspelt(plugin, kind, place),
                };
                findings.extend(found);
            }
            wrong_roles(plugin, findings);
        }
        order(network, findings);
    }
}

fn program(programs: &Programs, network: &Network<'_>, file: usize, kind: &str, place: &Node) -> Option<Finding> {
    let span = place.opening();
    match programs.answers.get(kind)? {
        Answer::Missing => {
            let dirs: Vec<_> = programs.dirs.iter().map(|dir| Path::display(dir).to_string()).collect();
            let problem = format!("there is no plugin `{kind}` in {}", dirs.join(" or "));
            let mut known: Vec<&str> = schema::plugin_types().chain(schema::ipam_types()).collect();
            known.retain(|known| *known != kind);
            known.extend(programs.present.iter().map(String::as_str));
            Some(Finding::new(&MISSING, file, &span, problem).perhaps(did_you_mean(kind, known)))
        }
        Answer::None(fault) => {
            Some(Finding::new(&SILENT, file, &span, format!("`{kind}` does not answer VERSION: {fault}")))
        }
        Answer::Versions(supported) => {
            let version = network.version()?;
            if supported.iter().any(|own| own == version.as_str()) {
                return None;
            }
            let problem = format!("`{kind}` does not support {version}, only {}", supported.join(", "));
            Some(Finding::new(&OLD, file, &span, problem))
        }
    }
}

fn misspelt(plugin: &Plugin<'_>, kind: &str, place: &Node) -> Option<Finding> {
    let known: Vec<&str> = schema::plugin_types().chain(schema::ipam_types()).collect();
    if known.contains(&kind) {
        return None;
    }
    let cure = did_you_mean(kind, known)?;
    let problem = format!("no plugin is known by the name `{kind}`");
    Some(Finding::new(&UNHEARD_OF, plugin.file, &place.opening(), problem).cure(cure))
}

fn wrong_roles(plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    let mut add =
        |place: &Node, problem| findings.push(Finding::new(&WRONG_ROLE, plugin.file, &place.opening(), problem));
    let (kind, ipam) = (plugin.kind(), plugin.ipam_kind());
    if schema::ipam_types().any(|known| known == kind) {
        add(plugin.place(), format!("`{kind}` assigns addresses to the interface of another plugin"));
    }
    let place = plugin.ipam().and_then(|ipam| ipam.get("type"));
    if let Some(place) = place.filter(|_| schema::plugin_types().any(|known| known == ipam)) {
        add(place, format!("`{ipam}` is no IPAM plugin"));
    }
}

fn order(network: &Network<'_>, findings: &mut Vec<Finding>) {
    let at = |plugin: &Plugin<'_>, rule, problem| Finding::new(rule, plugin.file, &plugin.place().opening(), problem);
    if let Some(first) = network.plugins.first().filter(|first| CHAINED.contains(&first.kind())) {
        let problem = format!("`{}` is the first plugin, but makes no interface", first.kind());
        findings.push(at(first, &CHAINED_FIRST, problem));
    }
    for (i, plugin) in network.plugins.iter().enumerate() {
        let before = network.plugins.get(..i).unwrap_or_default();
        let kind = plugin.kind();
        let main = before.iter().find(|other| MAIN.contains(&other.kind()));
        // ipvlan can take the interface of a plugin before it as its master.
        if let Some(main) = main.filter(|_| MAIN.contains(&kind) && kind != "ipvlan") {
            let problem = format!("`{kind}` makes the container's interface, which `{}` has made", main.kind());
            findings.push(at(plugin, &SECOND_MAIN, problem));
        } else if CHAINED.contains(&kind) && before.iter().any(|other| other.kind() == kind) {
            findings.push(at(plugin, &TWICE, format!("`{kind}` stands in this list twice")));
        }
    }
}
