//! How findings are shown: for people in groups, for programs as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::finding::{Finding, Severity};
use crate::terminal::{Screen, Tone};

/// Where the text of a check begins: behind the indentation and its status, in columns.
const INDENT: usize = 11;

/// So many objects of a finding are shown to people.
const SHOWN: usize = 8;

/// From so many digits on an ID is shortened, to so many.
const LONG_ID: usize = 40;
const SHORT_ID: usize = 12;

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It is as it should be.
    Ok(String),
    /// It is not, or there is something to know.
    Found(Finding),
    /// It could not be looked at.
    Unknown(String),
}

/// Checks of one kind.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) checks: Vec<Check>,
}

impl Group {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, checks: Vec::new() }
    }

    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.checks.push(Check::Ok(text.into()));
    }

    pub(super) fn found(&mut self, finding: Finding) {
        self.checks.push(Check::Found(finding));
    }

    pub(super) fn unknown(&mut self, text: impl Into<String>) {
        self.checks.push(Check::Unknown(text.into()));
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().filter_map(|check| match check {
            Check::Found(finding) => Some(finding),
            Check::Ok(_) | Check::Unknown(_) => None,
        })
    }
}

/// The groups with what was found, and nothing else.
pub(super) fn findings_alone(mut groups: Vec<Group>) -> Vec<Group> {
    for group in &mut groups {
        let is_to_tell = |check: &Check| matches!(check, Check::Found(found) if found.severity != Severity::Note);
        group.checks.retain(is_to_tell);
    }
    groups
}

/// How many findings of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) errors: usize,
    pub(super) warnings: usize,
}

impl Summary {
    pub(super) fn of(groups: &[Group]) -> Self {
        let count =
            |severity| groups.iter().flat_map(Group::findings).filter(|finding| finding.severity == severity).count();
        Self { errors: count(Severity::Error), warnings: count(Severity::Warning) }
    }

    /// Whether nothing is wrong.
    pub(super) fn is_well(self) -> bool {
        self == Self::default()
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        if self.is_well() {
            return f.write_str("nothing is wrong");
        }
        let (errors, warnings) = (self.errors, self.warnings);
        write!(f, "{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))
    }
}

/// The checks for people: what is well in one line each, a finding with its reason and its cure.
pub(super) fn text(groups: &[Group], screen: Screen) -> String {
    let mut text = String::new();
    for group in groups.iter().filter(|group| !group.checks.is_empty()) {
        line(&mut text, format_args!("{}", screen.paint(Tone::Heading, group.name)));
        for check in &group.checks {
            match check {
                Check::Ok(what) => status(&mut text, screen, Tone::Ok, "ok", what),
                Check::Unknown(what) => status(&mut text, screen, Tone::Dim, "unknown", what),
                Check::Found(found) => finding(&mut text, screen, found),
            }
        }
        line(&mut text, format_args!(""));
    }
    let summary = Summary::of(groups);
    let tone = match summary {
        Summary { errors: 1.., .. } => Tone::Error,
        Summary { warnings: 1.., .. } => Tone::Warning,
        Summary { .. } => Tone::Ok,
    };
    line(&mut text, format_args!("{}", screen.paint(tone, summary)));
    text
}

fn finding(text: &mut String, screen: Screen, finding: &Finding) {
    let tone = match finding.severity {
        Severity::Error => Tone::Error,
        Severity::Warning => Tone::Warning,
        Severity::Note => Tone::Dim,
    };
    status(text, screen, tone, finding.severity.as_str(), &format!("{}: {}", finding.code, finding.seen));
    if let Some(place) = &finding.place {
        // In one piece, as editors and terminals know it.
        line(text, format_args!("{:INDENT$}{} {place}", "", screen.paint(Tone::Dim, "-->")));
    }
    for object in finding.objects.iter().take(SHOWN) {
        part(text, screen, "-", &short_ids(object));
    }
    if let Some(more) = finding.objects.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        part(text, screen, "-", &format!("and {more} more, which --format json lists"));
    }
    if !finding.why.is_empty() {
        part(text, screen, "why:", &finding.why);
    }
    if !finding.cure.is_empty() && finding.place.is_some() {
        part(text, screen, "cure:", &finding.cure);
    } else if !finding.cure.is_empty() {
        // Not broken into lines: it is there to be copied.
        line(text, format_args!("{:INDENT$}{} {}", "", screen.paint(Tone::Dim, "run:"), finding.cure));
    }
}

