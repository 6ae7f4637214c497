//! Findings for people.

use std::fmt::Write;

use crate::terminal::{Screen, Tone, wrap};
use crate::validate::Report;
use crate::validate::document::Place;
use crate::validate::finding::{Finding, Severity};
use crate::validate::network::{File, Network};
use crate::validate::rules;

/// What shows that something was left out of a line.
const CUT: char = '…';
/// How much of a long line is shown before the place, in columns.
const BEFORE: usize = 20;

/// All findings, the networks that are as they should be, and how many there are of which.
pub(crate) fn print(report: &Report<'_>, screen: Screen) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        if let Some(file) = report.files.get(finding.file) {
            out.push_str(&Picture { finding, file, screen }.draw());
            out.push('\n');
        }
    }
    for network in &report.networks {
        let is_fine = report.findings.iter().all(|finding| !network.is_in(finding.file));
        if let Some(file) = report.files.get(network.file).filter(|_| is_fine) {
            out.push_str(&fine(network, file, screen));
        }
    }
    let _ = writeln!(out, "{}", summary(report));
    out
}

impl Network<'_> {
    fn is_in(&self, file: usize) -> bool {
        self.file == file || self.plugins.iter().any(|plugin| plugin.file == file)
    }
}

/// `valid: FILE: network "x", CNI 1.0.0: bridge, portmap (capabilities: portMappings)`.
fn fine(network: &Network<'_>, file: &File, screen: Screen) -> String {
    let plugins: Vec<&str> = network.plugins.iter().map(|plugin| plugin.kind()).collect();
    let version = network.version().map(|version| version.to_string()).unwrap_or_default();
    let capabilities = match network.capabilities() {
        none if none.is_empty() => String::new(),
        some => format!(" (capabilities: {})", some.join(", ")),
    };
    let name = network.name().unwrap_or_default();
    let text =
        format!("{}: network \"{name}\", CNI {version}: {}{capabilities}", file.path.display(), plugins.join(", "));
    let lines = wrap(&text, screen.columns().saturating_sub("valid: ".len()).max(1));
    format!("{}: {}\n", screen.paint(Tone::Ok, "valid"), lines.join("\n       "))
}

fn summary(report: &Report<'_>) -> String {
    let files = match report.files.len() {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .map(|severity| (severity, report.count(severity)))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count} {}{}", severity.as_str(), if count == 1 { "" } else { "s" }))
        .collect();
    match counts.as_slice() {
        [] => format!("{files}: nothing found"),
        counts => format!("{files}: {}", counts.join(", ")),
    }
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Note => Tone::Heading,
        Severity::Warning => Tone::Warning,
        Severity::Error => Tone::Error,
    }
}

/// Tabs take one column, and nothing of a file can steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '\u{feff}' { ' ' } else { c }).collect()
}

/// A finding with the line that it is about.
struct Picture<'p> {
    finding: &'p Finding,
    file: &'p File,
    screen: Screen,
}

impl Picture<'_> {
    fn draw(&self) -> String {
        let Self { finding, file, screen } = self;
        let rule = finding.rule;
        let place = file.lines().place(finding.span.start);
        let line = printable(file.lines().line(place.line));
        let gutter = place.line.to_string().len();
        let head = format!("{}[{}]: ", rule.severity.as_str(), rule.code);
        let problem = self.wrapped(&printable(&finding.problem), head.len(), 2);
        let tone = tone(rule.severity);
        let (dash, empty) = (screen.paint(Tone::Dim, "-->"), screen.paint(Tone::Dim, "|"));
        let mut out = format!("{}{problem}\n", screen.paint(tone, head.trim_end()).to_string() + " ");
        let _ = writeln!(out, "{:gutter$}{dash} {}:{}:{}", "", file.path.display(), place.line, place.column);
        if !file.text.is_empty() {
            let (shown, carets) = self.window(&line, place, gutter + 3);
            let number = screen.paint(Tone::Dim, place.line);
            let _ = writeln!(out, "{:gutter$} {empty}", "");
            let _ = writeln!(out, "{number} {empty} {shown}");
            let _ = writeln!(out, "{:gutter$} {empty} {}", "", screen.paint(tone, carets));
        }
        for (name, text) in [("why", rule.why), ("cure", &printable(&finding.cure))] {
            let label = format!("{:gutter$} = {name}: ", "");
            let indent = gutter + 3 + "cure: ".len();
            let text = self.wrapped(text, indent, indent);
            let _ = writeln!(
                out,
                "{}{:pad$}{text}",
                screen.paint(Tone::Dim, &label),
                "",
                pad = indent.saturating_sub(label.len())
            );
        }
        out
    }

    /// `text` in lines that fit, the first behind `first` columns, the others behind `indent`.
    fn wrapped(&self, text: &str, first: usize, indent: usize) -> String {
        let width = self.screen.columns();
        let lead = "\u{1}".repeat(first.saturating_sub(indent));
        let lines = wrap(&format!("{lead}{text}"), width.saturating_sub(indent).max(20));
        lines.join(&format!("\n{:indent$}", "")).replace('\u{1}', "")
    }

    /// The part of `line` around the place that fits behind `gutter` columns, and carets below it.
    fn window(&self, line: &str, place: Place, gutter: usize) -> (String, String) {
        let text = self.file.text.get(self.finding.span.clone()).unwrap_or_default();
        let length = text.lines().next().unwrap_or_default().chars().count().max(1);
        let room = self.screen.columns().saturating_sub(gutter).max(20);
        let column = place.column - 1;
        let total = line.chars().count();
        if total <= room {
            let length = length.min((total + 1).saturating_sub(column)).max(1);
            return (line.to_owned(), format!("{:column$}{}", "", "^".repeat(length)));
        }
        let start = column.saturating_sub(BEFORE).min(total.saturating_sub(room - 2));
        let end = (start + room - 2).min(total);
        let shown: String = line.chars().skip(start).take(end - start).collect();
        let before = if start > 0 { CUT.to_string() } else { String::new() };
        let after = if end < total { CUT.to_string() } else { String::new() };
        let at = column - start + before.chars().count();
        let carets = "^".repeat(length.min((end + 1).saturating_sub(column)).max(1));
        (format!("{before}{shown}{after}"), format!("{:at$}{carets}", ""))
    }
}

/// The table of all codes, as Markdown.
pub(crate) fn codes() -> String {
    let mut out = "| code | severity | what is found | why it matters | what to do |\n".to_owned();
    out.push_str("| --- | --- | --- | --- | --- |\n");
    for rule in rules::all() {
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(
            out,
            "| {} `{}` | {} | {} | {} | {} |",
            rule.code,
            rule.name,
            rule.severity.as_str(),
            cell(rule.summary),
            cell(rule.why),
            cell(rule.cure)
        );
    }
    out
}
