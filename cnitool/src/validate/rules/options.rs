//! CNI07: options of plugins that do not go together.

use crate::validate::document::{Kind, Node, Span};
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::network::Plugin;
use crate::validate::rules::Survey;

pub(crate) static RULES: [&Rule; 3] = [&MASQUERADED_TWICE, &CONTRADICTION, &WITHOUT_EFFECT];

static MASQUERADED_TWICE: Rule = Rule {
    code: "CNI0701",
    name: "masqueraded-twice",
    severity: Severity::Warning,
    summary: "ipMasq in two plugins of one list",
    why: "the rules are made twice, and removed by whichever plugin is first in DEL",
    cure: "leave it at the plugin that makes the interface",
};
static CONTRADICTION: Rule = Rule {
    code: "CNI0702",
    name: "contradiction",
    severity: Severity::Error,
    summary: "options that exclude or need one another",
    why: "the plugin refuses its configuration, so every ADD fails",
    cure: "remove one of the two",
};
static WITHOUT_EFFECT: Rule = Rule {
    code: "CNI0703",
    name: "without-effect",
    severity: Severity::Note,
    summary: "an option of something that is not switched on",
    why: "nothing happens, though it looks as if",
    cure: "switch on what it belongs to, or remove it",
};

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for network in &survey.networks {
        let mut first: Option<&str> = None;
        for plugin in &network.plugins {
            let own = plugin.node.is_set("ipMasq");
            let delegated = || plugin.delegate().and_then(|delegate| delegate.is_set("ipMasq"));
            let Some(member) = own.or_else(delegated) else { continue };
            if let Some(first) = first {
                let problem = format!("`ipMasq` is set, and at `{first}` before it");
                findings.push(Finding::new(&MASQUERADED_TWICE, plugin.file, &member.key_span, problem));
            }
            first.get_or_insert(plugin.kind());
        }
    }
    for (_, plugin) in survey.plugins() {
        contradictions(&plugin, findings);
        without_effect(&plugin, findings);
    }
}

fn contradictions(plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    let mut add = |span: &Span, problem: &str, cure: Option<&str>| {
        let finding = Finding::new(&CONTRADICTION, plugin.file, span, problem);
        findings.push(finding.perhaps(cure.map(str::to_owned)));
    };
    let node = plugin.node;
    match plugin.kind() {
        "bridge" => {
            if let (Some(_), Some(promiscuous)) = (node.is_set("hairpinMode"), node.is_set("promiscMode")) {
                add(&promiscuous.key_span, "`promiscMode` and `hairpinMode` exclude each other", None);
            }
            if let (Some(off), Some(_)) = (node.is_set("disableContainerInterface"), plugin.ipam()) {
                add(&off.key_span, "an interface that stays down can have no addresses of `ipam`", None);
            }
            for trunk in node.get("vlanTrunk").map_or(&[][..], Node::items) {
                if let Some((problem, cure)) = trunk_problem(trunk) {
                    add(&trunk.opening(), problem, Some(cure));
                }
            }
        }
        "portmap" => {
            if let (Some(_), Some(chain)) = (node.get("markMasqBit"), node.member("externalSetMarkChain")) {
                add(&chain.key_span, "`externalSetMarkChain` and `markMasqBit` exclude each other", None);
            }
        }
        "bandwidth" => {
            for (rate, burst) in [("ingressRate", "ingressBurst"), ("egressRate", "egressBurst")] {
                let given = |key: &str| node.number_of(key).filter(|n| *n > 0).and_then(|_| node.member(key));
                let (present, absent) = match (given(rate), given(burst)) {
                    (Some(member), None) => (member, burst),
                    (None, Some(member)) => (member, rate),
                    _ => continue,
                };
                let problem = format!("`{}` needs `{absent}` beside it", present.key);
                add(&present.key_span, &problem, Some(&format!("add \"{absent}\", in bits")));
            }
        }
        "host-device" => {
            let keys = ["device", "hwaddr", "kernelpath", "pciBusID"];
            if !keys.iter().any(|key| node.has(key)) && !plugin.capabilities().contains(&"deviceID") {
                let cure = "add one of them, or the capability `deviceID`";
                let problem = "no device is named by `device`, `hwaddr`, `kernelpath` or `pciBusID`";
                add(&plugin.place().opening(), problem, Some(cure));
            }
        }
        _ => {}
    }
}

fn trunk_problem(trunk: &Node) -> Option<(&'static str, &'static str)> {
    match (trunk.number_of("minID"), trunk.number_of("maxID")) {
        (Some(min), Some(max)) if min > max => Some(("`minID` is above `maxID`", "swap the two")),
        (Some(_), None) => Some(("`minID` needs `maxID` beside it", "add \"maxID\", or write \"id\" for one VLAN")),
        (None, Some(_)) => Some(("`maxID` needs `minID` beside it", "add \"minID\", or write \"id\" for one VLAN")),
        _ => None,
    }
}

fn without_effect(plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    let node = plugin.node;
    let is_gateway = node.is_set("isGateway").or_else(|| node.is_set("isDefaultGateway")).is_some();
    let options = match plugin.kind() {
        "bridge" => vec![
            ("ipMasqBackend", "ipMasq", node.is_set("ipMasq").is_some()),
            ("forceAddress", "isGateway", is_gateway),
        ],
        "ptp" => vec![("ipMasqBackend", "ipMasq", node.is_set("ipMasq").is_some())],
        _ => return,
    };
    for (key, needed, is_on) in options {
        let member = node.member(key).filter(|member| !matches!(member.value.kind, Kind::Bool(false)));
        if let Some(member) = member.filter(|_| node.has(key) && !is_on) {
            let problem = format!("`{key}` has no effect without `{needed}`");
            findings.push(Finding::new(&WITHOUT_EFFECT, plugin.file, &member.key_span, problem));
        }
    }
}