/// What people read does not need all 64 digits of a container ID.
pub(crate) fn short_ids(text: &str) -> String {
    let is_long_id = |word: &str| word.len() >= LONG_ID && word.bytes().all(|digit| digit.is_ascii_hexdigit());
    let word = |word: &str| match word.get(..SHORT_ID).filter(|_| is_long_id(word)) {
        Some(start) => format!("{start}…"),
        None => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A line that begins with how it is.
fn status(text: &mut String, screen: Screen, tone: Tone, name: &str, what: &str) {
    let gap = INDENT.saturating_sub(2 + name.len());
    line(text, format_args!("  {}{:gap$}{}", screen.paint(tone, name), "", screen.wrapped(what, INDENT)));
}

/// A line below it.
fn part(text: &mut String, screen: Screen, name: &str, what: &str) {
    let indent = INDENT + name.len() + 1;
    line(text, format_args!("{:INDENT$}{} {}", "", screen.paint(Tone::Dim, name), screen.wrapped(what, indent)));
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{what}");
}

/// The checks for programs.
pub(super) fn json(groups: &[Group]) -> Value {
    let check = |check: &Check| match check {
        Check::Ok(seen) => json!({"status": "ok", "seen": seen}),
        Check::Unknown(seen) => json!({"status": "unknown", "seen": seen}),
        Check::Found(finding) => {
            let Finding { severity, code, seen, place, why, cure, objects } = finding;
            let mut value = json!({"status": severity.as_str(), "code": code, "seen": seen, "why": why, "cure": cure});
            if let (Some(object), Some(place)) = (value.as_object_mut(), place) {
                object.insert("place".to_owned(), json!(place));
            }
            if let Some(object) = value.as_object_mut().filter(|_| !objects.is_empty()) {
                object.insert("objects".to_owned(), json!(objects));
            }
            value
        }
    };
    let group = |group: &Group| {
        let checks: Vec<Value> = group.checks.iter().map(check).collect();
        json!({"name": group.name, "checks": checks})
    };
    let summary = Summary::of(groups);
    json!({
        "groups": groups.iter().map(group).collect::<Vec<_>>(),
        "errors": summary.errors,
        "warnings": summary.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Place;

    fn groups() -> Vec<Group> {
        let mut group = Group::new("Sysctls");
        group.ok("bridge-nf-call-iptables is off");
        group.unknown("rp_filter of eth0 cannot be read");
        let finding =
            Finding::error("forwarding-off", "net.ipv4.ip_forward is 0, and 3 containers are routed by this host");
        group.found(finding.because("their packets go nowhere").cure("sysctl -w net.ipv4.ip_forward=1"));
        vec![group, Group::new("Overlay")]
    }

    #[test]
    fn people_see_one_line_for_what_is_well_and_the_cure_for_what_is_not() {
        let screen = Screen { width: Some(50), ..Screen::default() };
        let expected = "\
Sysctls
  ok       bridge-nf-call-iptables is off
  unknown  rp_filter of eth0 cannot be read
  error    forwarding-off: net.ipv4.ip_forward is
           0, and 3 containers are routed by this
           host
           why: their packets go nowhere
           run: sysctl -w net.ipv4.ip_forward=1

1 error, 0 warnings
";
        assert_eq!(text(&groups(), screen), expected);
    }

    #[test]
    fn programs_get_every_check() {
        let value = json(&groups());
        assert_eq!(value["errors"], 1);
        assert_eq!(value["groups"][0]["checks"][2]["code"], "forwarding-off");
        assert_eq!(value["groups"][0]["checks"][2].get("objects"), None);
        assert_eq!(value["groups"][1]["checks"], json!([]));
    }

    #[test]
    fn a_finding_in_a_configuration_has_its_place_in_one_piece() {
        let mut group = Group::new("Configurations");
        let place = Place { file: "/etc/cni/net.d/10-pods.conflist".into(), line: 8, column: 7 };
        let finding = Finding::warning("CNI0101", "`isGatway` is a key that nobody knows").at(place);
        group.found(finding.cure("did you mean \"isGateway\"?"));
        let expected = "\
Configurations
  warning  CNI0101: `isGatway` is a
           key that nobody knows
           --> /etc/cni/net.d/10-pods.conflist:8:7
           cure: did you mean
                 \"isGateway\"?
";
        let screen = Screen { width: Some(36), ..Screen::default() };
        let shown = text(std::slice::from_ref(&group), screen);
        assert!(shown.starts_with(expected), "{shown}");
        let place = json!({"file": "/etc/cni/net.d/10-pods.conflist", "line": 8, "column": 7});
        assert_eq!(json(&[group])["groups"][0]["checks"][0]["place"], place);
    }

    #[test]
    fn long_ids_are_shortened_and_nothing_else() {
        let id = "0005c0ffee".repeat(6);
        assert_eq!(short_ids(&format!("{id} eth0 of {id}x")), format!("0005c0ffee00… eth0 of {id}x"));
    }

    #[test]
    fn many_objects_are_counted() {
        let mut group = Group::new("Leaks");
        let objects = (1..=11).map(|number| format!("object {number}"));
        group.found(Finding::warning("leaked-link", "11 links").about(objects));
        let text = text(&[group], Screen::default());
        assert!(text.contains("- object 8\n           - and 3 more, which --format json lists\n"), "{text}");
    }
}
