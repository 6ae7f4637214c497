//! CNI02: the network as a whole, and the files beside it.

use std::collections::BTreeMap;
use std::path::Path;

use libcni::SpecVersion;

use crate::validate::document::Node;
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::near::did_you_mean;
use crate::validate::network::Network;
use crate::validate::rules::Survey;

pub(crate) static RULES: [&Rule; 7] =
    [&NO_VERSION, &UNKNOWN_VERSION, &NO_PLUGINS, &SAME_NAME, &SHADOWED, &OF_THE_LIST, &FILLED_IN];

static NO_VERSION: Rule = Rule {
    code: "CNI0201",
    name: "no-version",
    severity: Severity::Warning,
    summary: "a network without cniVersion",
    why: "it is spoken to in version 0.1.0, which has no CHECK and tells neither interfaces nor more than one address",
    cure: "add \"cniVersion\": \"1.0.0\"",
};
static UNKNOWN_VERSION: Rule = Rule {
    code: "CNI0202",
    name: "unknown-version",
    severity: Severity::Error,
    summary: "a version of the specification that does not exist",
    why: "runtimes and plugins refuse versions that they do not know",
    cure: "write one of 0.3.1, 0.4.0, 1.0.0 and 1.1.0",
};
static NO_PLUGINS: Rule = Rule {
    code: "CNI0203",
    name: "no-plugins",
    severity: Severity::Error,
    summary: "a list without plugins",
    why: "there is nobody who would attach a container",
    cure: "add \"plugins\": [{\"type\": …}]",
};
static SAME_NAME: Rule = Rule {
    code: "CNI0204",
    name: "same-name",
    severity: Severity::Warning,
    summary: "two files with one network name",
    why: "the name chooses the network, so only the first can be chosen, and both share addresses and cache entries",
    cure: "give one of them another name, or remove it",
};
static SHADOWED: Rule = Rule {
    code: "CNI0205",
    name: "shadowed",
    severity: Severity::Note,
    summary: "a file behind the first one of a directory",
    why: "containerd and CRI-O attach pods to the network of the first file, in the order of their names, and to no other",
    cure: "begin the name of the file that pods are to use with the lowest number, or leave it as it is for runtimes \
           that choose networks by name",
};
static OF_THE_LIST: Rule = Rule {
    code: "CNI0206",
    name: "of-the-list",
    severity: Severity::Note,
    summary: "a cniVersion in a plugin of a list that is another than the list's",
    why: "runtimes replace it by that of the list",
    cure: "remove it",
};
static FILLED_IN: Rule = Rule {
    code: "CNI0207",
    name: "filled-in",
    severity: Severity::Warning,
    summary: "a key that the runtime fills in",
    why: "what is written there is replaced in some calls and taken for the runtime's in others",
    cure: "remove it; what the runtime is to tell is declared in `capabilities`",
};

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for network in &survey.networks {
        versions(network, findings);
        findings.extend(no_plugins(network));
    }
    for (network, plugin) in survey.plugins() {
        for key in ["runtimeConfig", "prevResult"] {
            if let Some(member) = plugin.node.member(key).filter(|_| plugin.node.has(key)) {
                let problem = format!("`{key}` is for the runtime to fill in");
                findings.push(Finding::new(&FILLED_IN, plugin.file, &member.key_span, problem));
            }
        }
        let own = plugin.node.get("cniVersion").filter(|_| network.is_list);
        if let Some(own) = own.filter(|own| own.text() != network.head.text_of("cniVersion")) {
            let problem = "this `cniVersion` is not that of the list";
            findings.push(Finding::new(&OF_THE_LIST, plugin.file, &own.opening(), problem));
        }
    }
    same_names(survey, findings);
    shadowed(survey, findings);
}

fn versions(network: &Network<'_>, findings: &mut Vec<Finding>) {
    let (own, list) = (network.head.exact("cniVersion"), network.head.exact("cniVersions"));
    if list.is_none() && own.is_none_or(|own| own.text() == Some("")) {
        let place = own.unwrap_or(network.head);
        findings.push(Finding::new(&NO_VERSION, network.file, &place.opening(), "the network has no `cniVersion`"));
    }
    let place = list.or(own).filter(|place| list.is_some() || place.text().is_some_and(|text| !text.is_empty()));
    if let Some(place) = place.filter(|_| network.version().is_none()) {
        let written = own.and_then(Node::text).unwrap_or_default();
        let problem = match list {
            Some(_) => "none of these versions exists".to_owned(),
            None => format!("there is no CNI version \"{written}\""),
        };
        let cure = did_you_mean(written, SpecVersion::ALL.iter().map(|version| version.as_str()));
        findings.push(Finding::new(&UNKNOWN_VERSION, network.file, &place.opening(), problem).perhaps(cure));
    }
}

fn no_plugins(network: &Network<'_>) -> Option<Finding> {
    if !network.plugins.is_empty() || network.head.has("type") {
        return None;
    }
    match network.head.exact("plugins") {
        None => Some((network.head.opening(), "the list has no `plugins`, and no drop-in files beside it")),
        Some(list) if list.items().is_empty() => Some((list.opening(), "`plugins` is empty")),
        Some(_) => None,
    }
    .map(|(span, problem)| Finding::new(&NO_PLUGINS, network.file, &span, problem))
}

fn same_names(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<(Option<&Path>, &str), (usize, &Node)> = BTreeMap::new();
    for network in &survey.networks {
        let (Some(name), Some(node)) = (network.name(), network.head.exact("name")) else { continue };
        let dir = survey.dir(network.file);
        match seen.get(&(dir, name)) {
            Some((file, other)) => {
                let place = survey.where_is(*file, other.span.start);
                let problem = format!("the network of {place} is called \"{name}\", too");
                findings.push(Finding::new(&SAME_NAME, network.file, &node.span, problem));
            }
            None => {
                seen.insert((dir, name), (network.file, node));
            }
        }
    }
}

/// Told once for each directory, at the second file.
fn shadowed(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    let mut dirs: BTreeMap<Option<&Path>, Vec<(String, &Network<'_>)>> = BTreeMap::new();
    // CRI-O brings a file for `lo`, which is for every pod.
    let is_loopback = |network: &&Network<'_>| network.plugins.iter().all(|plugin| plugin.kind() == "loopback");
    for network in survey.networks.iter().filter(|network| !is_loopback(network)) {
        let Some(file) = survey.files.get(network.file) else { continue };
        dirs.entry(file.path.parent()).or_default().push((file.name(), network));
    }
    for mut networks in dirs.into_values() {
        networks.sort_by(|(a, _), (b, _)| a.cmp(b));
        let [(first, before), (_, second), others @ ..] = networks.as_slice() else { continue };
        // Multus attaches pods to the networks of the other files itself.
        if before.plugins.iter().any(|plugin| plugin.kind().starts_with("multus")) {
            continue;
        }
        let more = match others.len() {
            0 => String::new(),
            1 => ", nor the file after it".to_owned(),
            n => format!(", nor the {n} files after it"),
        };
        let problem = format!("{first} comes first: pods do not get this network{more}");
        let place = second.head.get("name").unwrap_or(second.head);
        findings.push(Finding::new(&SHADOWED, second.file, &place.opening(), problem));
    }
}
