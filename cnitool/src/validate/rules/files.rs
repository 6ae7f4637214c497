//! CNI00: the files themselves.

use std::collections::BTreeMap;

use libcni::SpecVersion;

use crate::validate::document::{Member, Node};
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::network::{Content, File};
use crate::validate::rules::Survey;

pub(crate) static RULES: [&Rule; 6] = [&UNREADABLE, &SYNTAX, &NO_OBJECT, &DUPLICATE, &CONTAINER, &OLD_FORM];

static UNREADABLE: Rule = Rule {
    code: "CNI0001",
    name: "unreadable",
    severity: Severity::Error,
    summary: "a file that cannot be read",
    why: "runtimes cannot read it either, and some refuse the whole directory then",
    cure: "mend its permissions or its content, or remove it",
};
static SYNTAX: Rule = Rule {
    code: "CNI0002",
    name: "syntax",
    severity: Severity::Error,
    summary: "text that is no JSON",
    why: "nothing of the file is used, and some runtimes refuse the whole directory",
    cure: "mend the JSON here or just before",
};
static NO_OBJECT: Rule = Rule {
    code: "CNI0003",
    name: "no-object",
    severity: Severity::Error,
    summary: "a file that is JSON, but no object",
    why: "a network configuration is one JSON object; nothing else is used",
    cure: "write {\"cniVersion\": …, \"name\": …, \"plugins\": […]}",
};
static DUPLICATE: Rule = Rule {
    code: "CNI0004",
    name: "duplicate-key",
    severity: Severity::Warning,
    summary: "a key that stands twice in one object",
    why: "the last one counts, and other programs may read the first",
    cure: "remove one of the two",
};
static CONTAINER: Rule = Rule {
    code: "CNI0005",
    name: "wrong-file-type",
    severity: Severity::Error,
    summary: "a list in a .conf file, or a single plugin in a .conflist file",
    why: "runtimes choose by the file's name how to read it, and refuse the other form",
    cure: "rename the file",
};
static OLD_FORM: Rule = Rule {
    code: "CNI0006",
    name: "old-form",
    severity: Severity::Note,
    summary: "a .conf file of a single plugin with a cniVersion of 1.0.0 or newer",
    why: "since version 1.0.0 the specification knows lists alone; runtimes still read the old form, for now",
    cure: "put the plugin into the `plugins` of a .conflist file",
};

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for (index, file) in survey.files.iter().enumerate() {
        let found = match &file.content {
            Content::Unreadable(fault) => Some(Finding::new(&UNREADABLE, index, &(0..0), fault)),
            Content::NoJson(_) => Some(syntax(index, file)),
            Content::Json(root) if !root.is_object() => {
                let problem = format!("the file holds {}", root.in_words());
                Some(Finding::new(&NO_OBJECT, index, &root.opening(), problem))
            }
            Content::Json(root) => {
                duplicates(index, file, root, findings);
                None
            }
        };
        findings.extend(found);
    }
    for network in &survey.networks {
        let Some(file) = survey.files.get(network.file) else { continue };
        findings.extend(container(network.file, file, network.head));
        if !network.is_list && network.version().is_some_and(|version| version >= SpecVersion::V1_0_0) {
            let place = network.head.exact("cniVersion").unwrap_or(network.head);
            let problem = "a single plugin, not a list";
            findings.push(Finding::new(&OLD_FORM, network.file, &place.opening(), problem));
        }
    }
}

/// In the words of libcni, which are those of plugins.
fn syntax(index: usize, file: &File) -> Finding {
    let Content::NoJson(fault) = &file.content else { return Finding::new(&SYNTAX, index, &(0..0), "no JSON") };
    if file.text.starts_with('\u{feff}') {
        let problem = "the file begins with a byte order mark";
        return Finding::new(&SYNTAX, index, &(0..0), problem).cure("save it as UTF-8 without byte order mark");
    }
    if file.text.trim().is_empty() {
        return Finding::new(&SYNTAX, index, &(0..0), "the file is empty").cure("fill it or remove it");
    }
    let lines = file.lines();
    // Column 0 is the end of the line before: what is missing is missing there.
    let line = if fault.column == 0 { fault.line.saturating_sub(1) } else { fault.line };
    let column = if fault.column == 0 { lines.line(line).len() + 1 } else { fault.column };
    let at = lines.offset(line, column);
    let width = file.text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let finding = Finding::new(&SYNTAX, index, &(at..at + width), &fault.problem);
    finding.perhaps(cure(&fault.problem).map(str::to_owned))
}

fn cure(problem: &str) -> Option<&'static str> {
    match problem {
        "trailing comma" => Some("remove the comma before"),
        "expected `,` or `}`" | "expected `,` or `]`" => Some("put a comma between this and what is before it"),
        "key must be a string" => Some("write the key in double quotes; JSON has no comments"),
        "trailing characters" => Some("remove what follows the object; is there a bracket too many?"),
        problem if problem.starts_with("EOF") => Some("close what is open: a bracket or a quote is missing"),
        _ => None,
    }
}

fn duplicates(index: usize, file: &File, root: &Node, findings: &mut Vec<Finding>) {
    root.walk(&mut |node| {
        let mut seen: BTreeMap<&str, &Member> = BTreeMap::new();
        for member in node.members() {
            if let Some(first) = seen.insert(&member.key, member) {
                let line = file.lines().place(first.key_span.start).line;
                let problem = format!("`{}` stands here again, after line {line}", member.key);
                findings.push(Finding::new(&DUPLICATE, index, &member.key_span, problem));
            }
        }
    });
}

fn container(index: usize, file: &File, head: &Node) -> Option<Finding> {
    let list = head.members().iter().rev().find(|member| member.key == "plugins");
    match (file.is_single(), list, head.get("type")) {
        (true, Some(list), None) => {
            let problem = format!("a list of plugins, but the file is called {}", file.name());
            Some(Finding::new(&CONTAINER, index, &list.key_span, problem).cure("call it .conflist"))
        }
        (false, None, Some(plugin_type)) => {
            let problem = format!("one plugin without a list, but the file is called {}", file.name());
            let cure = "put the plugin into a list: \"plugins\": [{…}]";
            Some(Finding::new(&CONTAINER, index, &plugin_type.span, problem).cure(cure))
        }
        _ => None,
    }
}
