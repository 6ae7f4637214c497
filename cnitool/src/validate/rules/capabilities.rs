//! CNI04: what runtimes tell plugins.

use serde_json::Value;

use crate::schema;
use crate::validate::document::Node;
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::near::{did_you_mean, nearest};
use crate::validate::network::Plugin;
use crate::validate::rules::Survey;

pub(crate) static RULES: [&Rule; 3] = [&UNDECLARED, &UNREAD, &OFF];

static UNDECLARED: Rule = Rule {
    code: "CNI0401",
    name: "undeclared-capability",
    severity: Severity::Warning,
    summary: "a plugin that does nothing without a capability, which is not declared",
    why: "runtimes pass values only to plugins that declare the capability, so the plugin has nothing to do",
    cure: "declare the capability",
};
static UNREAD: Rule = Rule {
    code: "CNI0402",
    name: "unread-capability",
    severity: Severity::Warning,
    summary: "a capability that the plugin does not read",
    why: "the value goes to a plugin that ignores it, and what was asked for does not happen",
    cure: "declare it at the plugin that reads it, or remove it",
};
static OFF: Rule = Rule {
    code: "CNI0403",
    name: "capability-off",
    severity: Severity::Note,
    summary: "a capability that is false",
    why: "that is the same as leaving it out, though it looks like a declaration",
    cure: "write true, or remove it",
};

/// The capabilities of CONVENTIONS.md.
pub(super) const CONVENTIONS: [&str; 10] = [
    "aliases",
    "bandwidth",
    "cgroupPath",
    "deviceID",
    "dns",
    "infinibandGUID",
    "ipRanges",
    "ips",
    "mac",
    "portMappings",
];

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for (_, plugin) in survey.plugins() {
        findings.extend(undeclared(&plugin));
        let declared = plugin.node.get("capabilities").map_or(&[][..], Node::members);
        for member in declared {
            let at = |rule, problem| Finding::new(rule, plugin.file, &member.key_span, problem);
            if let Some(cure) = unread(&plugin, &member.key) {
                let problem = format!("`{}` does not read the capability `{}`", plugin.kind(), member.key);
                findings.push(at(&UNREAD, problem).perhaps(cure));
            } else if matches!(member.value.kind, crate::validate::document::Kind::Bool(false)) {
                findings.push(at(&OFF, format!("`{}` is declared as false", member.key)));
            }
        }
    }
}

fn undeclared(plugin: &Plugin<'_>) -> Option<Finding> {
    let declares = |name: &str| plugin.capabilities().iter().any(|own| own.eq_ignore_ascii_case(name));
    let has_any = |keys: &[&str]| keys.iter().any(|key| plugin.node.has(key));
    let (capability, effect) = match plugin.kind() {
        "portmap" => ("portMappings", "no port is ever published"),
        "bandwidth" if !has_any(&["ingressRate", "egressRate", "ingressBurst", "egressBurst"]) => {
            ("bandwidth", "nothing is ever limited")
        }
        _ => return None,
    };
    // A slip has a finding of its own.
    let is_slip = || plugin.capabilities().into_iter().any(|own| nearest(own, [capability]).is_some());
    if declares(capability) || is_slip() {
        return None;
    }
    let problem = format!("`{}` does not declare the capability `{capability}`: {effect}", plugin.kind());
    let cure = format!("add \"capabilities\": {{\"{capability}\": true}}");
    Some(Finding::new(&UNDECLARED, plugin.file, &plugin.place().opening(), problem).cure(cure))
}

/// The cure, if `plugin` does not read the capability. Of a plugin that is not known only slips are known.
#[expect(clippy::option_option, reason = "whether there is a fault, and whether its cure is known")]
fn unread(plugin: &Plugin<'_>, name: &str) -> Option<Option<String>> {
    let Some(schema) = schema::plugin(plugin.kind()) else {
        let is_slip = !CONVENTIONS.contains(&name) && nearest(name, CONVENTIONS).is_some();
        return is_slip.then(|| did_you_mean(name, CONVENTIONS));
    };
    // What flannel's plugin gets it passes on.
    if plugin.delegate().is_some() || matches!(plugin.kind(), "flannel" | "vxlan-delegate") {
        return None;
    }
    let mut known = names(&schema);
    known.extend(schema::ipam(plugin.ipam_kind()).iter().flat_map(names));
    if plugin.ipam().is_some() && schema::ipam(plugin.ipam_kind()).is_none() {
        known.extend(CONVENTIONS.map(str::to_owned));
    }
    if known.iter().any(|own| own == name) {
        return None;
    }
    let is_key = schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
    let cure = is_key.then(|| format!("`{name}` is a key of the plugin: move it out of `capabilities`"));
    Some(cure.or_else(|| did_you_mean(name, known.iter().map(String::as_str))))
}

/// What a schema has in `runtimeConfig`.
fn names(schema: &serde_json::Map<String, Value>) -> Vec<String> {
    let find = |value: Option<&Value>, key: &str| value?.get(key).cloned();
    let runtime_config = find(schema.get("properties"), "runtimeConfig");
    match find(runtime_config.as_ref(), "properties") {
        Some(Value::Object(properties)) => properties.keys().cloned().collect(),
        _ => Vec::new(),
    }
}
